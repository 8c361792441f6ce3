import type { AgentMessageOf, Convergence, Id } from '@virt8ra/contract';
import type { TransferStatus } from '@virt8ra/driver';
import type { StepContext } from '@virt8ra/engine';
import type { Store } from '../../resources/store.js';
import type { KindContext } from '../context.js';
import type { MoveInput, MovePlan } from './plan.js';
import { write } from './site-facets.js';
import { showPhase } from './subjects.js';

/** Younger progress than this, in milliseconds, is an agent's own and better than what is computed from two looks. */
const ownWordsMs = 3000;

/** What is known of a copy beside how far it is. */
export interface CopyOutlook {
  readonly phase?: 'waiting';
  readonly waitsFor: string;
  readonly convergence: Convergence;
}

/** Shows how far the copy is, with its rate since the last look, and what it waits for. */
export async function showCopying(
  context: KindContext,
  step: StepContext,
  { migration }: MoveInput,
  plan: MovePlan,
  { bytes, passes, recentPasses }: TransferStatus,
  { phase: wanted, waitsFor, convergence: { predictedPauseMs } }: CopyOutlook,
): Promise<void> {
  const totalBytes = plan.volumes.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const phase = wanted ?? (passes > 0 ? 'passes' : 'copy');
  const outlook = { waitsFor, ...(predictedPauseMs === undefined ? {} : { predictedPauseMs }) };
  const dirtyBytes = recentPasses?.at(-1)?.dirtyBytes;
  await write(context, step, async (tx) => {
    await showPhase(tx, migration, phase);
    const last = await tx.progressOf(migration);
    const elapsedMs = last === undefined ? 0 : context.now().getTime() - Date.parse(last.updatedAt);
    if (last !== undefined && elapsedMs < ownWordsMs) {
      const { updatedAt: _, predictedPauseMs: __, ...rest } = last;
      if (last.waitsFor !== waitsFor || last.predictedPauseMs !== predictedPauseMs)
        await tx.setProgress(migration, { ...rest, phase: wanted ?? last.phase, ...outlook });
      return;
    }
    const bytesPerSecond = last === undefined || elapsedMs <= 0 ? 0 : Math.max(0, ((bytes - last.bytes) * 1000) / elapsedMs);
    const left = Math.max(0, totalBytes - bytes);
    await tx.setProgress(migration, {
      phase,
      pass: passes,
      bytes,
      totalBytes: Math.max(totalBytes, bytes),
      bytesPerSecond,
      etaSeconds: wanted !== undefined || bytesPerSecond === 0 ? null : left / bytesPerSecond,
      ...(dirtyBytes === undefined ? {} : { dirtyBytes }),
      ...outlook,
    });
  });
}

/** Shows what an agent tells of a transfer beside its migration. What is told of a transfer that has ended is dropped. */
export async function recordTransferProgress(store: Store, told: Omit<AgentMessageOf<'progress'>, 'type'>): Promise<void> {
  const { transferId, ...progress } = told;
  await store.transaction(async (tx) => {
    const transfer = await tx.ledger.byKey(transferId);
    if (transfer?.facet !== 'disks') return;
    const uid: Id<'resource'> = transfer.resourceUid;
    if ((await tx.lock(uid)) === undefined) return;
    // An agent knows how far it is, and not what the move waits for.
    const { predictedPauseMs, waitsFor } = (await tx.progressOf(uid)) ?? {};
    await tx.setProgress(uid, {
      ...progress,
      ...(predictedPauseMs === undefined ? {} : { predictedPauseMs }),
      ...(waitsFor === undefined ? {} : { waitsFor }),
    });
  });
}
