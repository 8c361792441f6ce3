import { type MigrationSpec, Problem, type ReturnJourney, type WayBack } from '@virt8ra/contract';
import type { Outcome, RunHistory, Workflow } from '@virt8ra/engine';
import type { StoreTransaction } from '../../../resources/store.js';
import type { StoredResource } from '../../../resources/stored-resource.js';
import type { KindContext } from '../../context.js';
import { type EndReason, reasonOf } from '../end-reason.js';
import { type MoveInput, plannedMove } from '../plan.js';
import type { MigrationStatus } from '../subjects.js';
import { setWindow } from './window.js';

type Migration = StoredResource<MigrationSpec, MigrationStatus>;
type KeptMigration = Migration & { readonly status: MigrationStatus & { readonly wayBack: WayBack } };

export interface WayBackWorkflows {
  readonly move: Workflow<MoveInput, null>;
  readonly flow: Workflow<MoveInput, null>;
  readonly release: Workflow<MoveInput, null>;
}

const looks = { busy: 1, quiet: 15 } as const;
/** Seconds until a flow that has stopped is begun again: doubled with each attempt that failed. */
const retry = { first: 60, most: 3600 } as const;

/** Whether a way back is kept, or being gone or given up. */
export function hasWindow(resource: Migration): resource is KeptMigration {
  return resource.status.wayBack !== undefined && resource.status.wayBack.endedAt === undefined;
}

/**
 * Looks after a window that is open: has what is written at the target flow back, carries a return that was asked for, and gives the retained disks up
 * by the owner's word or when the time is over. `instance`: the one that was moved.
 */
export async function tendWindow(
  context: KindContext,
  workflows: WayBackWorkflows,
  resource: KeptMigration,
  instance: MoveInput['instance'],
): Promise<Outcome> {
  const { asked, until } = resource.status.wayBack;
  const input: MoveInput = { migration: resource.uid, instance, way: 'back' };
  if (asked === 'return') return await carryReturn(context, workflows, resource, input);
  if (asked === 'release') return await giveUp(context, workflows, resource, input);
  const leftMs = Date.parse(until) - context.now().getTime();
  if (leftMs > 0) return await keepFlowing(context, workflows.flow, resource, input, leftMs);
  await change(context, resource, async (tx, held) => {
    if (held.status.wayBack.asked === undefined) await setWindow(tx, held, { asked: 'release', ended: 'expired' });
  });
  return { waitSeconds: 0, reason: 'its time is over' };
}

async function keepFlowing(
  context: KindContext,
  flow: WayBackWorkflows['flow'],
  resource: KeptMigration,
  input: MoveInput,
  leftMs: number,
): Promise<Outcome> {
  const { reverse, run: known } = resource.status.wayBack;
  const waitSeconds = Math.max(1, Math.min(looks.quiet, leftMs / 1000));
  const run = known === undefined ? undefined : await context.runner.get(known);
  if (run !== undefined && isLive(run)) {
    await context.runner.nudge(subjectOf(resource));
    return { waitSeconds, reason: 'it flows back' };
  }
  if (run !== undefined && run.state !== 'done' && reverse.retryAt === undefined) {
    await stopped(context, resource, run);
    return { waitSeconds: looks.busy, reason: 'nothing flows back' };
  }
  const dueMs = reverse.retryAt === undefined ? 0 : Date.parse(reverse.retryAt) - context.now().getTime();
  if (dueMs > 0)
    return { waitSeconds: Math.min(waitSeconds, Math.max(1, dueMs / 1000)), reason: reverse.reason ?? 'it is tried again later' };
  return await beginFlow(context, flow, resource, input);
}

async function beginFlow(
  context: KindContext,
  flow: WayBackWorkflows['flow'],
  resource: KeptMigration,
  input: MoveInput,
): Promise<Outcome> {
  return await begin(context, resource, async (tx, held) => {
    const attempt = held.status.wayBack.attempt + 1;
    const started = await context.runner.start(
      flow,
      { subject: subjectOf(resource), input, idempotencyKey: `${resource.uid}/flow/${attempt}`, ...laneOf(resource) },
      tx.client,
    );
    const at = context.now().toISOString();
    await setWindow(tx, held, { run: started, attempt, reverse: { state: 'starting', passes: 0, bytes: 0, at } });
  });
}

