import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type DiskFormat, type ExportFormat, Problem } from '@virt8ra/contract';
import { readText, writeFileAtomic } from '../files/atomic-file.js';
import type { Artifact, ImageLimits, KeptFile } from './artifact.js';
import { convertDisk, inspectDisk } from './convert-image.js';
import type { Incoming } from './incoming.js';
import type { FilePart } from './octets.js';

export interface ConversionOptions {
  readonly signal?: AbortSignal;
  /** Told how far it is, 0 to 100. */
  readonly onPercent?: (percent: number) => void;
}

/** Makes disks of another format out of what has arrived or is kept. Each result has a name under its key, so that it may be asked for again. */
export interface ConvertedFiles {
  /** A part of the content of a key as an image of its own. Raises `validation` when it is none, `exhausted`, `unsupported`. */
  convertPart(
    key: string,
    name: string,
    part: FilePart | 'all',
    declared: DiskFormat | undefined,
    options?: ConversionOptions,
  ): Promise<Artifact>;
  /** An image, or the disk of a backup, in another format, for whoever takes it elsewhere. Raises `not-found`, `exhausted`, `unsupported`. */
  convertArtifact(
    key: string,
    name: string,
    sha256: string,
    to: Exclude<ExportFormat, 'ova'>,
    options?: ConversionOptions,
  ): Promise<KeptFile>;
  /** A file that `write` writes. */
  keepFile(key: string, name: string, write: (file: FileHandle) => Promise<void>): Promise<KeptFile>;
  /** Reads the complete content of a key. Raises `not-found` when it is gone. */
  withContent<Value>(key: string, work: (file: FileHandle, bytes: number) => Promise<Value>): Promise<Value>;
}

/** What the store does for it. */
export interface ConversionParts {
  readonly incoming: Incoming;
  readonly limits: ImageLimits;
  readonly find: (sha256: string) => Promise<Artifact | KeptFile | undefined>;
  readonly pathOf: (sha256: string) => string;
  /** Moves a file into the store. */
  readonly publish: (path: string, file: FileHandle, description: Artifact | KeptFile) => Promise<void>;
}

export function createConvertedFiles({ incoming, limits, find, pathOf, publish }: ConversionParts): ConvertedFiles {
  /** Makes the file, unless an earlier attempt has, and moves it into the store under its digest. */
  async function made<Description extends Artifact | KeptFile>(
    key: string,
    name: string,
    write: (file: FileHandle) => Promise<(sha256: string, fileBytes: number) => Description>,
  ): Promise<Description> {
    if (!/^[a-z0-9-]{1,40}$/.test(name)) throw new Problem('internal', 'this name cannot be that of a file');
    const directory = incoming.directory(key);
    const note = join(directory, `${name}.made.json`);
    const earlier = JSON.parse((await readText(note)) ?? 'null') as Description | null;
    if (earlier !== null && (await find(earlier.sha256)) !== undefined) return earlier;
    await incoming.assertRoom(key, 1);
    const path = join(directory, `${name}.making`);
    await rm(path, { force: true });
    const file = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
    try {
      // Its writer has no privileges; the directory lets nobody else in.
      await file.chmod(0o666);
      const describe = await write(file);
      await file.chmod(0o644);
      const { sha256, fileBytes } = await measured(file);
      const description = describe(sha256, fileBytes);
      if ((await find(sha256)) === undefined) await publish(path, file, description);
      await writeFileAtomic(note, JSON.stringify(description));
      return description;
    } finally {
      await file.close();
      await rm(path, { force: true });
    }
  }

  async function withContent<Value>(key: string, work: (file: FileHandle, bytes: number) => Promise<Value>): Promise<Value> {
    const file = await open(incoming.contentPath(key), 'r').catch(() => undefined);
    if (file === undefined) throw new Problem('not-found', 'the content is gone; it must be sent again');
    try {
      return await work(file, (await file.stat()).size);
    } finally {
      await file.close();
    }
  }

  const kept = (sha256: string, fileBytes: number): KeptFile => ({ format: 'export', sha256, fileBytes });

  return {
    withContent,
    convertPart: async (key, name, given, declared, options = {}) =>
      await made(key, name, async (target) => {
        const virtualSizeBytes = await withContent(key, async (source, size) => {
          const part = given === 'all' ? { offset: 0, bytes: size } : given;
          const disk = await inspectDisk(source, part, declared, limits);
          const bytes = Math.min(limits.maxImageBytes, await incoming.room(key));
          await convertDisk({ source, part, disk, target, to: 'qcow2', bytes, ...options });
          return disk.virtualSizeBytes;
        });
        return (sha256, fileBytes): Artifact => ({ sha256, format: 'qcow2', virtualSizeBytes, fileBytes });
      }),
    async convertArtifact(key, name, sha256, to, options = {}) {
      const artifact = await find(sha256);
      if (artifact === undefined || artifact.format === 'export') throw new Problem('not-found', `there is no disk ${sha256} any more`);
      if (to === artifact.format) return kept(sha256, artifact.fileBytes);
      const { format, virtualSizeBytes, fileBytes } = artifact;
      await incoming.reserve(key);
      return await made(key, name, async (target) => {
        await incoming.assertRoom(key, fileBytes);
        const source = await open(pathOf(sha256), 'r');
        try {
          const room = await incoming.room(key);
          const bytes = to === 'raw' ? virtualSizeBytes : room;
          const part = { offset: 0, bytes: fileBytes };
          await convertDisk({ source, part, disk: { format, virtualSizeBytes }, target, to, bytes, ...options });
        } finally {
          await source.close();
        }
        return kept;
      });
    },
    async keepFile(key, name, write) {
      await incoming.reserve(key);
      return await made(key, name, async (file) => {
        await write(file);
        return kept;
      });
    },
  };
}

async function measured(file: FileHandle): Promise<{ readonly sha256: string; readonly fileBytes: number }> {
  const hash = createHash('sha256');
  let fileBytes = 0;
  for await (const chunk of file.createReadStream({ autoClose: false, start: 0, highWaterMark: 1024 * 1024 })) {
    hash.update(chunk as Buffer);
    fileBytes += (chunk as Buffer).length;
  }
  return { sha256: hash.digest('hex'), fileBytes };
}
