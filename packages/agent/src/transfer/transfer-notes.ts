import { type DesiredTransfer, type GuestPreparation, isLiveTransfer, type ObservedTransfer, transferChunkBytes } from '@virt8ra/contract';
import type { HostContext } from '../host-context.js';
import type { Identity } from '../link/identity.js';
import type { Progress } from '../link/outbox.js';
import type { VolumeStore } from '../storage/volume-store.js';
import type { TransferRecord, TransferStore } from './transfer-store.js';

/** What moves of this host work with, however they are done. */
export interface TransferParts {
  readonly context: HostContext;
  readonly store: TransferStore;
  readonly volumes: VolumeStore;
  readonly identity: () => Identity;
  readonly onProgress: (progress: Progress) => void;
}

/** What is written down of the transfers of this host, and what the control plane hears of them. */
export class TransferNotes {
  readonly #context: HostContext;
  readonly #store: TransferStore;

  constructor({ context, store }: TransferParts) {
    this.#context = context;
    this.#store = store;
  }

  get(id: string): TransferRecord | undefined {
    return this.#store.get(id);
  }

  isOver(id: string): boolean {
    const state = this.#store.get(id)?.observed.state;
    return state === 'finished' || state === 'aborted';
  }

  /** The record of a transfer that this host has not heard of before. */
  async begin(desired: DesiredTransfer): Promise<TransferRecord> {
    const { id, role } = desired;
    const live = isLiveTransfer(desired);
    const counters = { passes: 0, bytes: 0, resentBytes: 0, chunkBytes: live ? 0 : transferChunkBytes, streams: 1 };
    const observed: ObservedTransfer = { id, role, state: 'preparing', ...counters };
    const record: TransferRecord = {
      version: 1,
      id,
      observed,
      volumeKeys: desired.disks.map(({ volumeKey }) => volumeKey),
      ...('instanceKey' in desired ? { instanceKey: desired.instanceKey } : {}),
      ...(live ? { live } : {}),
    };
    await this.#store.write(record);
    this.#context.board.post('transfer', id, observed);
    return record;
  }

  /** Shown until something else is; what is over stays so. `gone`: what holds no more. */
  observe(id: string, change: Partial<ObservedTransfer>, gone?: 'held' | 'probe'): void {
    const before = this.#context.board.get('transfer', id) ?? this.#store.get(id)?.observed;
    if (before === undefined || (this.isOver(id) && change.state !== undefined)) return;
    const { problem: _, ...rest } = before;
    if (gone !== undefined) delete rest[gone];
    this.#context.board.post('transfer', id, { ...rest, ...change });
  }

  /** Durable when it returns. Answers what is shown from now on; undefined when there is no such transfer. */
  async end(id: string, change: Partial<ObservedTransfer>): Promise<ObservedTransfer | undefined> {
    const { board, nudge } = this.#context;
    const record = this.#store.get(id);
    if (record === undefined) return undefined;
    const { problem: _, ...observed } = { ...record.observed, ...board.get('transfer', id), ...change };
    await this.#store.write({ ...record, observed });
    board.post('transfer', id, observed);
    if (record.instanceKey !== undefined) nudge({ type: 'instance', key: record.instanceKey });
    return observed;
  }

  /** Durable when it returns: of a transfer that is over, how far the preparation of what it brought is. */
  async notePrepared(id: string, prepared: GuestPreparation): Promise<void> {
    const record = this.#store.get(id);
    if (record === undefined) return;
    const observed = { ...record.observed, prepared };
    await this.#store.write({ ...record, observed });
    this.#context.board.post('transfer', id, observed);
  }

  /** Whether a transfer that is not desired any more may go; until then it is shown as it was. */
  mayForget(id: string): boolean {
    const { board, ledger } = this.#context;
    if (ledger.mayRemove({ type: 'transfer', key: id })) return true;
    const record = this.#store.get(id);
    if (record !== undefined) board.post('transfer', id, record.observed);
    return false;
  }

  /** Nothing of it is left, and what waited for its end goes on. */
  async forget(id: string): Promise<void> {
    const { board, nudge } = this.#context;
    const record = this.#store.get(id);
    await this.#store.remove(id);
    board.remove({ type: 'transfer', key: id });
    for (const volumeKey of record?.volumeKeys ?? []) nudge({ type: 'volume', key: volumeKey });
    if (record?.instanceKey !== undefined) nudge({ type: 'instance', key: record.instanceKey });
  }
}