/** Shows why nothing flows back, and when it is tried again. */
async function stopped(context: KindContext, resource: KeptMigration, run: RunHistory): Promise<void> {
  const { message } = run.stuck ?? run.problem ?? { message: 'it was called off' };
  await change(context, resource, async (tx, held) => {
    const { attempt, reverse } = held.status.wayBack;
    const now = context.now();
    const seconds = Math.min(retry.most, retry.first * 2 ** Math.min(attempt - 1, 10));
    const retryAt = new Date(now.getTime() + seconds * 1000).toISOString();
    await setWindow(
      tx,
      held,
      {
        reverse: { state: 'stopped', passes: reverse.passes, bytes: reverse.bytes, at: now.toISOString(), reason: message, retryAt },
        cost: undefined,
        warning: undefined,
      },
      {
        state: 'active',
        type: 'WayBack',
        reason: 'FlowStopped',
        message: `nothing flows back: ${message}; the retained disks are untouched, a return then has more to send`,
      },
    );
  });
}

async function carryReturn(
  context: KindContext,
  { flow: flowing, move }: WayBackWorkflows,
  resource: KeptMigration,
  input: MoveInput,
): Promise<Outcome> {
  const { wayBack, return: journey } = resource.status;
  if (journey === undefined) throw new Problem('internal', 'a return that nobody asked for');
  if (journey.run === undefined) {
    const flow = wayBack.run === undefined ? undefined : await context.runner.get(wayBack.run);
    if (flow !== undefined && flow.state === 'stuck') {
      await show(context, resource, journey, `the run ${flow.id} that keeps it ready is stuck and must be resumed first`);
      return { waitSeconds: looks.quiet, reason: 'a run is stuck' };
    }
    if (flow !== undefined && isLive(flow)) {
      // A warm return goes on with what flows already; for another one that is taken away first.
      if (journey.mode === 'warm') await context.runner.nudge(subjectOf(resource));
      else await callOff(context, flow, `a ${journey.mode} return was asked for`);
      return { waitSeconds: looks.busy, reason: 'what flows back is handed over' };
    }
    // What a warm return that was called off at once has left is taken up again, so that it can be taken away.
    if (journey.mode !== 'warm' && (await plannedMove(context.store, resource.uid)) !== undefined)
      return await beginFlow(context, flowing, resource, input);
    return await begin(context, resource, async (tx, held) => {
      if (held.status.return === undefined || held.status.return.run !== undefined) return;
      const started = await context.runner.start(
        move,
        {
          subject: `instance/${input.instance}`,
          input: { ...input, mode: journey.mode },
          idempotencyKey: `${resource.uid}/return/${held.status.wayBack.attempt}`,
          ...laneOf(resource),
        },
        tx.client,
      );
      await tx.setStatus(resource.uid, {
        phase: 'plan',
        return: { ...held.status.return, run: started, startedAt: context.now().toISOString() },
      });
    });
  }
  const run = await context.runner.get(journey.run);
  if (run === undefined) {
    await endReturn(context, resource, journey, {
      code: 'not-found',
      message: `run ${journey.run} is not kept any more: how the return ended is not known`,
    });
    return { waitSeconds: 0, reason: 'its run is gone' };
  }
  switch (run.state) {
    case 'done':
      return { done: true };
    case 'undone':
      await endReturn(context, resource, journey, reasonOf(run.problem ?? new Problem('internal', 'the return was undone')));
      return { waitSeconds: 0, reason: 'the return was undone' };
    case 'stuck':
      await show(context, resource, journey, run.stuck?.message ?? 'the run of the return is stuck');
      return { waitSeconds: looks.quiet, reason: 'the return is stuck' };
    case 'running':
    case 'waiting':
    case 'undoing':
      await context.runner.nudge(run.subject);
      return { waitSeconds: 2, reason: run.state };
  }
}

