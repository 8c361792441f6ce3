import { type HostDrain, type HostSpec, type Id, instance, Problem, type Progress, toProblem } from '@virt8ra/contract';
import { defineWorkflow, type Poll, type StepContext, type Workflow } from '@virt8ra/engine';
import type { StoreTransaction } from '../../../resources/store.js';
import type { StoredResource } from '../../../resources/stored-resource.js';
import type { Subject } from '../../behaviour.js';
import type { KindContext } from '../../context.js';
import { beginMigration, isOver, type MigrationStatus } from '../../migration/index.js';
import { type DrainMove, movesOfRun, noteMove, noteOutcome } from './moves.js';
import { type DrainWish, type Surveyed, surveyHost } from './survey.js';

export interface DrainInput {
  readonly uid: Id<'resource'>;
  readonly host: string;
  readonly site: string;
  readonly wish: DrainWish;
  /** Who asked for it; the migrations are made in their name. */
  readonly subject: Pick<Subject, 'name' | 'remote'>;
}

/** How a drain ends. */
export type DrainEnd = Extract<HostDrain['phase'], 'drained' | 'incomplete' | 'cancelled'>;

interface DrainStatus {
  readonly drain?: HostDrain;
}

/** Longest time that a transaction of ours may take effect after it was begun. */
const writeMs = 30_000;
/** The moves end by themselves; this only bounds how long a drain may wait for the first look at a host that is away. */
const timeoutSeconds = 30 * 24 * 3600;
const looks = { busy: 1, waiting: 3 } as const;

/**
 * `host.drain`: begins a migration for each instance on a host, few at a time, until none is left that can be moved. What has moved stays
 * where it is, so that nothing is undone: a cancelled drain returns what is under way and ends.
 */
export function createDrainWorkflow(context: KindContext): Workflow<DrainInput, DrainEnd> {
  return defineWorkflow<DrainInput, DrainEnd>({
    name: 'host.drain',
    version: 1,
    async run(run, input) {
      await run.commit('begun');
      const end = await run.wait('emptied', async (step) => await look(context, step, input), { timeoutSeconds });
      await run.step('finish', async (step) => await finish(context, step, input, end));
      return end;
    },
  });
}

/** One look at the host: what came of the moves, what is to be moved next. Repeating it does nothing twice. */
async function look(context: KindContext, step: StepContext, input: DrainInput): Promise<Poll<DrainEnd>> {
  const host = await context.store.getByUid<HostSpec, DrainStatus>(input.uid);
  // A host goes only when nothing is on it any more.
  if (host === undefined) return { done: 'drained' };
  const moves = await settleMoves(context, step, await inOrder(context, step.runId));
  const live = moves.filter(({ outcome }) => outcome === undefined);
  if (host.status.drain?.phase === 'cancelling') {
    for (const { migration: uid } of live) await cancelMove(context, uid, input.subject);
    await show(context, step, input, moves, []);
    return live.length === 0 ? { done: 'cancelled' } : { waitSeconds: looks.busy };
  }
  const planned = await Promise.all(live.map(async ({ migration: uid }) => await isPlanned(context, uid)));
  // The next is ranked when the last has claimed its room: else both would be sent to the same host.
  const slots = planned.every(Boolean) ? Math.min(1, Math.max(0, input.wish.parallel - live.length)) : 0;
  const surveyed = await surveyHost(context, input, input.wish, moves, slots);
  const next = surveyed.find(({ outlook }) => outlook.type === 'moves');
  if (next !== undefined) await beginMove(context, step, input, moves, next);
  await show(context, step, input, moves, surveyed);
  if (next !== undefined || live.length > 0) return { waitSeconds: looks.busy };
  if (surveyed.some(({ outlook }) => outlook.type === 'moving' || outlook.type === 'waits')) return { waitSeconds: looks.waiting };
  return { done: surveyed.length === 0 ? 'drained' : 'incomplete' };
}

async function inOrder(context: KindContext, run: string): Promise<readonly DrainMove[]> {
  return await context.store.transaction(async (tx) => await movesOfRun(tx.client, run));
}

/** Writes down what came of the moves that have ended since. */
async function settleMoves(context: KindContext, step: StepContext, moves: readonly DrainMove[]): Promise<readonly DrainMove[]> {
  const settled: DrainMove[] = [];
  for (const move of moves) {
    const seen = move.outcome === undefined ? await context.store.getByUid<unknown, MigrationStatus>(move.migration) : undefined;
    if (move.outcome !== undefined || (seen !== undefined && !isOver(seen as Parameters<typeof isOver>[0]))) {
      settled.push(move);
      continue;
    }
    // A migration can be deleted only when it is over.
    const outcome = seen?.status.phase ?? 'deleted';
    const problem = seen?.status.problem;
    await write(context, step, async (tx) => await noteOutcome(tx.client, move.migration, outcome, problem));
    settled.push({ ...move, outcome, problem });
  }
  return settled;
}

async function isPlanned(context: KindContext, uid: Id<'resource'>): Promise<boolean> {
  const found = await context.store.getByUid<unknown, MigrationStatus>(uid);
  return found?.status.startedAt !== undefined;
}

