import type { DesiredState } from '@virt8ra/contract';
import { transferChunkBytes } from '@virt8ra/contract';
import type { Board } from './board.js';

/** Puts each desired object that nobody has looked at yet on the board, so that a full observation misses none. */
export function listDesired(board: Board, state: DesiredState, mode: 'bridge' | 'user'): void {
  for (const { key } of state.networks) {
    if (board.get('network', key) === undefined) board.post('network', key, { key, state: 'creating', mode });
  }
  for (const { key, sizeBytes } of state.volumes) {
    if (board.get('volume', key) === undefined) board.post('volume', key, { key, state: 'creating', sizeBytes });
  }
  for (const { key, instance } of state.instances) {
    if (board.get('instance', key) !== undefined) continue;
    board.post('instance', key, {
      key,
      instance,
      state: 'waiting',
      waitingFor: 'the first look',
      since: new Date().toISOString(),
      restarts: 0,
      access: [],
    });
  }
  for (const { key } of state.filters ?? []) {
    if (board.get('filter', key) === undefined) board.post('filter', key, { key, state: 'creating' });
  }
  for (const { key, volumes } of state.backups ?? []) {
    if (board.get('backup', key) !== undefined) continue;
    const sizes = new Map(state.volumes.map((volume) => [volume.key, volume.sizeBytes]));
    board.post('backup', key, {
      key,
      state: 'waiting',
      waitingFor: 'the first look',
      volumes: volumes.map(({ volumeKey }) => ({ volumeKey, sizeBytes: sizes.get(volumeKey) ?? 0 })),
    });
  }
  for (const { key, volumes } of state.snapshots ?? []) {
    if (board.get('snapshot', key) !== undefined) continue;
    const seen = volumes.map(({ volumeKey }) => ({ volumeKey, sizeBytes: 0 }));
    board.post('snapshot', key, { key, state: 'waiting', waitingFor: 'the first look', volumes: seen, reverted: 0 });
  }
  for (const { id, role } of state.transfers) {
    if (board.get('transfer', id) !== undefined) continue;
    board.post('transfer', id, {
      id,
      role,
      state: 'preparing',
      passes: 0,
      bytes: 0,
      resentBytes: 0,
      chunkBytes: transferChunkBytes,
      streams: 0,
    });
  }
}