/** The return was undone: the instance is where it was, and the window is as open as before. */
async function endReturn(
  context: KindContext,
  resource: KeptMigration,
  journey: ReturnJourney,
  { message, code }: EndReason,
): Promise<void> {
  await change(context, resource, async (tx, held) => {
    const now = context.now().toISOString();
    await tx.setProgress(resource.uid, undefined);
    const reverse = { state: 'stopped', passes: 0, bytes: 0, at: now, reason: 'the return was undone, and it begins anew' } as const;
    await setWindow(tx, held, { asked: undefined, run: undefined, cost: undefined, reverse });
    await tx.setStatus(
      resource.uid,
      { phase: 'kept', return: { ...journey, finishedAt: now, problem: message, problemCode: code } },
      { state: 'active', type: 'WayBack', reason: 'ReturnUndone', message },
    );
  });
}

async function show(context: KindContext, resource: KeptMigration, journey: ReturnJourney, message: string): Promise<void> {
  if (journey.problem === message) return;
  await change(context, resource, async (tx) => {
    await tx.setStatus(
      resource.uid,
      { return: { ...journey, problem: message } },
      { state: 'error', type: 'WayBack', reason: 'Stuck', message },
    );
  });
}

async function giveUp(
  context: KindContext,
  { flow, release }: WayBackWorkflows,
  resource: KeptMigration,
  input: MoveInput,
): Promise<Outcome> {
  const { run: known } = resource.status.wayBack;
  const run = known === undefined ? undefined : await context.runner.get(known);
  if (run?.workflow === release.name) {
    if (isLive(run)) await context.runner.nudge(subjectOf(resource));
    return { waitSeconds: run.state === 'stuck' ? looks.quiet : looks.busy, reason: run.state };
  }
  if (run !== undefined && run.state === 'stuck')
    return { waitSeconds: looks.quiet, reason: `run ${run.id} is stuck and must be resumed first` };
  if (run !== undefined && isLive(run)) {
    await callOff(context, run, 'the way back is given up');
    return { waitSeconds: looks.busy, reason: 'what flows back is taken away' };
  }
  if ((await plannedMove(context.store, resource.uid)) !== undefined) return await beginFlow(context, flow, resource, input);
  return await begin(context, resource, async (tx, held) => {
    const started = await context.runner.start(
      release,
      { subject: subjectOf(resource), input, idempotencyKey: `${resource.uid}/release`, ...laneOf(resource) },
      tx.client,
    );
    await setWindow(tx, held, { run: started });
  });
}

/** Calls a run off, unless that was done before. */
async function callOff(context: KindContext, run: RunHistory, reason: string): Promise<void> {
  if (run.state === 'undoing' || run.cancelReason !== undefined) return;
  try {
    await context.runner.cancel(run.id, reason);
  } catch (error) {
    // It has just ended by itself.
    if (!(error instanceof Problem) || error.kind !== 'conflict') throw error;
  }
}

/** Starts something in one transaction with its being shown; what holds its subject still is waited for. */
async function begin(context: KindContext, resource: KeptMigration, work: Parameters<typeof change>[2]): Promise<Outcome> {
  try {
    await change(context, resource, work);
    return { waitSeconds: looks.busy, reason: 'it has begun' };
  } catch (error) {
    if (!(error instanceof Problem) || error.kind !== 'conflict') throw error;
    return { waitSeconds: looks.busy, reason: error.message };
  }
}

async function change(
  context: KindContext,
  { uid }: Migration,
  work: (tx: StoreTransaction, held: KeptMigration) => Promise<void>,
): Promise<void> {
  await context.store.transaction(async (tx) => {
    const held = await tx.lock<MigrationSpec, MigrationStatus>(uid);
    if (held !== undefined && hasWindow(held)) await work(tx, held);
  });
}

function isLive({ state }: RunHistory): boolean {
  return state === 'running' || state === 'waiting' || state === 'undoing';
}

function subjectOf({ uid }: Migration): string {
  return `migration/${uid}`;
}

function laneOf({ address }: Migration): { readonly lane?: string } {
  return address.tenant === undefined ? {} : { lane: address.tenant };
}
