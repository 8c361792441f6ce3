import { realpath, stat } from 'node:fs/promises';
import { toProblem } from '@virt8ra/contract';
import type { HostContext } from '../host-context.js';
import { factsFromCommand, listQemuProcesses, openFiles } from '../qemu/guest-process.js';
import { runCommand } from '../system/run-command.js';
import { inspectImage } from './qemu-img.js';
import type { VolumeStage, VolumeStore } from './volume-store.js';

/**
 * Gives volumes whose record was damaged one again where it is certain what it said: a guest runs on the disk, or it is a whole disk that never
 * was part of a move. What is not certain stays damaged; its files stay as they are.
 */
export async function mendVolumes(context: HostContext, store: VolumeStore): Promise<void> {
  if (store.damaged().length === 0) return;
  const guests: { readonly receives: boolean; readonly files: readonly string[] }[] = [];
  for (const { command, process } of await listQemuProcesses()) {
    const facts = factsFromCommand(command);
    if (facts === undefined) continue;
    guests.push({ receives: facts.receives, files: [...facts.disks.flat(), ...(await openFiles(process))] });
  }
  const filesOf = (receives: boolean) => new Set(guests.filter((guest) => guest.receives === receives).flatMap(({ files }) => files));
  const open = filesOf(false);
  const received = filesOf(true);
  for (const key of store.damaged()) {
    const { base, overlay } = store.files(key);
    // Such a process does not tell how far the move is.
    if (await isOpen(base, received)) continue;
    const stage = (await isOpen(base, open))
      ? (await isOpen(overlay, open))
        ? 'arrived'
        : 'ready'
      : await stageOfWholeDisk(context, store, key);
    if (stage === undefined) continue;
    try {
      const { virtualBytes } = await inspectImage(base, 'qcow2');
      await store.mend(key, { sizeBytes: virtualBytes, stage });
      context.log.warn('the record of a volume was made again from its disk', { volume: key, stage, sizeBytes: virtualBytes });
    } catch (error) {
      context.log.error('the record of a volume could not be made again', { volume: key, problem: toProblem(error).message });
    }
  }
}

/** A disk that came from an image or began blank has one complete file, and no other beside it. */
async function stageOfWholeDisk(context: HostContext, store: VolumeStore, key: string): Promise<VolumeStage | undefined> {
  const desired = context.ledger.state.volumes.find((volume) => volume.key === key);
  const { base, overlay } = store.files(key);
  if (desired === undefined || desired.source.type === 'incoming') return undefined;
  if (!(await isThere(base)) || (await isThere(overlay)) || (await isThere(`${base}.new`))) return undefined;
  const sound = await runCommand('qemu-img', ['check', '-q', '-f', 'qcow2', base], { timeoutMs: 600_000 }).then(
    () => true,
    () => false,
  );
  return sound ? 'ready' : undefined;
}

/** A process that has a link's target open tells the target. */
async function isOpen(path: string, files: ReadonlySet<string>): Promise<boolean> {
  return files.has(path) || files.has(await realpath(path).catch(() => path));
}

async function isThere(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}
