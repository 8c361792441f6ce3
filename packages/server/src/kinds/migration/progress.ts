import type { AgentMessageOf, Id } from '@virt8ra/contract';
import type { TransferStatus } from '@virt8ra/driver';
import type { StepContext } from '@virt8ra/engine';
import type { Store } from '../../resources/store.js';
import type { KindContext } from '../context.js';
import type { MoveInput, MovePlan } from './plan.js';
import { write } from './site-facets.js';
import { showPhase } from './subjects.js';

/** Younger progress than this, in milliseconds, is an agent's own and better than what is computed from two looks. */
const ownWordsMs = 3000;

/** Shows how far the copy is, with its rate since the last look. */
export async function showCopying(
  context: KindContext,
  step: StepContext,
  { migration }: MoveInput,
  plan: MovePlan,
  { bytes, passes }: TransferStatus,
): Promise<void> {
  const totalBytes = plan.volumes.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const phase = passes > 0 ? 'passes' : 'copy';
  await write(context, step, async (tx) => {
    await showPhase(tx, migration, phase);
    const last = await tx.progressOf(migration);
    const elapsedMs = last === undefined ? 0 : context.now().getTime() - Date.parse(last.updatedAt);
    if (last !== undefined && elapsedMs < ownWordsMs) return;
    const bytesPerSecond = last === undefined || elapsedMs <= 0 ? 0 : Math.max(0, ((bytes - last.bytes) * 1000) / elapsedMs);
    const left = Math.max(0, totalBytes - bytes);
    await tx.setProgress(migration, {
      phase,
      pass: passes,
      bytes,
      totalBytes: Math.max(totalBytes, bytes),
      bytesPerSecond,
      etaSeconds: bytesPerSecond === 0 ? null : left / bytesPerSecond,
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
    if ((await tx.lock(uid)) !== undefined) await tx.setProgress(uid, progress);
  });
}
