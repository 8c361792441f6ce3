import type { DesiredBackup } from '@virt8ra/contract';
import { type Guest, guestStatus } from '../qemu/guest.js';
import { presentDisks } from '../qemu/guest-disks.js';
import { isSettling } from '../storage/settle.js';
import type { VolumeUsers } from '../storage/volume-reconciler.js';
import type { VolumeStore } from '../storage/volume-store.js';

/** What points in time of volumes are taken in. */
export interface PointWorld {
  readonly users: VolumeUsers;
  readonly volumes: VolumeStore;
  /** True while a transfer that is not over reads or fills the volume, or something copies it. */
  moves(volumeKey: string): boolean;
  /** True while an overlay of a volume that no guest has is merged. */
  settles(volumeKey: string): boolean;
}

/** What a point in time of volumes still needs, which are all disks of one guest, or of none. `whole`: nothing may lie above their first file. */
export async function stillInTheWay(
  { users, volumes, moves, settles }: PointWorld,
  wanted: DesiredBackup['volumes'],
  state: 'whole' | 'layered',
): Promise<string | undefined> {
  const places = wanted.map(({ volumeKey }) => users.guestWith(volumeKey));
  const guest: Guest | undefined = places[0]?.guest;
  const present = guest === undefined ? undefined : await presentDisks(guest);
  if (guest !== undefined && !['running', 'paused'].includes(await guestStatus(guest))) return 'the guest to run or to stop';
  for (const [position, { volumeKey }] of wanted.entries()) {
    const stage = volumes.get(volumeKey)?.stage;
    if (stage !== 'ready' && stage !== 'arrived') return `volume ${volumeKey}`;
    if (moves(volumeKey)) return `the transfer or backup of volume ${volumeKey}`;
    if (state === 'whole' && (stage !== 'ready' || (await volumes.hasOverlay(volumeKey)))) return `volume ${volumeKey} to settle`;
    const place = places[position];
    if (place?.guest !== guest || (place === undefined && users.usesVolume(volumeKey)))
      return `volume ${volumeKey} to be a disk of the guest`;
    if (place === undefined) {
      if (settles(volumeKey)) return `volume ${volumeKey} to settle`;
    } else if (present?.has(place.index) !== true) return `volume ${volumeKey} to be a disk of the guest`;
    else if (await isSettling(place.guest, place.index)) return `volume ${volumeKey} to settle`;
  }
  return undefined;
}
