import { type DesiredReceive, isLiveTransfer, Problem, toProblem } from '@virt8ra/contract';
import type { HostContext } from '../host-context.js';
import { troubleFrom } from '../host-context.js';
import type { VolumeStore } from '../storage/volume-store.js';
import type { TransferNotes } from '../transfer/transfer-notes.js';
import type { GuestDisks } from './guest-disks.js';

export interface ArrivedParts {
  readonly context: HostContext;
  readonly notes: TransferNotes;
  readonly volumes: VolumeStore;
  readonly guestDisks: GuestDisks;
  /** True while a guest has the volume. */
  readonly isUsed: (volumeKey: string) => boolean;
}

/**
 * Prepares what transfers have brought, where it is desired: all changes go into the overlays above the frozen copies, which begin blank at each attempt, so that
 * one that was cut leaves nothing. Once, and not again after it has ended either way.
 */
export class ArrivedPreparer {
  readonly #parts: ArrivedParts;
  readonly #running = new Map<string, AbortController>();
  #stopped = false;

  constructor(parts: ArrivedParts) {
    this.#parts = parts;
  }

  /** Begins where there is something to do; never waits for it. */
  pass(id: string): void {
    const { context, notes } = this.#parts;
    const desired = context.ledger.state.transfers.find((transfer) => transfer.id === id);
    const observed = notes.get(id)?.observed;
    const wanted = desired?.role === 'receive' && !isLiveTransfer(desired) && desired.prepare !== undefined;
    if (!wanted || desired.goal === 'abort') {
      this.#running.get(id)?.abort();
      return;
    }
    const isOver = observed?.prepared !== undefined && observed.prepared.state !== 'changing';
    if (observed?.state !== 'finished' || isOver || this.#running.has(id) || this.#stopped) return;
    const abort = new AbortController();
    this.#running.set(id, abort);
    void this.#prepare(desired, abort.signal)
      .catch((error: unknown) => {
        context.log.error('a copy was not prepared', { transfer: id, problem: toProblem(error).message });
      })
      .finally(() => {
        this.#running.delete(id);
        context.nudge({ type: 'transfer', key: id });
      });
  }

  /** A later agent begins anew what was under way. */
  stop(): void {
    this.#stopped = true;
    for (const abort of this.#running.values()) abort.abort();
  }

  async #prepare({ id, disks, prepare }: DesiredReceive, signal: AbortSignal): Promise<void> {
    const { context, notes, volumes, guestDisks, isUsed } = this.#parts;
    if (prepare === undefined) return;
    await notes.notePrepared(id, { state: 'changing', changes: [] });
    try {
      for (const { volumeKey } of disks) {
        if (volumes.get(volumeKey)?.stage !== 'arrived') throw new Problem('conflict', `volume ${volumeKey} has not arrived as a whole`);
        if (isUsed(volumeKey)) throw new Problem('conflict', `volume ${volumeKey} is in use by a guest`);
        await volumes.layOverlay(volumeKey);
      }
      const files = disks.map(({ volumeKey }) => volumes.files(volumeKey));
      const changes = await guestDisks.prepare(
        files.map(({ overlay, base }) => ({ files: [overlay, base] })),
        prepare,
        signal,
      );
      signal.throwIfAborted();
      await notes.notePrepared(id, { state: 'prepared', changes: [...changes] });
      context.log.info('a copy was prepared', { transfer: id, changes: changes.map(({ code, file }) => `${code} ${file}`) });
    } catch (error) {
      // Called off, or this agent ends: a later one begins anew.
      if (signal.aborted) return;
      for (const { volumeKey } of disks)
        if (volumes.get(volumeKey)?.stage === 'arrived' && !isUsed(volumeKey)) await volumes.layOverlay(volumeKey);
      await notes.notePrepared(id, { state: 'failed', changes: [], problem: troubleFrom(toProblem(error)) });
    }
  }
}
