import { type BackupPhase, type BackupSpec, Problem } from '@virt8ra/contract';
import { type BackupRealizationStatus, backupContentKey } from '@virt8ra/driver';
import { defineWorkflow, type Poll, type StepContext, type Workflow } from '@virt8ra/engine';
import type { ArtifactStore } from '../../artifacts/artifact-store.js';
import { call, removeByKey, removed, statusOf, write } from '../site-calls.js';
import { type BackupContext, type BackupInput, type BackupPlan, backupsAt, dropPlan, makePlan } from './plan.js';
import type { BackedUpVolume, BackupStatus } from './status.js';

export type BackupArtifacts = Pick<ArtifactStore, 'accept' | 'discard'>;

/** The lease outlives the check of one disk: its digest is computed from end to end. */
const holdMs = 300_000;
const sentSeconds = 7 * 24 * 3600;
const cleanedSeconds = 24 * 3600;

/**
 * `backup.make`: has the host copy the volumes at one moment and send them, checks what came, and takes the host's part away. Until all of it is
 * in the artifact store every failure leaves nothing.
 */
export function createBackupWorkflow(context: BackupContext, artifacts: BackupArtifacts): Workflow<BackupInput, null> {
  return defineWorkflow<BackupInput, null>({
    name: 'backup.make',
    version: 1,
    async run(run, input) {
      const plan = await run.step(
        'plan',
        async (step) => await makePlan(context, step, input),
        async (step) => await dropPlan(context, step, input),
      );
      const handle = await run.step(
        'order',
        async (step) => {
          const backups = await backupsAt(context, plan.site);
          const made = await call(step, async () => await backups.create({ host: plan.host, volumes: plan.handles }, plan.key));
          await write(context, step, async (tx) => await tx.ledger.confirm(plan.id, made));
          return made;
        },
        async (step) => {
          await removeByKey(context, step, await backupsAt(context, plan.site), plan.key);
          await discardAll(artifacts, plan);
        },
      );
      const sent = await run.wait(
        'sent',
        async (step) => {
          const seen = statusOf(await (await backupsAt(context, plan.site)).observe(handle), 'the backup');
          return await followed(context, step, input, seen);
        },
        { timeoutSeconds: sentSeconds },
      );
      await run.step('store', async (step) => {
        await write(context, step, async (tx) => await showPhase(tx, input, { phase: 'storing' }));
        for (const [position, volume] of sent.volumes.entries()) {
          await step.assertOwned(holdMs);
          const artifact = await artifacts.accept(backupContentKey(plan.key, position), 'qcow2');
          if (artifact.sha256 !== volume.file?.sha256 || artifact.virtualSizeBytes !== volume.sizeBytes)
            throw new Problem('conflict', `what came of volume ${position} is not what its host said that it sent`);
        }
      });
      await run.commit('stored');

      await run.step('publish', async (step) => {
        const volumes = plan.volumes.map((volume, position): BackedUpVolume => {
          const of = sent.volumes[position];
          return {
            ...volume,
            sizeBytes: of?.sizeBytes ?? volume.sizeBytes,
            ...(of?.file === undefined ? {} : { sha256: of.file.sha256, fileBytes: of.file.bytes }),
          };
        });
        const { takenAt, consistency } = sent;
        await write(context, step, async (tx) => {
          if ((await tx.lock(input.backup)) === undefined) return;
          await tx.setProgress(input.backup, undefined);
          const status: BackupStatus = {
            phase: 'done',
            volumes,
            ...(takenAt === undefined ? {} : { takenAt }),
            ...(consistency === undefined ? {} : { consistency }),
          };
          await tx.setStatus(input.backup, { ...status }, { state: 'active', type: 'BackedUp', reason: 'Done', message: sentence(status) });
        });
      });
      await run.wait(
        'cleaned',
        async (step): Promise<Poll<null>> => {
          if (!(await removed(step, await backupsAt(context, plan.site), handle))) return { waitSeconds: 1 };
          await discardAll(artifacts, plan);
          await write(context, step, async (tx) => await tx.ledger.forget(plan.id));
          return { done: null };
        },
        { timeoutSeconds: cleanedSeconds },
      );
      return null;
    },
  });
}

/** Shows how far the host is; done once it has sent everything. */
async function followed(
  context: BackupContext,
  step: StepContext,
  input: BackupInput,
  seen: BackupRealizationStatus | undefined,
): Promise<Poll<BackupRealizationStatus>> {
  if (seen === undefined) return { waitSeconds: 2 };
  const { state, takenAt, consistency, waitingFor } = seen;
  if (state === 'sent') return { done: seen };
  if (state === 'failed') throw new Problem('conflict', 'the host could not make the backup');
  const facts = { phase: state, ...(takenAt === undefined ? {} : { takenAt }), ...(consistency === undefined ? {} : { consistency }) };
  await write(context, step, async (tx) => await showPhase(tx, input, facts, waitingFor));
  return { waitSeconds: 1 };
}

type Transaction = Parameters<Parameters<BackupContext['store']['transaction']>[0]>[0];

async function showPhase(
  tx: Transaction,
  { backup }: BackupInput,
  facts: { readonly phase: BackupPhase } & Pick<BackupStatus, 'takenAt' | 'consistency'>,
  waitingFor?: string,
): Promise<void> {
  if ((await tx.lock<BackupSpec, BackupStatus>(backup)) === undefined) return;
  const waiting =
    waitingFor === undefined
      ? undefined
      : ({ state: 'creating', type: 'BackedUp', reason: 'Waiting', message: `its host waits for ${waitingFor}` } as const);
  await tx.setStatus(backup, { ...facts }, waiting);
}

async function discardAll(artifacts: BackupArtifacts, { key, volumes }: BackupPlan): Promise<void> {
  for (let position = 0; position < volumes.length; position += 1) await artifacts.discard(backupContentKey(key, position));
}

function sentence({ consistency, takenAt }: BackupStatus): string {
  const how = {
    offline: 'nothing ran on it',
    'file-system': 'the guest’s file systems were at rest',
    crash: 'as after a power failure of the guest',
  };
  return `of ${takenAt ?? 'an unknown time'}: ${how[consistency ?? 'crash']}`;
}
