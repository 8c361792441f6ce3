import { type DesiredSend, Problem } from '@virt8ra/contract';
import type { InstanceReconciler } from '../instances/instance-reconciler.js';
import { currentNode, guestStatus } from '../qemu/guest.js';
import { isSettling } from '../storage/settle.js';
import type { VolumeStore } from '../storage/volume-store.js';
import type { SendConfig } from './mover-port.js';

/** What a transfer needs of the host's guests. */
export type MovedGuests = Pick<InstanceReconciler, 'guest' | 'guestWith' | 'release'>;

/** Where a sender reads its disks. */
export interface SendSource {
  readonly mode: { readonly type: 'cold' } | { readonly type: 'warm'; readonly qmpSocket: string };
  readonly disks: SendConfig['disks'];
}

/** The files of a guest that does not run; undefined while it still does. Raises Problem conflict for a volume that is not whole. */
export function coldSource(
  desired: Pick<DesiredSend, 'instanceKey' | 'disks'>,
  volumes: Pick<VolumeStore, 'get' | 'files'>,
  guests: MovedGuests | undefined,
): SendSource | undefined {
  if (guests?.guest(desired.instanceKey) !== undefined) return undefined;
  const disks = desired.disks.map(({ volumeKey, sizeBytes }) => {
    const stage = volumes.get(volumeKey)?.stage;
    if (stage !== 'ready' && stage !== 'arrived')
      throw new Problem('conflict', `volume ${volumeKey} cannot be sent: it is not complete itself`);
    const { base, overlay } = volumes.files(volumeKey);
    return { sizeBytes, node: '', files: stage === 'arrived' ? [overlay, base] : [base] };
  });
  return { mode: { type: 'cold' }, disks };
}

/**
 * The block nodes of a guest that runs; undefined while it does not, or while a disk of it is being merged. Raises Problem conflict for a volume
 * that is none of its disks.
 */
export async function warmSource(
  desired: Pick<DesiredSend, 'instanceKey' | 'disks'>,
  guests: MovedGuests | undefined,
): Promise<SendSource | undefined> {
  const { instanceKey } = desired;
  const guest = guests?.guest(instanceKey);
  if (guest === undefined) return undefined;
  const status = await guestStatus(guest);
  // QEMU stops a guest for lack of room too, maybe for the sake of a frozen view that the mover takes away.
  if (status !== 'running' && status !== 'paused' && status !== 'io-error') return undefined;
  const disks: SendConfig['disks'][number][] = [];
  for (const { volumeKey, sizeBytes } of desired.disks) {
    const place = guests?.guestWith(volumeKey);
    if (place?.key !== instanceKey) throw new Problem('conflict', `volume ${volumeKey} is not a disk of the guest that moves`);
    if (await isSettling(guest, place.index)) return undefined;
    const node = await currentNode(guest, place.index);
    if (node === undefined) throw new Problem('internal', `QEMU knows no block node for volume ${volumeKey}`);
    disks.push({ sizeBytes, node, files: [] });
  }
  return { mode: { type: 'warm', qmpSocket: guest.paths.moverQmp }, disks };
}
