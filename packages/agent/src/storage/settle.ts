import type { DesiredVolume } from '@virt8ra/contract';
import { diskNode } from '../qemu/disk-devices.js';
import { currentNode, type Guest } from '../qemu/guest.js';
import { closeOverlay } from '../qemu/guest-disks.js';
import { commitOverlay } from './qemu-img.js';
import type { VolumeStore } from './volume-store.js';

interface JobFacts {
  readonly id: string;
  readonly status: string;
  readonly error?: string;
}

/** Where a merge under a running guest stands: over, or to be looked at again when QEMU tells of its job. */
export type SettleState = 'settled' | 'settling';

/**
 * Merges the overlay of an arrived volume into its base under the running guest, one step at a call; it may be called again at any time, also after the agent died.
 * The job stops, with the guest's writes held back, at the point where base and overlay are equal. There the record says `ready`, durably, and
 * only then the guest goes on, on the base alone. A crash before that point leaves the overlay in charge, one after it the base; each is whole.
 */
export async function settleUnderGuest(volumes: VolumeStore, key: string, guest: Guest, index: number): Promise<SettleState> {
  const { monitor } = guest;
  const node = diskNode(index);
  const jobId = `settle-${index}`;
  const find = async () => ((await monitor.run('query-jobs')) as JobFacts[]).find(({ id }) => id === jobId);
  const current = await currentNode(guest, index);
  // On its way into the guest or out of it, or with something above it for a while: which of its files is in charge cannot be seen now.
  if (current !== node && current !== `${node}-base`) return 'settling';
  if (current !== node) {
    if (volumes.get(key)?.stage === 'arrived') await volumes.update(key, { stage: 'ready' });
    // A file may go while it is open; a device may not.
    if (volumes.driver === 'host_device') {
      if ((await find()) !== undefined) return 'settling';
      await closeOverlay(guest, index);
    }
    await volumes.dropOverlay(key);
    return 'settled';
  }
  const job = await find();
  if (job === undefined) {
    if ((await currentNode(guest, index)) !== node) return 'settling';
    // A merge that failed at its very end left the overlay in charge.
    if (volumes.get(key)?.stage === 'ready') await volumes.update(key, { stage: 'arrived' });
    await monitor.run('block-commit', {
      'job-id': jobId,
      device: node,
      'base-node': `${node}-base`,
      'auto-finalize': false,
      'auto-dismiss': true,
    });
    return 'settling';
  }
  if (job.status === 'ready') await monitor.run('job-complete', { id: jobId });
  else if (job.status === 'pending') {
    await volumes.update(key, { stage: 'ready' });
    await monitor.run('job-finalize', { id: jobId });
  }
  return 'settling';
}

/**
 * Leads a merge to its end whose disk the guest has let go of meanwhile, one step at a call. True when there is none (any more): the disk's nodes
 * may go.
 */
export async function endMergeWithoutGuest(volumes: VolumeStore, key: string, guest: Guest, index: number): Promise<boolean> {
  const { monitor } = guest;
  const job = ((await monitor.run('query-jobs')) as JobFacts[]).find(({ id }) => id === `settle-${index}`);
  if (job === undefined) return true;
  if (job.status === 'ready') await monitor.run('job-complete', { id: job.id });
  else if (job.status === 'pending') {
    await volumes.update(key, { stage: 'ready' });
    await monitor.run('job-finalize', { id: job.id });
  }
  return false;
}

/** Is there a merge under this guest for disk `index`? A transfer must not begin before it is over. */
export async function isSettling(guest: Guest, index: number): Promise<boolean> {
  const jobs = (await guest.monitor.run('query-jobs')) as JobFacts[];
  return jobs.some(({ id }) => id === `settle-${index}`);
}

/** Merges the overlay of a volume that no guest uses. Cut at any point, it is begun again. */
export async function settleOffline(volumes: VolumeStore, key: DesiredVolume['key'], signal: AbortSignal): Promise<void> {
  if (volumes.get(key)?.stage === 'arrived') {
    await commitOverlay(volumes.files(key).overlay, signal);
    await volumes.update(key, { stage: 'ready' });
  }
  await volumes.dropOverlay(key);
}
