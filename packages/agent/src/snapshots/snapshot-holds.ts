import type { Ledger } from '../desired/ledger.js';
import type { SnapshotStore } from './snapshot-store.js';

/** Volumes that are about to become what a snapshot kept: no guest may have them before they are. */
export function isReverting(ledger: Pick<Ledger, 'state'>, store: Pick<SnapshotStore, 'get'>, volumeKey: string): boolean {
  return (ledger.state.snapshots ?? []).some(
    ({ key, volumes, reverts = 0 }) =>
      reverts > (store.get(key)?.reverted ?? 0) && volumes.some((volume) => volume.volumeKey === volumeKey),
  );
}
