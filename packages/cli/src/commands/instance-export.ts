import { createHash } from 'node:crypto';
import { constants, createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, rename, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import type { ResourceOf } from '@virt8ra/client';
import { type BackupSpec, backup, backupExport, blockStorage, type ExportFormat, instance, Problem } from '@virt8ra/contract';
import { awaitGoal, goalFromText } from '../await-resource.js';
import { secondsOfFlag } from '../duration-flag.js';
import { createLiveLine, type LiveLine } from '../output/live-line.js';
import { bytesText } from '../output/units.js';
import { addressOf, type Session, type Target, targetFromWords, titleOf } from '../session.js';
import { measured } from './file-content.js';

export interface ExportFlags {
  readonly format: ExportFormat;
  readonly file: string;
  readonly backup?: string;
  readonly name?: string;
  readonly keep?: boolean;
  readonly timeout?: string;
}

type Export = ResourceOf<typeof backupExport>;

/**
 * Writes an instance, or one block storage, as files of an open format. It is backed up first, running or not, unless a backup is named. A cut goes on where it
 * was, also by the same command with the same name; the digest of each file is checked at its end. Afterwards what was made for it is deleted, unless it is kept.
 */
export async function instanceExport(session: Session, words: readonly string[], flags: ExportFlags): Promise<void> {
  const { terminal, client } = session;
  const timeoutSeconds = secondsOfFlag('--timeout', flags.timeout);
  const subject = targetFromWords(session, words);
  if (subject.kind !== instance && subject.kind !== blockStorage)
    throw new Problem('invalid-request', `a ${subject.kind.kind} cannot be exported; name an instance or disk/NAME`);
  if (subject.kind === blockStorage && flags.format === 'ova')
    throw new Problem('invalid-request', 'one disk is no machine; export it as qcow2, raw or vmdk');
  const name = flags.name ?? `${subject.address.name.slice(0, 100)}-${Math.floor(terminal.now() / 1000).toString(36)}`;
  const target: Target = { kind: backupExport, address: addressOf(session, backupExport, name) };
  const kept: Target = { kind: backup, address: addressOf(session, backup, flags.backup?.replace(/^backups?\//, '') ?? name) };
  const line = createLiveLine(terminal);
  const follow = async (of: Target) =>
    await awaitGoal(session, of, goalFromText('phase=done'), {
      timeoutSeconds,
      onSighting: ({ progress }) => {
        if (progress !== undefined) line.show(progress);
      },
    });
  try {
    if ((await client.find(backupExport, target.address)) === undefined) {
      if ((await client.find(backup, kept.address)) === undefined) {
        if (flags.backup !== undefined) throw new Problem('not-found', `there is no ${titleOf(kept)}`);
        const collection = `${subject.kind.collection}/${subject.address.name}`;
        const spec: BackupSpec = subject.kind === instance ? { instanceRef: collection } : { blockStorageRef: collection };
        await client.put(backup, kept.address, { spec });
      }
      await follow(kept);
      await client.put(backupExport, target.address, {
        spec: { backupRef: `${backup.collection}/${kept.address.name}`, format: flags.format },
      });
    }
    const { status } = (await follow(target)) as Export;
    const files = status?.files ?? [];
    const paths = await pathsFor(
      flags.file,
      files.map((file) => file.name),
    );
    for (const [at, file] of files.entries()) await fetchFile(session, target, file, paths[at] ?? flags.file, line);
    line.end();
    for (const [at, file] of files.entries())
      terminal.out(session.format === 'name' ? `${paths[at]}\n` : `${paths[at]}: ${bytesText(file.fileBytes)}, sha256 ${file.sha256}\n`);
    if (flags.keep !== true) {
      await client.delete(backupExport, target.address);
      if (flags.backup === undefined) await client.delete(backup, kept.address);
    }
  } catch (error) {
    line.note(`${titleOf(target)}: go on with the same command and --name ${name}`);
    throw error;
  } finally {
    line.end();
  }
}

/** One file goes to the path itself, several into a folder of that name. */
async function pathsFor(path: string, names: readonly string[]): Promise<readonly string[]> {
  const isFolder = (await stat(path).catch(() => undefined))?.isDirectory() === true;
  if (names.length === 1 && !isFolder) return [path];
  await mkdir(path, { recursive: true });
  return names.map((name) => join(path, name.replaceAll(/[/\\]/g, '_')));
}

const hole = 65_536;

/** Writes beside `path` until all of it is there and is what it should be. */
async function fetchFile(
  session: Session,
  { kind, address }: Target,
  { name, fileBytes, sha256 }: NonNullable<NonNullable<Export['status']>['files']>[number],
  path: string,
  line: LiveLine,
): Promise<void> {
  const { terminal } = session;
  const part = `${path}.part`;
  const file = await open(part, constants.O_RDWR | constants.O_CREAT, 0o600).catch((cause: unknown) => {
    throw new Problem('invalid-request', `cannot write ${part}: ${(cause as Error).message}`, { cause });
  });
  try {
    const { size } = await file.stat();
    let at = size <= fileBytes ? size : 0;
    if (at !== size) await file.truncate(0);
    const first = at;
    const startedAt = terminal.now();
    for await (const chunk of session.patientClient.download(
      { kind, address, file: name, sizeBytes: fileBytes, sha256, offset: at },
      { signal: terminal.signal },
    )) {
      await writeSparse(file, chunk, at);
      at += chunk.length;
      line.show(measured('download', at, fileBytes, startedAt, terminal.now(), first));
    }
    await file.truncate(fileBytes);
    await file.datasync();
  } finally {
    await file.close();
  }
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(part, { highWaterMark: 1024 * 1024, signal: terminal.signal })) hash.update(chunk as Buffer);
  const digest = hash.digest('hex');
  if (digest !== sha256) {
    await truncate(part, 0);
    throw new Problem('unavailable', `what came of ${name} is not what was sent: its sha256 is ${digest}, not ${sha256}; nothing was kept`);
  }
  await rename(part, path);
}

/** Zeros are left out, so that a raw disk takes no more room here than it has content; the end is always written, since it says how far it came. */
async function writeSparse(file: FileHandle, chunk: Uint8Array, at: number): Promise<void> {
  for (let start = 0; start < chunk.length; start += hole) {
    const piece = chunk.subarray(start, start + hole);
    const isLast = start + hole >= chunk.length;
    if (!isLast && piece.every((octet) => octet === 0)) continue;
    let done = 0;
    while (done < piece.length) done += (await file.write(piece, done, piece.length - done, at + start + done)).bytesWritten;
  }
}
