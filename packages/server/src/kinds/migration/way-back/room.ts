import type { HostObservation } from '@virt8ra/driver';

const gib = 1024 ** 3;
/** Less free than a tenth of the disk, or than this much on a large one, is little. */
const littleBytes = 10 * gib;

/** What to warn of when one of the hosts has little room left, in a sentence; undefined while all have enough, or do not tell. */
export function lowRoom(hosts: readonly HostObservation[], names: readonly string[]): string | undefined {
  for (const name of names) {
    const storage = hosts.find(({ host }) => host === name)?.inventory?.storage;
    if (storage === undefined) continue;
    const { freeBytes, totalBytes } = storage;
    if (freeBytes >= Math.min(totalBytes / 10, littleBytes)) continue;
    const free = `${(freeBytes / gib).toFixed(1)} of ${(totalBytes / gib).toFixed(1)} GiB`;
    return `host ${name} has only ${free} left; when it is full nothing flows back any more, and the retained disks stay until they are released or the window ends`;
  }
  return undefined;
}
