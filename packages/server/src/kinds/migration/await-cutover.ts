import { isDeepStrictEqual } from 'node:util';
import type { Convergence, CutoverState, MigrationSpec } from '@virt8ra/contract';
import type { TransferStatus } from '@virt8ra/driver';
import type { Poll, StepContext } from '@virt8ra/engine';
import type { KindContext } from '../context.js';
import { type CutoverAnswer, cutoverDue } from './cutover.js';
import { convergenceOf } from './pass-forecast.js';
import type { MoveInput, MovePlan, Prepared } from './plan.js';
import { showCopying } from './progress.js';
import { write } from './site-facets.js';
import { type MigrationStatus, showPhase } from './subjects.js';
import { bothEnds } from './transfer.js';

/**
 * Waits for the target to hold a copy that is complete but for the last changes, or for one that its owner consented to cut over from. Without a
 * cut-over in the plan, what the owner may have asked for since holds as well.
 */
export async function pollConverged(
  context: KindContext,
  step: StepContext,
  input: MoveInput,
  plan: MovePlan,
  prepared: Prepared,
): Promise<Poll<null>> {
  const { sender } = await bothEnds(context, step, plan, prepared, 'copy');
  if (sender === undefined) return { waitSeconds: 1 };
  const { answer, convergence } = await decide(context, step, input, plan, sender);
  if (answer.due || (plan.awaitsCutover === true && sender.state === 'converged')) return { done: null };
  await showCopying(context, step, input, plan, sender, { waitsFor: answer.waitsFor, convergence });
  return { waitSeconds: 1 };
}

/** Waits until it is time to cut over; meanwhile what changes goes on being copied. Answers when it was, and how long a pause was foreseen then. */
export async function pollCutoverDue(
  context: KindContext,
  step: StepContext,
  input: MoveInput,
  plan: MovePlan,
  prepared: Prepared,
): Promise<Poll<{ readonly at: string; readonly predictedPauseMs?: number }>> {
  const sender = plan.mode === 'cold' ? undefined : (await bothEnds(context, step, plan, prepared, 'copy')).sender;
  if (plan.mode !== 'cold' && sender === undefined) return { waitSeconds: 1 };
  const { answer, convergence } = await decide(context, step, input, plan, sender);
  const { predictedPauseMs } = convergence;
  if (answer.due) return { done: { at: context.now().toISOString(), ...(predictedPauseMs === undefined ? {} : { predictedPauseMs }) } };
  if (sender === undefined) await write(context, step, async (tx) => await showPhase(tx, input.migration, 'waiting'));
  else await showCopying(context, step, input, plan, sender, { phase: 'waiting', waitsFor: answer.waitsFor, convergence });
  // Who asks, and the source's agent with each pass, has it looked at sooner.
  return { waitSeconds: answer.state === 'queued' ? 1 : 5 };
}

/** The cut-over begins, and is not asked for any more. */
export async function showOrdered(context: KindContext, step: StepContext, { migration }: MoveInput): Promise<void> {
  await write(context, step, async (tx) => {
    const { cutover } = (await tx.lock<MigrationSpec, MigrationStatus>(migration))?.status ?? {};
    const progress = await tx.progressOf(migration);
    if (progress?.waitsFor !== undefined) {
      const { waitsFor: __, updatedAt: ___, ...rest } = progress;
      await tx.setProgress(migration, rest);
    }
    if (cutover === undefined || cutover.state === 'ordered') return;
    const { waitsFor: _, ...shown } = cutover;
    await tx.setStatus(migration, { cutover: { ...shown, state: 'ordered' } });
  });
}

/** `sender`: undefined when nothing is copied before the guest is stopped. */
async function decide(
  context: KindContext,
  step: StepContext,
  { migration }: MoveInput,
  plan: MovePlan,
  sender: TransferStatus | undefined,
): Promise<{ readonly answer: CutoverAnswer; readonly convergence: Convergence }> {
  const converged = sender === undefined || sender.state === 'converged';
  const convergence = convergenceOf(sender?.recentPasses ?? [], converged);
  return await write(context, step, async (tx) => {
    const held = await tx.lock<MigrationSpec, MigrationStatus>(migration);
    const shown = held?.status.cutover;
    const intent = shown?.intent ?? held?.spec.cutover;
    const untold = (sender?.passes ?? 0) > 0 && sender?.recentPasses === undefined;
    // Fewer passes than were wanted are made by no source: what it would pause for now says nothing yet.
    const enough = (sender?.passes ?? 0) >= Math.max(1, plan.minPasses);
    const answer = cutoverDue({
      intent,
      shown,
      converged,
      predictedPauseMs: untold ? 'untold' : enough ? convergence.predictedPauseMs : undefined,
      now: context.now(),
    });
    if (held === undefined) return { answer, convergence };
    const patch: { cutover?: CutoverState; convergence?: Convergence } = {};
    if (!answer.due && intent !== undefined) {
      const cutover: CutoverState = { ...shown, state: answer.state, intent, waitsFor: answer.waitsFor };
      if (!isSame(shown, cutover)) patch.cutover = cutover;
    }
    if (convergence.verdict !== 'measuring' && plan.mode === 'warm' && hasChanged(held.status.convergence, convergence))
      patch.convergence = convergence;
    if (Object.keys(patch).length > 0) await tx.setStatus(migration, patch);
    return { answer, convergence };
  });
}

/** Figures within a sentence change with every pass, and are shown as progress. */
function isSame(shown: CutoverState | undefined, next: CutoverState): boolean {
  const withoutFigures = ({ waitsFor, ...rest }: CutoverState) => ({ ...rest, waitsFor: waitsFor?.split(';')[0] });
  return shown !== undefined && isDeepStrictEqual(withoutFigures(shown), withoutFigures(next));
}

/** Another verdict, or a pause that is foreseen otherwise by a quarter and more. */
function hasChanged(shown: Convergence | undefined, next: Convergence): boolean {
  if (shown?.verdict !== next.verdict) return true;
  const [before, now] = [shown.predictedPauseMs ?? 0, next.predictedPauseMs ?? 0];
  return Math.abs(now - before) > Math.max(before, now) / 4;
}
