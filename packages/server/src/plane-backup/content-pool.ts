import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { link, mkdir, open, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { Problem } from '@virt8ra/contract';
import { errorCode, syncDirectory } from '../files/atomic-file.js';
import type { BackupManifest } from './manifest.js';
import { newSealingParameters, type SealingParameters, sealed, sealingKeys, unsealed } from './sealing.js';

/**
 * Content of the artifact store beside the backups, each once however many of them name it: a hard link where store and backups share a file
 * system, a copy where not. Sealed content is a copy with its parameters in the first line.
 */
export function poolOf(directory: string): string {
  return join(directory, 'content');
}

const sealedEnd = '.sealed';
type Artifact = BackupManifest['artifacts'][number];

/** Keeps the collector away from what a backup is about to name: content that was touched rests for an hour. */
export async function touchContent(store: string, digests: Iterable<string>): Promise<void> {
  const now = new Date();
  for (const sha256 of digests) await utimes(join(store, 'images', sha256), now, now).catch(() => undefined);
}

/** Brings what the digests name into the pool, and answers what was there. Raises as the file system does, when it is full for one. */
export async function poolContent(
  directory: string,
  store: string,
  digests: ReadonlySet<string>,
  passphrase: string | undefined,
): Promise<{ readonly artifacts: Artifact[]; readonly missing: string[] }> {
  const pool = poolOf(directory);
  await mkdir(pool, { recursive: true, mode: 0o700 });
  const artifacts: Artifact[] = [];
  const missing: string[] = [];
  for (const sha256 of [...digests].sort()) {
    const source = join(store, 'images', sha256);
    const description = await readFile(`${source}.json`, 'utf8').catch(() => undefined);
    const bytes = await stat(source).then(
      ({ size }) => size,
      () => undefined,
    );
    if (description === undefined || bytes === undefined) {
      missing.push(sha256);
      continue;
    }
    await bring(pool, source, sha256, bytes, passphrase);
    artifacts.push({ sha256, bytes, description });
  }
  await syncDirectory(pool);
  return { artifacts, missing };
}

async function bring(pool: string, source: string, sha256: string, bytes: number, passphrase: string | undefined): Promise<void> {
  const target = join(pool, passphrase === undefined ? sha256 : `${sha256}${sealedEnd}`);
  const there = await stat(target).catch(() => undefined);
  if (there !== undefined && (passphrase !== undefined || there.size === bytes)) return;
  const fresh = `${target}.${randomBytes(4).toString('hex')}.partial`;
  try {
    if (passphrase !== undefined) await writeSealed(source, fresh, sha256, passphrase);
    else {
      await link(source, fresh).catch(async (error: unknown) => {
        if (!['EXDEV', 'EPERM', 'EMLINK', 'ENOTSUP', 'EOPNOTSUPP'].includes(errorCode(error) ?? '')) throw error;
        await writeStream(fresh, checked(createReadStream(source), sha256));
      });
    }
    await rename(fresh, target);
  } finally {
    await rm(fresh, { force: true });
  }
}

async function writeSealed(source: string, target: string, sha256: string, passphrase: string): Promise<void> {
  const parameters = newSealingParameters();
  const keys = sealingKeys(parameters, passphrase);
  const plain = checked(createReadStream(source, { highWaterMark: 1024 * 1024 }), sha256);
  await writeStream(
    target,
    (async function* () {
      yield Buffer.from(`${JSON.stringify(parameters)}\n`);
      yield* sealed(plain, keys);
    })(),
  );
}

/** Content of the pool, plain, checked against its digest to the end. Raises `validation`, or `not-found` where there is none. */
export async function* readPooled(directory: string, sha256: string, passphrase: string | undefined): AsyncGenerator<Buffer> {
  const plain = join(poolOf(directory), sha256);
  if ((await stat(plain).catch(() => undefined)) !== undefined) {
    yield* checked(createReadStream(plain, { highWaterMark: 1024 * 1024 }), sha256);
    return;
  }
  const path = `${plain}${sealedEnd}`;
  const file = await open(path, 'r').catch((cause: unknown) => {
    throw new Problem('not-found', `content ${sha256} is not in ${poolOf(directory)}; bring that folder along with the backup`, { cause });
  });
  let parameters: SealingParameters;
  let begin: number;
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(4096), 0, 4096, 0);
    begin = buffer.subarray(0, bytesRead).indexOf(10) + 1;
    parameters = JSON.parse(buffer.subarray(0, begin).toString('utf8')) as SealingParameters;
  } catch (cause) {
    throw new Problem('validation', `${path} is damaged`, { cause });
  } finally {
    await file.close();
  }
  if (passphrase === undefined) throw new Problem('validation', `${path} is encrypted, and the backup is not`);
  yield* checked(
    unsealed(createReadStream(path, { start: begin, highWaterMark: 1024 * 1024 }), sealingKeys(parameters, passphrase)),
    sha256,
  );
}

export async function* checked(source: AsyncIterable<Buffer>, sha256: string): AsyncGenerator<Buffer> {
  const hash = createHash('sha256');
  for await (const octets of source) {
    hash.update(octets);
    yield octets;
  }
  if (hash.digest('hex') !== sha256) throw new Problem('validation', `content ${sha256} is damaged: its digest is another`);
}

/** A new file, whole and on the disk when this returns. */
export async function writeStream(path: string, content: AsyncIterable<Uint8Array>): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    for await (const octets of content) await file.writeFile(octets);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Removes what no backup names any more, and what a killed one left half made. */
export async function prunePool(directory: string, needed: ReadonlySet<string>): Promise<void> {
  for (const name of await readdir(poolOf(directory)).catch(() => [])) {
    if (name.endsWith('.partial') || !needed.has(name.slice(0, 64))) await rm(join(poolOf(directory), name), { force: true });
  }
}
