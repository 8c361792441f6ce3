/** Migration: a move of an instance with its disks to another site or host, done by one run. */
import {
  type CutoverRequest,
  type Id,
  instance,
  type MigrationSpec,
  migration,
  Problem,
  type ReturnRequest,
  urnFromAddress,
} from '@virt8ra/contract';
import type { RunHistory, Workflow } from '@virt8ra/engine';
import type { StoreTransaction } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { Admission, KindBehaviour, PutRequest, Subject } from '../behaviour.js';
import type { KindContext } from '../context.js';
import { assertWindowClosed } from '../moving.js';
import { probeFaultOf } from './boot-probe.js';
import { cutoverFault } from './cutover.js';
import { type EndReason, reasonOf } from './end-reason.js';
import { examine } from './objections.js';
import type { MoveInput } from './plan.js';
import { queueCutover } from './queue-cutover.js';
import { isOver, type MigrationStatus } from './subjects.js';
import { askForRelease, askForReturn, callReturnOff } from './way-back/ask.js';
import { createFlowWorkflow } from './way-back/flow-workflow.js';
import { createReleaseWorkflow } from './way-back/release-workflow.js';
import { hasWindow, tendWindow, type WayBackWorkflows } from './way-back/tend-window.js';
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

/** What keeps a way back ready and what ends it, for the runner. */
export function createWayBackWorkflows(context: KindContext): Omit<WayBackWorkflows, 'move'> {
  return { flow: createFlowWorkflow(context), release: createReleaseWorkflow(context) };
}

/** Seconds between looks at a run that goes on; observations of its transfer come sooner. */
const lookSeconds = 2;
/** The same of one that waits for its cut-over, maybe for days; the run looks by itself meanwhile. */
const waitingLookSeconds = 30;

/** The behaviour of migrations; `workflow` is the very one that the runner was given. */
export function createMigrationBehaviour(
  context: KindContext,
  workflow: Workflow<MoveInput, null> = createMigrationWorkflow(context),
  wayBack: Omit<WayBackWorkflows, 'move'> = createWayBackWorkflows(context),
): KindBehaviour<MigrationSpec, MigrationStatus> {
  async function instanceOf({ uid, address }: Migration): Promise<Id<'resource'>> {
    const reference = (await context.store.referencesOf(uid)).find(({ pointer }) => pointer === '/spec/instanceRef');
    if (reference === undefined) throw new Problem('internal', `migration ${address.name} has lost its instance`);
    return reference.uid;
  }

  /**
   * Starts the run of a migration, or finds it: there is one for each, live or ended, and `note` keeps which. Raises `not-found` when
   * it ended so long ago that it is not kept any more.
   */
  async function runOf(
    resource: Migration,
    note: (run: string) => Promise<void>,
  ): Promise<{ readonly run: RunHistory; readonly subject: string }> {
    const moved = await instanceOf(resource);
    const subject = subjectOf(moved);
    const known = resource.status.run;
    const runId =
      known ??
      (await context.runner.start(workflow, {
        subject,
        input: { migration: resource.uid, instance: moved },
        idempotencyKey: resource.uid,
        ...(resource.address.tenant === undefined ? {} : { lane: resource.address.tenant }),
      }));
    if (known === undefined) await note(runId);
    const run = await context.runner.get(runId);
    if (run === undefined)
      throw new Problem('not-found', `run ${runId} is not kept any more: how it ended is not known; look where the instance is`);
    return { run, subject };
  }

  async function end(resource: Migration, phase: 'returned' | 'failed', { message, code }: EndReason): Promise<void> {
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
  async function goWarm({ uid, address }: Migration, subject: string, { message }: EndReason): Promise<void> {
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
      assertWindowClosed(resource, 'delete it');
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
        if (hasWindow(resource)) {
          const returning = await callReturnOff(tx, resource);
          if (returning !== undefined) await context.runner.cancel(returning, `cancelled by ${subject.name}`);
          return;
        }
        const { run } = await runOf(resource, async (id) => await tx.setStatus(resource.uid, { run: id }));
        await context.runner.cancel(run.id, `cancelled by ${subject.name}`);
      },
      return: async (tx, resource, subject, body) =>
        await askForReturn(context, tx, resource, await instanceOf(resource), subject, body as ReturnRequest),
      release: async (tx, resource, subject) => await askForRelease(tx, resource, subject),

      async cutover(tx, resource, subject, body) {
        await queueCutover(context, tx, resource, subject, body as CutoverRequest);
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
      if (hasWindow(resource)) return await tendWindow(context, { ...wayBack, move: workflow }, resource, await instanceOf(resource));
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
          return { waitSeconds: resource.status.phase === 'waiting' ? waitingLookSeconds : lookSeconds, reason: run.state };
      }
    },
  };
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
  const { cutover, mode } = next.spec;
  const fault = cutover === undefined ? undefined : cutoverFault(cutover, mode, context.now());
  if (fault !== undefined) throw new Problem('validation', fault, { sources: [{ pointer: '/spec/cutover' }] });
  const probeFault = probeFaultOf(next.spec);
  if (probeFault !== undefined) throw new Problem('validation', probeFault, { sources: [{ pointer: '/spec/bootProbe' }] });
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
