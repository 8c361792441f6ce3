import { defineWorkflow, type Workflow } from '@virt8ra/engine';
import type { KindContext } from '../context.js';
import { beginCleaning, finish, pollCleaned, pollSettled, settleVolumes, switchPlacement } from './after.js';
import { pollConverged, pollCutoverDue, showOrdered } from './await-cutover.js';
import { endProbe, holdCopy, pollBootedInPlace, pollBootProbed, pollProbeEnded } from './boot-probe.js';
import { dropPlan, makePlan } from './make-plan.js';
import type { MoveInput } from './plan.js';
import { pollGuestPrepared } from './prepare-guest.js';
import { write } from './site-facets.js';
import { pollSourceStopped, restoreSource, returnToSource, stopSource } from './source.js';
import { showPhase } from './subjects.js';
import { clearTarget, pollTargetUp, prepareTarget, promiseTarget, startTarget, withdrawTarget } from './target.js';
import { listeningSeconds, orderFinish, pollListening, pollReleased, pollSourceEnded, removeSender, sendTo } from './transfer.js';
import { pollDigests, requestDigests, withdrawDigests } from './verify.js';
import { dropPlanBack, makePlanBack } from './way-back/plan-back.js';
import { beginGivingUp, pollGivenUp } from './way-back/retained.js';

/** Seconds until a wait counts as failed and the move is undone. */
const timeouts = {
  stopped: 300,
  copy: 7 * 24 * 3600,
  // Of whoever shall ask for the cut-over.
  cutover: 90 * 24 * 3600,
  // A probe has a time limit of its own; this is for one that cannot even begin.
  probe: 4 * 3600,
  probeEnd: 300,
  released: 1800,
  guest: 3600,
  up: 180,
  digests: 24 * 3600,
  settled: 24 * 3600,
  cleaned: 24 * 3600,
} as const;

/** Making things ready at a site may take its time: networks are looked at again so often. */
const patient = { attempts: 200 } as const;

/**
 * `migration.move`: copies the disks while the instance runs (live, warm) or is off (cold), with its memory (live), hands the run permit over, proves the target and
 * clears the source. Until the target is proven every failure brings the instance back to the source. At most one side ever runs.
 */
