/** Migration: a move of an instance with its disks to another site, done by one run. */
import {
  type InstanceSpec,
  instance,
  type MigrationSpec,
  migration,
  Problem,
  type ProblemKind,
  problemKinds,
  site,
} from '@virt8ra/contract';
import type { RunHistory, Workflow } from '@virt8ra/engine';
import type { StoreTransaction } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { Admission, KindBehaviour, PutRequest } from '../behaviour.js';
import type { KindContext } from '../context.js';
import type { InstanceStatus } from '../instance/index.js';
import type { MoveInput } from './plan.js';
import type { MigrationStatus } from './subjects.js';
import { createMigrationWorkflow } from './workflow.js';

export type { MoveInput, MovePlan } from './plan.js';
export { recordTransferProgress } from './progress.js';
export type { MigrationStatus } from './subjects.js';
export { createMigrationWorkflow } from './workflow.js';

type Migration = StoredResource<MigrationSpec, MigrationStatus>;

/** Seconds between looks at a run that goes on; observations of its transfer come sooner. */
const lookSeconds = 2;

/** The behaviour of migrations; `workflow` is the very one that the runner was given. */
export function createMigrationBehaviour(
  context: KindContext,
  workflow: Workflow<MoveInput, null> = createMigrationWorkflow(context),
): KindBehaviour<MigrationSpec, MigrationStatus> {
  /** Starts the run of a migration, or finds it: there is one for each, live or ended. */
  async function runOf(resource: Migration): Promise<{ readonly run: RunHistory; readonly subject: string }> {
    const reference = (await context.store.referencesOf(resource.uid)).find(({ pointer }) => pointer === '/spec/instanceRef');
    if (reference === undefined) throw new Problem('internal', `migration ${resource.address.name} has lost its instance`);
    const subject = subjectOf(reference.uid);
    const runId = await context.runner.start(workflow, {
      subject,
      input: { migration: resource.uid, instance: reference.uid },
      idempotencyKey: resource.uid,
      ...(resource.address.tenant === undefined ? {} : { lane: resource.address.tenant }),
    });
    const run = await context.runner.get(runId);
    if (run === undefined) throw new Problem('unavailable', `run ${runId} has just ended`);
    return { run, subject };
  }

  async function end(resource: Migration, phase: 'returned' | 'failed', { message, code }: Reason): Promise<void> {
    await context.store.transaction(async (tx) => {
      if ((await tx.lock(resource.uid)) === undefined) return;
      await tx.setProgress(resource.uid, undefined);
      await tx.setStatus(
        resource.uid,
        { phase, problem: message, problemCode: code, finishedAt: context.now().toISOString() },
        { state: 'error', type: 'Moved', reason: phase === 'returned' ? 'Returned' : 'Failed', message },
      );
    });
  }

  return {
    kind: migration,
    admitPut: async (tx, request) => await admitMigration(context, tx, request),

    async admitDelete(_tx, resource) {
      if (isOver(resource)) return;
      throw new Problem(
        'conflict',
        `migration ${resource.address.name} is under way; cancel it first: virt8ra cancel ${resource.address.name}`,
      );
    },

    actions: {
      async cancel(_tx, resource, subject) {
        const { run } = await runOf(resource);
        await context.runner.cancel(run.id, `cancelled by ${subject.name}`);
      },
    },

    async reconcile(resource) {
      if (resource.deletedAt !== undefined) {
        await context.store.transaction(async (tx) => {
          if ((await tx.lock(resource.uid)) !== undefined) await tx.remove(resource.uid);
        });
        return { gone: true };
      }
      if (isOver(resource)) return { done: true };
      let found: Awaited<ReturnType<typeof runOf>>;
      try {
        found = await runOf(resource);
      } catch (error) {
        if (!(error instanceof Problem) || error.kind !== 'conflict') throw error;
        if (error.facts['state'] !== 'stuck') return { waitSeconds: lookSeconds, reason: error.message };
        await end(resource, 'failed', reasonOf(error));
        return { done: true };
      }
      const { run, subject } = found;
      switch (run.state) {
        case 'done':
          return { done: true };
        case 'undone':
          await end(resource, 'returned', reasonOf(run.problem ?? { kind: 'internal', message: 'the move was undone', facts: {} }));
          return { done: true };
        case 'stuck':
          await end(resource, 'failed', reasonOf(run.stuck ?? { kind: 'internal', message: 'the run is stuck', facts: {} }));
          return { done: true };
        case 'running':
        case 'waiting':
        case 'undoing':
          // Whatever woke this may be what the run waits for.
          await context.runner.nudge(subject);
          return { waitSeconds: lookSeconds, reason: run.state };
      }
    },
  };
}

/** Why a move ended, for its status. */
interface Reason {
  readonly message: string;
  readonly code: ProblemKind;
}

/** A site's own words for what broke there say more than what it meant for the move. */
function reasonOf({ kind, message, facts }: Pick<Problem, 'kind' | 'message' | 'facts'>): Reason {
  return { message, code: problemKinds.find((known) => known === facts['code']) ?? kind };
}

function subjectOf(instanceUid: string): string {
  return `${instance.kind}/${instanceUid}`;
}

function isOver({ status }: Migration): boolean {
  return status.phase === 'done' || status.phase === 'returned' || status.phase === 'failed';
}

async function admitMigration(
  context: KindContext,
  tx: StoreTransaction,
  { address, next, previous }: PutRequest<MigrationSpec, MigrationStatus>,
): Promise<Admission<MigrationStatus>> {
  if (previous !== undefined)
    throw new Problem('validation', 'a migration cannot be changed; make another one', { sources: [{ pointer: '' }] });
  const { instanceRef, toSite, mode } = next.spec;
  const { target, reference } = await tx.resolve<InstanceSpec, InstanceStatus>(instance, instanceRef, address, '/spec/instanceRef');
  // Two moves of one instance that are asked for at once meet at its row.
  const moved = await tx.lock<InstanceSpec, InstanceStatus>(target.uid);
  const { name } = target.address;
  const from = moved?.status.placement;
  if (from === undefined) throw new Problem('conflict', `instance ${name} is not placed yet; move it once it is active`);
  if ((await tx.get(site, { name: toSite })) === undefined)
    throw new Problem('validation', `there is no site ${toSite}`, { sources: [{ pointer: '/spec/toSite' }] });
  if (from.site === toSite)
    throw new Problem('validation', `instance ${name} is at ${toSite} already`, { sources: [{ pointer: '/spec/toSite' }] });
  const others = (await tx.usersOf(target.uid, migration)) as readonly Migration[];
  const other = others.find((each) => each.deletedAt === undefined && !isOver(each));
  if (other !== undefined) throw new Problem('conflict', `instance ${name} is being moved by migration ${other.address.name}`);
  // A move that is done ends its run a moment later: the next one begins then. A stuck run never ends by itself.
  const [live] = await context.runner.list({ subject: subjectOf(target.uid), live: true, limit: 1 });
  if (live?.state === 'stuck')
    throw new Problem('conflict', `instance ${name} is held by a stuck run of ${live.workflow} (${live.id}); it must be resumed first`);
  const activity = moved?.status.activity?.value;
  if (mode === 'warm' && activity !== 'running')
    throw new Problem('conflict', `instance ${name} is ${activity ?? 'not seen'}; a warm move needs it running, use cold`);
  return {
    references: [reference],
    status: { phase: 'plan', from: { site: from.site, ...(from.host === undefined ? {} : { host: from.host }) }, to: { site: toSite } },
    outcome: 'creating',
    type: 'Moved',
    reason: 'Planned',
  };
}
