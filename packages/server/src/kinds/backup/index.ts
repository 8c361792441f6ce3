/** Backup: the content of block storages at one point in time, made by one run and kept in the artifact store until it is deleted. */
import { type BackupSpec, backup, Problem, type ProblemKind, problemKinds } from '@virt8ra/contract';
import type { RunHistory, Workflow } from '@virt8ra/engine';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { KindBehaviour } from '../behaviour.js';
import type { KindContext } from '../context.js';
import { withdrawn } from '../realize.js';
import { admitBackupDelete, admitNewBackup } from './admit.js';
import { type BackupInput, backupsAt } from './plan.js';
import { type BackupStatus, isOver } from './status.js';

export { admitNewBackup, unmadeFrom } from './admit.js';
export { recordBackupProgress } from './progress.js';
export { type BackupStatus, isOver } from './status.js';
export { createBackupWorkflow } from './workflow.js';

type Backup = StoredResource<BackupSpec, BackupStatus>;

/** Seconds between looks at a run that goes on; observations of its host come sooner. */
const lookSeconds = 2;

/** The behaviour of backups; `workflow` is the very one that the runner was given. */
export function createBackupBehaviour(
  context: KindContext,
  workflow: Workflow<BackupInput, null>,
): KindBehaviour<BackupSpec, BackupStatus> {
  const subjectOf = (resource: Backup) => `${backup.kind}/${resource.uid}`;

  /** Starts the run of a backup, or finds it: there is one for each, live or ended. */
  async function runOf(resource: Backup): Promise<RunHistory> {
    const runId = await context.runner.start(workflow, {
      subject: subjectOf(resource),
      input: { backup: resource.uid },
      idempotencyKey: resource.uid,
      ...(resource.address.tenant === undefined ? {} : { lane: resource.address.tenant }),
    });
    const run = await context.runner.get(runId);
    if (run === undefined) throw new Problem('unavailable', `run ${runId} has just ended`);
    return run;
  }

  /** What is taken away at its host is the run's last wait; where the run is stuck there, it is taken away here. Answers what is left, in words. */
  async function forgottenAtHost(resource: Backup): Promise<string | undefined> {
    const realizations = await context.store.ledger.ofResource(resource.uid);
    if (realizations.length === 0) return undefined;
    const run = await runOf(resource);
    if (run.state === 'running' || run.state === 'waiting' || run.state === 'undoing') {
      await context.runner.nudge(subjectOf(resource));
      return 'its host forgets it';
    }
    for (const realization of realizations) {
      const connection = await context.sites.connectionOf(realization.site);
      const left = await withdrawn(context, connection, await backupsAt(context, realization.site), realization);
      if (left !== undefined) return left.reason;
      await context.store.transaction(async (tx) => await tx.ledger.forget(realization.id));
    }
    return undefined;
  }

  async function fail(resource: Backup, { message, kind, facts }: Pick<Problem, 'kind' | 'message' | 'facts'>): Promise<void> {
    await context.store.transaction(async (tx) => {
      if ((await tx.lock(resource.uid)) === undefined) return;
      await tx.setProgress(resource.uid, undefined);
      const code: ProblemKind = problemKinds.find((known) => known === facts['code']) ?? kind;
      await tx.setStatus(
        resource.uid,
        { phase: 'failed', problem: message, problemCode: code },
        { state: 'error', type: 'BackedUp', reason: kind === 'cancelled' ? 'Cancelled' : 'Failed', message },
      );
    });
  }

  return {
    kind: backup,
    async admitPut(tx, { address, next, previous }) {
      if (previous === undefined) return await admitNewBackup(context, tx, address, next.spec);
      // What it is of is fixed; labels and the like may change.
      return { outcome: previous.status.phase === 'done' ? 'active' : 'creating' };
    },
    admitDelete: admitBackupDelete,
    actions: {
      async cancel(_tx, resource) {
        const { name } = resource.address;
        if (isOver(resource.status))
          throw new Problem('conflict', `backup ${name} is ${resource.status.phase}; there is nothing to cancel`);
        const run = await runOf(resource);
        await context.runner.cancel(run.id, 'the backup was cancelled');
      },
    },
    async reconcile(resource) {
      if (resource.deletedAt !== undefined) {
        const left = await forgottenAtHost(resource);
        if (left !== undefined) return { waitSeconds: lookSeconds, reason: left };
        await context.store.transaction(async (tx) => {
          if ((await tx.lock(resource.uid)) !== undefined) await tx.remove(resource.uid);
        });
        return { gone: true };
      }
      if (resource.status.phase === 'failed') return { done: true };
      const run = await runOf(resource);
      switch (run.state) {
        case 'done':
          return { done: true };
        case 'undone':
          await fail(resource, run.problem ?? new Problem('internal', 'the backup was undone'));
          return { done: true };
        case 'stuck':
          // What is in the artifact store is there, even if its host cannot be brought to forget its part.
          if (resource.status.phase === 'done') return { done: true };
          await fail(resource, run.stuck ?? new Problem('internal', 'the run is stuck'));
          return { done: true };
        case 'running':
        case 'waiting':
        case 'undoing':
          // Whatever woke this may be what the run waits for.
          await context.runner.nudge(subjectOf(resource));
          return { waitSeconds: lookSeconds, reason: run.state };
      }
    },
  };
}
