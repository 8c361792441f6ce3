import { type MigrationSpec, Problem, type WayBack } from '@virt8ra/contract';
import type { TransferStatus } from '@virt8ra/driver';
import { defineWorkflow, type Poll, type StepContext, type Workflow } from '@virt8ra/engine';
import type { KindContext } from '../../context.js';
import { hostsAt } from '../live-outlook.js';
import type { MoveInput, MovePlan, Prepared } from '../plan.js';
import { write } from '../site-facets.js';
import { type MigrationStatus, subjectsOf } from '../subjects.js';
import { clearTarget, prepareTarget } from '../target.js';
import { bothEnds, pollListening, removeSender, sendTo } from '../transfer.js';
import { dropPlanBack, makePlanBack } from './plan-back.js';
import { lowRoom } from './room.js';
import { setWindow } from './window.js';

/** Seconds. */
const timeouts = { listening: 24 * 3600, flowing: 400 * 24 * 3600 } as const;
const patient = { attempts: 200 } as const;
const looks = { copying: 2, current: 10 } as const;
/** What changes all the time is shown no more often, in milliseconds. */
const tellMs = 30_000;

/**
 * `migration.flow-back`: has what is written at the target flow back to the retained disks' host, into disks that begin as copies of those. It is the
 * first half of a warm return, and changes nothing for the instance. When a return is asked for it ends and leaves everything standing for
 * `migration.move` to go on with; called off, or failing, it takes everything away again.
 */
export function createFlowWorkflow(context: KindContext): Workflow<MoveInput, null> {
  return defineWorkflow<MoveInput, null>({
    name: 'migration.flow-back',
    version: 1,
    async run(run, input) {
      const plan = await run.step(
        'plan',
        async (step) => await makePlanBack(context, step, input),
        async (step) => await dropPlanBack(context, step, input),
      );
      const prepared = await run.step(
        'prepare-target',
        async (step) => await prepareTarget(context, step, input, plan),
        async (step) => await clearTarget(context, step, plan),
        patient,
      );
      const peer = await run.wait('listening', async (step) => await pollListening(context, step, input, plan, prepared), {
        timeoutSeconds: timeouts.listening,
      });
      await run.step(
        'start-copy',
        async (step) => {
          await sendTo(context, step, plan, 'copy', peer);
        },
        async (step) => await removeSender(context, step, plan),
      );
      await run.wait('flowing', async (step) => await pollFlowing(context, step, input, plan, prepared), {
        timeoutSeconds: timeouts.flowing,
      });
      return null;
    },
  });
}

/** Shows how the flow goes, until a return is asked for. Raises `conflict` when an end of it has failed for good. */
export async function pollFlowing(
  context: KindContext,
  step: StepContext,
  input: MoveInput,
  plan: MovePlan,
  prepared: Prepared,
): Promise<Poll<null>> {
  const { migration } = await subjectsOf(context.store, input);
  const { wayBack, return: journey } = migration.status;
  if (wayBack?.asked === 'return' && journey?.mode === plan.mode) return { done: null };
  if (migration.status.phase !== 'kept') throw new Problem('conflict', 'the way back is over');
  const { sender } = await bothEnds(context, step, plan, prepared, 'copy');
  const state = sender === undefined ? undefined : sender.state === 'converged' ? 'current' : 'copying';
  if (sender !== undefined && state !== undefined) await showFlow(context, step, input, plan, sender, state);
  return { waitSeconds: looks[state ?? 'copying'] };
}

async function showFlow(
  context: KindContext,
  step: StepContext,
  input: MoveInput,
  plan: MovePlan,
  { passes, bytes }: TransferStatus,
  state: WayBack['reverse']['state'],
): Promise<void> {
  const warning = lowRoom(await hostsAt(context, [plan.from.site, plan.to.site]), [plan.to.host, plan.from.host]);
  await write(context, step, async (tx) => {
    const held = await tx.lock<MigrationSpec, MigrationStatus>(input.migration);
    const before = held?.status.wayBack;
    if (held === undefined || before === undefined) return;
    const now = context.now();
    const isNew = before.reverse.state !== state || (before.warning === undefined) !== (warning === undefined);
    if (!isNew && now.getTime() - Date.parse(before.reverse.at) < tellMs) return;
    const progress = await tx.progressOf(input.migration);
    const left =
      progress === undefined ? undefined : (progress.dirtyBytes ?? 0) + (state === 'current' ? 0 : progress.totalBytes - progress.bytes);
    const rate = progress?.bytesPerSecond ?? 0;
    const cost = left === undefined ? undefined : { bytes: Math.max(0, left), ...(rate > 0 ? { seconds: Math.ceil(left / rate) } : {}) };
    await setWindow(
      tx,
      held,
      { reverse: { state, passes, bytes, at: now.toISOString() }, cost, warning },
      !isNew
        ? undefined
        : {
            state: 'active',
            type: 'WayBack',
            reason: warning !== undefined ? 'RoomLow' : state === 'current' ? 'Current' : 'Flowing',
            message:
              warning ??
              (state === 'current' ? 'what is written at the target flows back' : 'what was written at the target is being sent back'),
          },
    );
  });
}