export function createMigrationWorkflow(context: KindContext): Workflow<MoveInput, null> {
  return defineWorkflow<MoveInput, null>({
    name: 'migration.move',
    version: 1,
    async run(run, input) {
      const isBack = input.way === 'back';
      const plan = await run.step(
        'plan',
        async (step) => (isBack ? await makePlanBack(context, step, input) : await makePlan(context, step, input)),
        async (step) => (isBack ? await dropPlanBack(context, step, input) : await dropPlan(context, step, input)),
      );
      const prepared = await run.step(
        'prepare-target',
        async (step) => await prepareTarget(context, step, input, plan),
        async (step) => await clearTarget(context, step, plan),
        patient,
      );
      const peer = await run.wait('listening', async (step) => await pollListening(context, step, input, plan, prepared), {
        timeoutSeconds: listeningSeconds(plan),
      });
      const awaitCutover = async (): Promise<unknown> =>
        await run.wait('cutover-due', async (step) => await pollCutoverDue(context, step, input, plan, prepared), {
          timeoutSeconds: timeouts.cutover,
        });
      let stoppedAt: string | undefined;
      // What an off guest has is copied in one go: to cut over is to stop it.
      if (plan.mode === 'cold' && plan.awaitsCutover === true) await awaitCutover();
      if (plan.mode === 'cold') {
        await run.step(
          'stop-source',
          async (step) => await stopSource(context, step, plan),
          async (step) => await restoreSource(context, step, plan),
        );
        const stopped = await run.wait('source-stopped', async (step) => await pollSourceStopped(context, step, plan), {
          timeoutSeconds: timeouts.stopped,
        });
        stoppedAt = stopped.stoppedAt;
      }
      await run.step(
        'start-copy',
        async (step) => {
          await write(context, step, async (tx) => await showPhase(tx, input.migration, 'copy'));
          await sendTo(context, step, plan, 'copy', peer);
        },
        async (step) => await removeSender(context, step, plan),
      );
      await run.wait('converged', async (step) => await pollConverged(context, step, input, plan, prepared), {
        timeoutSeconds: timeouts.copy,
      });
      if (plan.bootProbe?.in === 'isolation') {
        // Whatever undoes the copy, and the receiver, undoes this.
        await run.step('hold-copy', async (step) => await holdCopy(context, step, input, plan, prepared));
        await run.wait('boot-probed', async (step) => await pollBootProbed(context, step, input, plan, prepared), {
          timeoutSeconds: timeouts.probe,
        });
        await run.step('end-probe', async (step) => await endProbe(context, step, plan, prepared));
        await run.wait('probe-ended', async (step) => await pollProbeEnded(context, step, plan, prepared), {
          timeoutSeconds: timeouts.probeEnd,
        });
        // What the guest changed while the copy held goes over before it is stopped.
        await run.wait('converged-again', async (step) => await pollConverged(context, step, input, plan, prepared), {
          timeoutSeconds: timeouts.copy,
        });
      }
      if (plan.mode !== 'cold' && plan.awaitsCutover === true) await awaitCutover();
      await run.step(
        'cutover',
        async (step) => {
          await showOrdered(context, step, input);
          if (plan.mode === 'live') await promiseTarget(context, step, plan, prepared);
          await orderFinish(context, step, input, plan);
        },
        async (step) => await returnToSource(context, step, input, plan, prepared),
      );
      let released = await run.wait('released', async (step) => await pollReleased(context, step, plan, prepared), {
        timeoutSeconds: timeouts.released,
      });
      // The agent has been told what to do with the copy since it began to wait for it.
      const { changes } =
        plan.guestChanges === undefined
          ? { changes: undefined }
          : await run.wait('prepare-guest', async (step) => await pollGuestPrepared(context, step, input, plan, prepared), {
              timeoutSeconds: timeouts.guest,
            });
      const started = await run.step(
        'start-target',
        async (step) => await startTarget(context, step, input, plan, prepared),
        async (step) => await withdrawTarget(context, step, plan, prepared),
      );
      const up = await run.wait('target-up', async () => await pollTargetUp(context, plan, started), { timeoutSeconds: timeouts.up });
      if (plan.bootProbe?.in === 'place') {
        await run.wait('boot-probed', async (step) => await pollBootedInPlace(context, step, input, plan, started), {
          timeoutSeconds: timeouts.probe,
        });
      }
      if (plan.mode === 'live') {
        released = await run.wait('source-ended', async (step) => await pollSourceEnded(context, step, plan), {
          timeoutSeconds: timeouts.released,
        });
      }
      await run.step(
        'request-digests',
        async (step) => await requestDigests(context, step, input, plan, prepared),
        async (step) => await withdrawDigests(context, step, plan),
      );
      const digests = await run.wait('digests', async () => await pollDigests(context, input, plan, prepared, released), {
        timeoutSeconds: timeouts.digests,
      });
      // Much may have happened since it came up: only a guest that is seen there now is worth giving the source up for.
      const still = await run.wait('still-up', async () => await pollTargetUp(context, plan, started), { timeoutSeconds: timeouts.up });
      await run.commit('proven');

      await run.step('switch', async (step) => await switchPlacement(context, step, input, plan));
      await run.step('settle', async (step) => await settleVolumes(context, step, plan, prepared));
      await run.wait('settled', async () => await pollSettled(context, plan, prepared), { timeoutSeconds: timeouts.settled });
      await run.step('clean-source', async (step) => await beginCleaning(context, step, input, plan));
      await run.wait('cleaned', async (step) => await pollCleaned(context, step, plan, prepared), { timeoutSeconds: timeouts.cleaned });
      if (isBack) {
        const retained = await run.step('give-up-retained', async (step) => await beginGivingUp(context, step, input));
        await run.wait('retained-gone', async (step) => await pollGivenUp(context, step, input, retained), {
          timeoutSeconds: timeouts.cleaned,
        });
      }
      const { pauseMs, bytes, resentBytes, passes } = released;
      const handoverMs = millisecondsBetween(released.pausedAt ?? stoppedAt, up.startedAt);
      await run.step('finish', async (step) => {
        await finish(context, step, input, plan, {
          bytes,
          resentBytes,
          passes,
          digests,
          permitEpoch: started.epoch,
          ...(changes === undefined ? {} : { guestChanges: changes }),
          ...(still.bootedAnew === undefined ? {} : { bootedAnew: still.bootedAnew }),
          ...(pauseMs === undefined ? {} : { pauseMs }),
          ...(handoverMs === undefined || plan.instance.power === 'off' ? {} : { handoverMs }),
        });
      });
      return null;
    },
  });
}

/** Between two instants in RFC 3339, never negative: the two hosts' clocks differ a little. */
function millisecondsBetween(from: string | undefined, until: string | undefined): number | undefined {
  if (from === undefined || until === undefined) return undefined;
  const milliseconds = Date.parse(until) - Date.parse(from);
  return Number.isFinite(milliseconds) ? Math.max(0, milliseconds) : undefined;
}
