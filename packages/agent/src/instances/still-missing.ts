import type { DesiredInstance } from '@virt8ra/contract';
import type { HostContext } from '../host-context.js';
import type { VolumeStore } from '../storage/volume-store.js';

/** What a guest still needs before it may start. */
export function stillMissing(
  { board, ledger, networking }: HostContext,
  volumes: VolumeStore,
  desired: DesiredInstance,
  use: {
    readonly disks: 'whole' | 'incoming';
    readonly claimed: boolean;
    readonly missingVolume: (volumeKey: string) => string | undefined;
  },
): string | undefined {
  if (ledger.state.maintenance === true) return 'the end of the maintenance of this host';
  if (use.claimed) return 'the transfer of its disks';
  for (const volumeKey of desired.volumeKeys) {
    const isIncoming = volumes.get(volumeKey)?.stage === 'incoming';
    const missing = use.disks === 'whole' ? use.missingVolume(volumeKey) : isIncoming ? undefined : `volume ${volumeKey}`;
    if (missing !== undefined) return missing;
  }
  const { rescueVolumeKey } = desired;
  const missingRescue = rescueVolumeKey === undefined ? undefined : use.missingVolume(rescueVolumeKey);
  if (missingRescue !== undefined) return missingRescue;
  for (const { networkKey, filters } of desired.nics) {
    if (board.get('network', networkKey)?.state !== 'ready') return `network ${networkKey}`;
    // Without bridges no filter is ever ready, and the start says why.
    const filter = networking.mode === 'user' ? undefined : filters?.find((key) => board.get('filter', key)?.state !== 'ready');
    if (filter !== undefined) return `filter ${filter}`;
  }
  return undefined;
}
