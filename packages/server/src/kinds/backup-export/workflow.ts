import { type BackupExportSpec, type BackupSpec, backup, type Id, Problem } from '@virt8ra/contract';
import { defineWorkflow, type StepContext, type Workflow } from '@virt8ra/engine';
import type { KeptFile } from '../../artifacts/artifact.js';
import type { ArtifactStore } from '../../artifacts/artifact-store.js';
import { writeOva } from '../../ovf/write-ova.js';
import type { WrittenMachine } from '../../ovf/write-ovf.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { BackupStatus } from '../backup/index.js';
import type { KindContext } from '../context.js';
import { longStep } from '../long-step.js';
import { write } from '../site-calls.js';
import { machineOfBackup } from './machine.js';
import type { BackupExportStatus, ExportedFile } from './status.js';

export interface ExportInput {
  readonly uid: Id<'resource'>;
}

export type ExportArtifacts = Pick<ArtifactStore, 'convertArtifact' | 'keepFile' | 'discard' | 'open'>;

/** Plain JSON: it is journaled. */
interface Plan {
  readonly format: BackupExportSpec['format'];
  readonly disks: readonly { readonly name: string; readonly sha256: string; readonly sizeBytes: number }[];
  readonly machine?: Omit<WrittenMachine, 'disks'>;
}

/** `backup-export.make`: converts the disks of a backup, packs them for an OVA, and keeps what came of it until the export is deleted. */
export function createExportWorkflow(context: Pick<KindContext, 'store' | 'now'>, artifacts: ExportArtifacts): Workflow<ExportInput, null> {
  return defineWorkflow<ExportInput, null>({
    name: 'backup-export.make',
    version: 1,
    async run(run, input) {
      const plan = await run.step(
        'plan',
        async (step) => await makePlan(context, step, input),
        async () => await artifacts.discard(input.uid),
      );
      const files: ExportedFile[] = [];
      for (const [at, disk] of plan.disks.entries()) {
        const file = await run.step(`convert-${at}`, async (step) => await convert(context, artifacts, step, input, plan, at));
        files.push({ name: `${disk.name}.${plan.format === 'ova' ? 'vmdk' : plan.format}`, ...file });
      }
      const { machine } = plan;
      const made =
        machine === undefined
          ? files
          : [await run.step('pack', async (step) => await pack(context, artifacts, step, input, plan, machine, files))];
      await run.commit('made');
      await run.step('publish', async (step) => {
        await write(context, step, async (tx) => {
          if ((await tx.lock(input.uid)) === undefined) return;
          await tx.setProgress(input.uid, undefined);
          await tx.setStatus(input.uid, { phase: 'done', files: made }, { state: 'active', type: 'Exported', reason: 'Done' });
        });
        await artifacts.discard(input.uid);
      });
      return null;
    },
  });
}

async function makePlan(context: Pick<KindContext, 'store'>, step: StepContext, { uid }: ExportInput): Promise<Plan> {
  return await write(context, step, async (tx) => {
    const held = await tx.lock<BackupExportSpec, BackupExportStatus>(uid);
    if (held === undefined || held.deletedAt !== undefined) throw new Problem('cancelled', 'the export is not wanted any more');
    const reference = (await tx.referencesOf(uid)).find(({ pointer }) => pointer === '/spec/backupRef');
    const of = reference === undefined ? undefined : await tx.getByUid<BackupSpec, BackupStatus>(reference.uid);
    if (of === undefined || of.deletedAt !== undefined) throw new Problem('conflict', `the ${backup.kind} that it is of has gone`);
    const { format } = held.spec;
    await tx.setStatus(uid, { phase: 'converting', files: [] });
    const disks = disksOf(of);
    return { format, disks, ...(format === 'ova' ? { machine: await machineOfBackup(tx, of) } : {}) };
  });
}

/** Raises `conflict` while the backup is not done. */
export function disksOf({ address, status }: StoredResource<BackupSpec, BackupStatus>): Plan['disks'] {
  const disks = (status.volumes ?? []).map(({ blockStorageRef, sha256, sizeBytes }) => {
    const name = blockStorageRef.resource.split('/').at(-1) ?? 'disk';
    return { name: name.slice(0, 90), sha256: sha256 ?? '', sizeBytes };
  });
  if (status.phase !== 'done' || disks.length === 0 || disks.some(({ sha256 }) => sha256 === ''))
    throw new Problem('conflict', `backup ${address.name} is ${status.phase ?? 'not begun'}; wait until it is done`, {
      sources: [{ pointer: '/spec/backupRef' }],
    });
  return disks;
}

async function convert(
  context: Pick<KindContext, 'store' | 'now'>,
  artifacts: ExportArtifacts,
  step: StepContext,
  { uid }: ExportInput,
  { format, disks }: Plan,
  at: number,
): Promise<Pick<KeptFile, 'sha256' | 'fileBytes'>> {
  const disk = disks[at];
  if (disk === undefined) throw new Problem('internal', 'there is no such disk');
  const to = format === 'ova' ? 'vmdk' : format;
  const { sha256, fileBytes } = await longStep(context, step, uid, 'converting', async ({ signal, tell }) => {
    const onPercent = (percent: number): void => tell(Math.round((disk.sizeBytes * percent) / 100), disk.sizeBytes);
    return await artifacts.convertArtifact(uid, `disk-${at}`, disk.sha256, to, { signal, onPercent });
  });
  await write(context, step, async (tx) => {
    const held = await tx.lock<BackupExportSpec, BackupExportStatus>(uid);
    if (held === undefined) return;
    // Named as long as it is needed, so that it is not collected.
    const others = (held.status.files ?? []).filter(({ name }) => name !== disk.name);
    await tx.setStatus(uid, { files: [...others, { name: disk.name, sha256, fileBytes }] });
  });
  return { sha256, fileBytes };
}

async function pack(
  context: Pick<KindContext, 'store' | 'now'>,
  artifacts: ExportArtifacts,
  step: StepContext,
  { uid }: ExportInput,
  { disks }: Plan,
  machine: Omit<WrittenMachine, 'disks'>,
  files: readonly ExportedFile[],
): Promise<ExportedFile> {
  const written: WrittenMachine = {
    ...machine,
    disks: files.map(({ fileBytes }, at) => ({
      file: `${machine.name}-disk${at + 1}.vmdk`,
      fileBytes,
      virtualSizeBytes: disks[at]?.sizeBytes ?? 0,
    })),
  };
  const { sha256, fileBytes } = await longStep(
    context,
    step,
    uid,
    'converting',
    async ({ signal }) =>
      await artifacts.keepFile(uid, 'ova', async (target) => {
        const open = async (at: number) => await artifacts.open(files[at]?.sha256 ?? '');
        await writeOva(target, { machine: written, digests: files.map((file) => file.sha256), open, signal });
      }),
  );
  return { name: `${machine.name}.ova`, sha256, fileBytes };
}