async function beginMove(
  context: KindContext,
  step: StepContext,
  input: DrainInput,
  moves: readonly DrainMove[],
  { instance: { uid, address }, outlook }: Surveyed,
): Promise<void> {
  if (outlook.type !== 'moves') return;
  const attempt = moves.filter((move) => move.instance === uid).length + 1;
  const wanted = {
    address: { ...address, name: moveName(address.name, input.host, step.runId, attempt) },
    labels: { 'virt8ra.drain': input.host.slice(0, 63) },
    spec: { instanceRef: `${instance.collection}/${address.name}`, toSite: outlook.to.site, toHost: outlook.to.host, mode: outlook.mode },
  };
  const subject: Subject = { ...input.subject, operator: true, tenants: 'all' };
  try {
    await write(context, step, async (tx) => {
      const made = await beginMigration(context, tx, wanted, subject);
      await noteMove(tx.client, step.runId, { migration: made.uid, instance: uid, mode: outlook.mode });
    });
  } catch (error) {
    const problem = toProblem(error);
    // Somebody else was quicker, or it has just changed: the next look says what it is now.
    if (problem.kind !== 'conflict' && problem.kind !== 'validation') throw problem;
    context.log.info('an instance was not moved off yet', { host: input.host, instance: uid, problem: problem.message });
  }
}

/** Readable, and never met twice: instance, host, the run's last letters and the attempt. */
function moveName(instanceName: string, host: string, run: string, attempt: number): string {
  const part = (text: string, most: number): string => text.slice(0, most).replace(/[-.]+$/, '');
  return `${part(instanceName, 64)}-off-${part(host, 40)}-${run.slice(-6)}-${attempt}`;
}

async function cancelMove(context: KindContext, uid: Id<'resource'>, { name }: DrainInput['subject']): Promise<void> {
  const found = await context.store.getByUid<unknown, MigrationStatus>(uid);
  if (found?.status.run === undefined) return;
  try {
    await context.runner.cancel(found.status.run, `the drain was cancelled by ${name}`);
  } catch (error) {
    // Proven at its target it goes forward only, and ends soon.
    if (!(error instanceof Problem) || error.kind !== 'conflict') throw error;
  }
}

async function show(
  context: KindContext,
  step: StepContext,
  input: DrainInput,
  moves: readonly DrainMove[],
  surveyed: readonly Surveyed[],
): Promise<void> {
  const count = (type: Surveyed['outlook']['type']): number => surveyed.filter(({ outlook }) => outlook.type === type).length;
  const live = moves.filter(({ outcome }) => outcome === undefined);
  const progress = await progressOf(context, live);
  await write(context, step, async (tx) => {
    const held = await tx.lock<HostSpec, DrainStatus>(input.uid);
    const drain = held?.status.drain;
    if (drain?.run !== step.runId) return;
    const counts = {
      moved: moves.filter(({ outcome }) => outcome === 'done').length,
      moving: surveyed.length === 0 ? live.length : count('moving') + count('moves'),
      waiting: count('waits'),
      blocked: count('stays'),
    };
    await tx.setStatus(input.uid, { drain: { ...drain, ...counts } });
    await tx.setProgress(input.uid, progress);
  });
}

/** Of all moves under way together. */
async function progressOf(context: KindContext, live: readonly DrainMove[]): Promise<Omit<Progress, 'updatedAt'> | undefined> {
  const each = (await Promise.all(live.map(async ({ migration: uid }) => await context.store.progressOf(uid)))).filter(
    (progress) => progress !== undefined,
  );
  if (each.length === 0) return undefined;
  const sum = (of: (progress: Progress) => number): number => each.reduce((total, progress) => total + of(progress), 0);
  const [bytes, totalBytes, bytesPerSecond] = [sum((one) => one.bytes), sum((one) => one.totalBytes), sum((one) => one.bytesPerSecond)];
  const etaSeconds = bytesPerSecond === 0 ? null : Math.max(0, totalBytes - bytes) / bytesPerSecond;
  return { phase: 'draining', bytes, totalBytes, bytesPerSecond, etaSeconds };
}

async function finish(context: KindContext, step: StepContext, { uid }: DrainInput, phase: DrainEnd): Promise<void> {
  await write(context, step, async (tx) => {
    const held = await tx.lock<HostSpec, DrainStatus>(uid);
    const drain = held?.status.drain;
    if (drain?.run !== step.runId) return;
    await tx.setProgress(uid, undefined);
    await tx.setStatus(uid, { drain: { ...drain, phase, finishedAt: drain.finishedAt ?? context.now().toISOString() } });
  });
}

async function write<Value>(context: KindContext, step: StepContext, work: (tx: StoreTransaction) => Promise<Value>): Promise<Value> {
  await step.assertOwned(writeMs);
  return await context.store.transaction(work);
}

/** Whether a run is about to change the host. */
export function isDraining({ status }: Pick<StoredResource<unknown, DrainStatus>, 'status'>): boolean {
  return status.drain?.phase === 'draining' || status.drain?.phase === 'cancelling';
}
