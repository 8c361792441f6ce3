/** Migration: a move of an instance with its disks to another site or host, done by one run. */
import { instance, type MigrationSpec, migration, Problem, type ProblemKind, problemKinds, urnFromAddress } from '@virt8ra/contract';
import type { RunHistory, Workflow } from '@virt8ra/engine';
import type { StoreTransaction } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { Admission, KindBehaviour, PutRequest, Subject } from '../behaviour.js';
import type { KindContext } from '../context.js';
import { examine } from './objections.js';
import type { MoveInput } from './plan.js';
import { isOver, type MigrationStatus } from './subjects.js';
import { createMigrationWorkflow } from './workflow.js';

export { createMoveMeasures } from './create-measures.js';
export { type LiveOutlook, liveOutlookOf } from './live-outlook.js';
export type { MoveInput, MovePlan } from './plan.js';
export { planMigration } from './plan-migration.js';
export { predictPauseMs } from './predict-pause.js';
export { recordTransferProgress } from './progress.js';
export { isOver, type MigrationStatus } from './subjects.js';
export { createMigrationWorkflow } from './workflow.js';

type Migration = StoredResource<MigrationSpec, MigrationStatus>;

/** Seconds between looks at a run that goes on; observations of its transfer come sooner. */
const lookSeconds = 2;

