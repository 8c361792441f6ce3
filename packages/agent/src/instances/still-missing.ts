import type { DesiredInstance } from '@virt8ra/contract';
import type { HostContext } from '../host-context.js';
import type { VolumeStore } from '../storage/volume-store.js';

/** What a guest still needs before it may start. */
export function stillMissing(
  { board, ledger, networking }: HostContext,
  volumes: VolumeStore,
  desired: DesiredInstance,
  use: { readonly claimed: boolean; readonly inUse: (volumeKey: string) => boolean },
): string | undefined {
  if (ledger.state.maintenance === true) return 'the end of the maintenance of this host';
  if (use.claimed) return 'the transfer of its disks';
  for (const volumeKey of desired.volumeKeys) {
    const stage = volumes.get(volumeKey)?.stage;
    if (stage !== 'ready' && stage !== 'arrived') return `volume ${volumeKey}`;
    if (board.get('volume', volumeKey)?.state === 'settling' && !use.inUse(volumeKey)) return `volume ${volumeKey} to settle`;
  }
  for (const { networkKey, filters } of desired.nics) {
    if (board.get('network', networkKey)?.state !== 'ready') return `network ${networkKey}`;
    // Without bridges no filter is ever ready, and the start says why.
    const filter = networking.mode === 'user' ? undefined : filters?.find((key) => board.get('filter', key)?.state !== 'ready');
    if (filter !== undefined) return `filter ${filter}`;
  }
  return undefined;
}
