/** Backup export: a backup as files of an open format, made once and kept until it is deleted. */
import { type BackupExportSpec, type BackupSpec, backup, backupExport, Problem } from '@virt8ra/contract';
import type { Workflow } from '@virt8ra/engine';
import type { ArtifactStore } from '../../artifacts/artifact-store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { BackupStatus } from '../backup/index.js';
import type { KindBehaviour } from '../behaviour.js';
import type { KindContext } from '../context.js';
import { machineOfBackup } from './machine.js';
import type { BackupExportStatus, ExportedFile } from './status.js';
import { disksOf, type ExportInput } from './workflow.js';

export { createExportWorkflow } from './workflow.js';

type BackupExport = StoredResource<BackupExportSpec, BackupExportStatus>;

const lookSeconds = 2;

export function createBackupExportBehaviour(
  context: KindContext,
  artifacts: Pick<ArtifactStore, 'discard'>,
  workflow: Workflow<ExportInput, null>,
): KindBehaviour<BackupExportSpec, BackupExportStatus> {
  const fail = async (uid: BackupExport['uid'], reason: 'Failed' | 'Cancelled', message: string): Promise<void> => {
    await context.store.transaction(async (tx) => {
      if ((await tx.lock(uid)) === undefined) return;
      await tx.setProgress(uid, undefined);
      await tx.setStatus(uid, { phase: 'failed', files: undefined }, { state: 'error', type: 'Exported', reason, message });
    });
  };
  return {
    kind: backupExport,
    async admitPut(tx, { address, next, previous }) {
      if (previous !== undefined) return { outcome: previous.status.phase === 'done' ? 'active' : 'creating' };
      const { name: _, ...within } = address;
      const { target, reference } = await tx.resolve<BackupSpec, BackupStatus>(backup, next.spec.backupRef, within, '/spec/backupRef');
      disksOf(target);
      if (next.spec.format === 'ova') await machineOfBackup(tx, target);
      return { references: [reference], status: { phase: 'waiting' }, outcome: 'creating', type: 'Exported', reason: 'Waiting' };
    },
    actions: {
      async cancel(_tx, { uid, address, status: { phase } }) {
        if (phase === 'done' || phase === 'failed')
          throw new Problem('conflict', `backup export ${address.name} is ${phase}; there is nothing to cancel`);
        const [run] = await context.runner.list({ subject: `${backupExport.kind}/${uid}`, limit: 1 });
        if (run === undefined) throw new Problem('unavailable', 'it has not begun yet', { retryAfterSeconds: 1 });
        await context.runner.cancel(run.id, 'the export was cancelled');
      },
    },
    async reconcile({ uid, address, status, deletedAt }) {
      const subject = `${backupExport.kind}/${uid}`;
      const [run] = await context.runner.list({ subject, limit: 1 });
      const live = run !== undefined && run.endedAt === undefined;
      if (deletedAt !== undefined) {
        if (live) {
          if (run.commitPoint === undefined && run.cancelReason === undefined)
            await context.runner.cancel(run.id, 'the export is being deleted');
          return { waitSeconds: 1, reason: 'its run is ending' };
        }
        await artifacts.discard(uid);
        await context.store.transaction(async (tx) => {
          if ((await tx.lock(uid)) !== undefined) await tx.remove(uid);
        });
        return { gone: true };
      }
      if (status.phase === 'done' || status.phase === 'failed') return { done: true };
      if (live) return { waitSeconds: lookSeconds, reason: run.state };
      if (run === undefined) {
        await context.runner.start(workflow, {
          subject,
          input: { uid },
          idempotencyKey: uid,
          ...(address.tenant === undefined ? {} : { lane: address.tenant }),
        });
        return { waitSeconds: lookSeconds, reason: 'its run has begun' };
      }
      // The run may have ended well since its resource was read.
      if (run.state === 'done') return { waitSeconds: lookSeconds, reason: 'it is done' };
      const { problem } = run;
      await fail(uid, problem?.kind === 'cancelled' ? 'Cancelled' : 'Failed', problem?.message ?? 'the export could not be made');
      return { done: true };
    },
  };
}

/** The file of that name. Raises `conflict` while the export is not done, `not-found` when it has no such file. */
export function fileOfExport({ address, status }: StoredResource, name: string): ExportedFile {
  const { phase, files = [] } = status as BackupExportStatus;
  if (phase !== 'done') throw new Problem('conflict', `backup export ${address.name} is ${phase ?? 'not begun'}; wait until it is done`);
  const file = files.find((each) => each.name === name);
  if (file === undefined)
    throw new Problem(
      'not-found',
      `backup export ${address.name} has no file ${name.slice(0, 100)}; it has ${files.map((each) => each.name).join(', ')}`,
    );
  return file;
}