/** The behaviour of migrations; `workflow` is the very one that the runner was given. */
export function createMigrationBehaviour(
  context: KindContext,
  workflow: Workflow<MoveInput, null> = createMigrationWorkflow(context),
): KindBehaviour<MigrationSpec, MigrationStatus> {
  /**
   * Starts the run of a migration, or finds it: there is one for each, live or ended, and `note` keeps which. Raises `not-found` when
   * it ended so long ago that it is not kept any more.
   */
  async function runOf(
    resource: Migration,
    note: (run: string) => Promise<void>,
  ): Promise<{ readonly run: RunHistory; readonly subject: string }> {
    const reference = (await context.store.referencesOf(resource.uid)).find(({ pointer }) => pointer === '/spec/instanceRef');
    if (reference === undefined) throw new Problem('internal', `migration ${resource.address.name} has lost its instance`);
    const subject = subjectOf(reference.uid);
    const known = resource.status.run;
    const runId =
      known ??
      (await context.runner.start(workflow, {
        subject,
        input: { migration: resource.uid, instance: reference.uid },
        idempotencyKey: resource.uid,
        ...(resource.address.tenant === undefined ? {} : { lane: resource.address.tenant }),
      }));
    if (known === undefined) await note(runId);
    const run = await context.runner.get(runId);
    if (run === undefined)
      throw new Problem('not-found', `run ${runId} is not kept any more: how it ended is not known; look where the instance is`);
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

  /** The live copy failed and is undone: another run moves it warm, as its owner consented. */
  async function goWarm({ uid, address }: Migration, subject: string, { message }: Reason): Promise<void> {
    await context.store.transaction(async (tx) => {
      const held = await tx.lock<MigrationSpec, MigrationStatus>(uid);
      if (held?.status.mode !== 'live') return;
      const reference = (await tx.referencesOf(uid)).find(({ pointer }) => pointer === '/spec/instanceRef');
      if (reference === undefined) throw new Problem('internal', `migration ${address.name} has lost its instance`);
      const run = await context.runner.start(
        workflow,
        {
          subject,
          input: { migration: uid, instance: reference.uid, mode: 'warm' },
          idempotencyKey: `${uid}/warm`,
          ...(address.tenant === undefined ? {} : { lane: address.tenant }),
        },
        tx.client,
      );
      await tx.setStatus(uid, { run, mode: 'warm', phase: 'plan', fallbackReason: `its live copy failed: ${message}` });
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
      async cancel(tx, resource, subject) {
        const { name } = resource.address;
        // Its run may not be kept any more, and must not begin again.
        if (isOver(resource)) throw new Problem('conflict', `migration ${name} is ${resource.status.phase}; there is nothing to cancel`);
        const { run } = await runOf(resource, async (id) => await tx.setStatus(resource.uid, { run: id }));
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
        found = await runOf(resource, async (run) => {
          await context.store.transaction(async (tx) => {
            if ((await tx.lock(resource.uid)) !== undefined) await tx.setStatus(resource.uid, { run });
          });
        });
      } catch (error) {
        if (error instanceof Problem && error.kind === 'not-found') {
          await end(resource, 'failed', reasonOf(error));
          return { done: true };
        }
        if (!(error instanceof Problem) || error.kind !== 'conflict') throw error;
        if (error.facts['state'] !== 'stuck') return { waitSeconds: lookSeconds, reason: error.message };
        await end(resource, 'failed', reasonOf(error));
        return { done: true };
      }
      const { run, subject } = found;
      switch (run.state) {
        case 'done':
          return { done: true };
        case 'undone': {
          const reason = reasonOf(run.problem ?? { kind: 'internal', message: 'the move was undone', facts: {} });
          if (mayGoWarm(resource, run)) {
            await goWarm(resource, subject, reason);
            return { waitSeconds: 0, reason: 'it goes on warm' };
          }
          await end(resource, 'returned', reason);
          return { done: true };
        }
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

/** A live move that nobody called off and that failed before the source let go, of an owner who consented to a pause and a boot instead. */
function mayGoWarm({ spec, status }: Migration, { cancelReason, steps }: RunHistory): boolean {
  const letGo = steps.some(({ name, endedAt }) => name === 'released' && endedAt !== undefined);
  return spec.fallback === 'warm' && status.mode === 'live' && cancelReason === undefined && !letGo;
}

function subjectOf(instanceUid: string): string {
  return `${instance.kind}/${instanceUid}`;
}

/**
 * Makes a migration as its owner's PUT would, for another kind that moves instances. Raises what a PUT is answered with, and `conflict`
 * when the name is taken.
 */
export async function beginMigration(
  context: KindContext,
  tx: StoreTransaction,
  wanted: Pick<Migration, 'address' | 'labels' | 'spec'>,
  subject: Subject,
): Promise<StoredResource> {
  const { address, labels, spec } = wanted;
  if ((await tx.lockAt(migration, address)) !== undefined) throw new Problem('conflict', `there is a migration ${address.name} already`);
  const { references = [], status = {} } = await admitMigration(context, tx, {
    address,
    next: { labels, spec },
    previous: undefined,
    subject,
  });
  const made = await tx.put({
    kind: migration,
    address,
    labels,
    spec,
    status: { ...status },
    references,
    state: 'creating',
    conditions: [{ state: 'creating', type: 'Moved', reason: 'Planned' }, { state: 'pending' }],
  });
  const resource = urnFromAddress(migration, address);
  await tx.audit({ subject: subject.name, remote: subject.remote, verb: 'put', resource, code: 201 });
  await tx.nudge(migration.kind, made.uid);
  return made;
}

async function admitMigration(
  context: KindContext,
  tx: StoreTransaction,
  { address, next, previous }: PutRequest<MigrationSpec, MigrationStatus>,
): Promise<Admission<MigrationStatus>> {
  if (previous !== undefined)
    throw new Problem('validation', 'a migration cannot be changed; make another one', { sources: [{ pointer: '' }] });
  const { toSite, toHost } = next.spec;
  const {
    reference,
    from,
    publicIpsLost: lost,
  } = await examine(context, tx, { address, spec: next.spec }, ({ problem }) => {
    throw problem;
  });
  if (from === undefined) throw new Problem('internal', 'what stands in the way of a migration was not told');
  return {
    references: [reference],
    ...(lost.length === 0 ? {} : { message: `${lost.join(' and ')} will not lead to it any more` }),
    status: {
      phase: 'plan',
      from,
      to: { site: toSite, ...(toHost === undefined ? {} : { host: toHost }) },
    },
    outcome: 'creating',
    type: 'Moved',
    reason: 'Planned',
  };
}
