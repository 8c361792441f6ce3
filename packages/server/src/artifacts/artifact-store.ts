import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { type DiskFormat, Problem } from '@virt8ra/contract';
import type { Log } from '@virt8ra/engine';
import { readText, syncDirectory, writeFileAtomic } from '../files/atomic-file.js';
import type { Egress } from '../outbound/egress.js';
import type { Outbound } from '../outbound/outbound.js';
import type { Artifact, ImageLimits, KeptFile, ReleaseArtifact } from './artifact.js';
import { type ConversionOptions, type ConvertedFiles, createConvertedFiles } from './converted-files.js';
import { openUrl } from './fetch-url.js';
import { type Expectation, Incoming, type Received } from './incoming.js';
import { inspectImage } from './inspect-image.js';
import { inspectRelease } from './inspect-release.js';

/**
 * Images, and releases of the agent, by content, in a directory. What comes in stands under a key of the caller (the resource's uid) until it is accepted, which
 * inspects it and publishes it under its digest. The digest alone never gives access: every import must bring the bytes.
 */
export interface ArtifactStore extends ConvertedFiles {
  /** Begins or continues to expect content. Raises `too-large`, `exhausted`. */
  begin(key: string, expected: Expectation): Promise<Received>;
  /** How far the content has come; undefined before `begin` and after `discard`. */
  received(key: string): Promise<Received | undefined>;
  /** Appends content that a client sends. Raises `not-found`, `conflict` (with fact `offset`), `too-large`, `exhausted`. */
  append(key: string, offset: number, content: AsyncIterable<Uint8Array>): Promise<Received>;
  /**
   * Fetches the content from a URL, from where an earlier attempt was cut; `begin` comes first. Resolves when all of it is here.
   * Raises `validation` when the source cannot be used, `unavailable` when it may be later, `too-large`, `exhausted`, `conflict`.
   */
  fetch(key: string, url: string, options: FetchOptions): Promise<Received>;
  /**
   * Checks the digest, inspects the image and publishes it. May be repeated. Raises `validation` when it is not what was announced or
   * is refused (then `discard` it), `conflict` when the content is not complete. What is neither qcow2 nor raw becomes a qcow2 disk, with a digest of
   * its own.
   */
  accept(key: string, declared?: DiskFormat, options?: ConversionOptions): Promise<Artifact>;
  /** Whether the complete content of a key has the digest that was announced. Raises `validation`, `conflict`, `unavailable` when it is lost. */
  verifyContent(key: string): Promise<void>;
  /** The same for a release of the agent. */
  acceptRelease(key: string): Promise<ReleaseArtifact>;
  /** Forgets the key; what was accepted stays. Silent when there is nothing. */
  discard(key: string): Promise<void>;
  find(sha256: string): Promise<Artifact | KeptFile | undefined>;
  /** Octets `[start, end)` of an artifact, all by default. Raises `not-found`. */
  open(sha256: string, range?: { readonly start?: number; readonly end?: number }): Promise<Readable>;
  /** Removes artifacts and content that nothing refers to and that have rested for an hour. Answers how many of each. */
  collect(used: {
    readonly digests: ReadonlySet<string>;
    readonly keys: ReadonlySet<string>;
  }): Promise<{ readonly artifacts: number; readonly incoming: number }>;
}

export interface FetchOptions {
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: { readonly offset: number; readonly totalBytes: number | undefined }) => void;
}

const restMs = 60 * 60_000;
/** Cuts in a row without a single new octet after which a fetch is left to the caller's back-off. */
const fruitlessCuts = 3;

export async function openArtifactStore(options: {
  readonly directory: string;
  readonly limits: ImageLimits;
  readonly outbound: Outbound;
  readonly egress: Egress;
  readonly log: Log;
  readonly now?: () => number;
}): Promise<ArtifactStore> {
  const { directory, limits, outbound, egress, log } = options;
  const now = options.now ?? Date.now;
  const images = join(directory, 'images');
  const arriving = join(directory, 'incoming');
  for (const path of [directory, images, arriving]) await mkdir(path, { recursive: true, mode: 0o700 });
  const incoming = new Incoming(arriving, limits.maxImageBytes);

  const pathOf = (sha256: string): string => {
    if (!/^[0-9a-f]{64}$/.test(sha256)) throw new Problem('validation', 'a digest has 64 lower-case hexadecimal digits');
    return join(images, sha256);
  };

  async function find(sha256: string): Promise<Artifact | KeptFile | undefined> {
    const path = pathOf(sha256);
    const text = await readText(`${path}.json`);
    if (text === undefined) return undefined;
    const artifact = JSON.parse(text) as Artifact | KeptFile;
    const size = (await stat(path).catch(() => undefined))?.size;
    return size === artifact.fileBytes ? artifact : undefined;
  }

  /** The complete content of a key, open and of the announced digest; undefined: an earlier call whose answer was lost has published it. */
  async function contentOf(key: string): Promise<{ readonly sha256: string; readonly file: FileHandle | undefined }> {
    const expected = await incoming.expectation(key);
    const state = await incoming.received(key);
    if (expected === undefined || state === undefined) throw new Problem('not-found', 'no content is awaited here');
    if (!state.complete)
      throw new Problem('conflict', `the content is not complete: ${state.offset} of ${state.sizeBytes ?? 'unknown'} bytes`);
    const { sha256 } = expected;
    const file = await open(incoming.contentPath(key), 'r').catch(() => undefined);
    if (file === undefined) {
      if ((await find(sha256)) !== undefined) return { sha256, file };
      await incoming.restart(key);
      throw new Problem('unavailable', 'the content was lost and must be sent again', { facts: { offset: 0 } });
    }
    const digest = await digestOf(file.createReadStream({ autoClose: false, start: 0, highWaterMark: 1024 * 1024 }));
    if (digest === sha256) return { sha256, file };
    await file.close();
    throw new Problem('validation', `the content is not what was announced: its sha256 is ${digest}, not ${sha256}`);
  }

  async function publish(
    from: string,
    file: FileHandle,
    description: Artifact | KeptFile | (ReleaseArtifact & { readonly format: 'release' }),
  ): Promise<void> {
    const path = pathOf(description.sha256);
    await file.sync();
    await writeFileAtomic(`${path}.json`, JSON.stringify(description));
    await touch(from, now());
    await rename(from, path);
    await syncDirectory(images);
  }

  const converted = createConvertedFiles({ incoming, limits, find, pathOf, publish });

  async function accept(key: string, declared: DiskFormat | undefined, options: ConversionOptions = {}): Promise<Artifact> {
    const { sha256, file } = await contentOf(key);
    const found = await find(sha256);
    const earlier = found?.format === 'export' ? undefined : found;
    if (declared !== undefined && declared !== 'qcow2' && declared !== 'raw') {
      await file?.close();
      const artifact = await converted.convertPart(key, 'whole', 'all', declared, options);
      log.info('an image was converted and accepted', { ...artifact, from: declared });
      return artifact;
    }
    if (file === undefined) {
      if (earlier !== undefined) return earlier;
      throw new Problem('unavailable', 'the content is gone; it must be sent again', { facts: { offset: 0 } });
    }
    try {
      const artifact: Artifact = { sha256, ...(await inspectImage(file, declared, limits)) };
      if (earlier !== undefined && earlier.format === artifact.format) {
        await touch(pathOf(sha256), now());
        await rm(incoming.contentPath(key), { force: true });
        return earlier;
      }
      await publish(incoming.contentPath(key), file, artifact);
      log.info('an image was accepted', { ...artifact });
      return artifact;
    } finally {
      await file.close();
    }
  }

  async function acceptRelease(key: string): Promise<ReleaseArtifact> {
    const { sha256, file } = await contentOf(key);
    const there = file ?? (await open(pathOf(sha256), 'r'));
    try {
      const artifact: ReleaseArtifact = { sha256, ...(await inspectRelease(there)) };
      if ((await find(sha256)) === undefined) {
        await publish(incoming.contentPath(key), there, { format: 'release', ...artifact });
        log.info('a release of the agent was accepted', { ...artifact });
      } else {
        await touch(pathOf(sha256), now());
        await rm(incoming.contentPath(key), { force: true });
      }
      return artifact;
    } finally {
      await there.close();
    }
  }

  async function fetch(key: string, url: string, { signal, onProgress }: FetchOptions): Promise<Received> {
    let fruitless = 0;
    for (;;) {
      const state = await incoming.received(key);
      if (state === undefined) throw new Problem('not-found', 'no content is awaited here');
      if (state.complete) return state;
      try {
        return await fetchOnce(key, url, state.offset, signal, onProgress);
      } catch (error) {
        signal.throwIfAborted();
        const came = ((await incoming.received(key))?.offset ?? 0) - state.offset;
        fruitless = came > 0 ? 0 : fruitless + 1;
        const broken = !(error instanceof Problem);
        if ((!broken && error.kind !== 'unavailable') || fruitless >= fruitlessCuts) {
          if (!broken) throw error;
          throw new Problem('unavailable', `the fetch broke off: ${(error as Error).message}`, { cause: error, retryAfterSeconds: 10 });
        }
        log.warn('a fetch was cut and goes on', { key, offset: state.offset + Math.max(came, 0) });
      }
    }
  }

  async function fetchOnce(
    key: string,
    url: string,
    offset: number,
    signal: AbortSignal,
    onProgress: FetchOptions['onProgress'],
  ): Promise<Received> {
    const { validator: before } = (await incoming.expectation(key)) ?? {};
    const source = await openUrl(url, { outbound, egress, offset, validator: before, signal });
    try {
      const expected = await incoming.expectation(key);
      if (expected === undefined) throw new Problem('not-found', 'no content is awaited here');
      const { totalBytes } = source;
      const { validator } = source;
      if (source.offset === 0) {
        if (offset > 0) await incoming.restart(key);
        if (validator !== undefined && validator !== before) await incoming.begin(key, { ...expected, validator });
      }
      if (totalBytes !== undefined && expected.sizeBytes !== totalBytes) {
        if (expected.sizeBytes !== undefined && source.offset > 0) {
          // The source changed since it was cut; the digest would never fit.
          await incoming.restart(key);
          throw new Problem('unavailable', 'the source changed its length between two attempts', { retryAfterSeconds: 1 });
        }
        await incoming.begin(key, { sha256: expected.sha256, sizeBytes: totalBytes, ...(validator === undefined ? {} : { validator }) });
      }
      const state = await incoming.append(key, source.offset, source.content as AsyncIterable<Uint8Array>, (at) =>
        onProgress?.({ offset: at, totalBytes }),
      );
      if (totalBytes === undefined) return await incoming.end(key);
      if (!state.complete)
        throw new Problem('unavailable', `the source ended after ${state.offset} of ${totalBytes} bytes`, { retryAfterSeconds: 1 });
      return state;
    } finally {
      source.content.destroy();
    }
  }

  async function collect(used: {
    readonly digests: ReadonlySet<string>;
    readonly keys: ReadonlySet<string>;
  }): Promise<{ artifacts: number; incoming: number }> {
    const before = now() - restMs;
    let artifacts = 0;
    for (const name of await readdir(images)) {
      const sha256 = name.slice(0, 64);
      if (used.digests.has(sha256)) continue;
      const path = join(images, name);
      const times = await Promise.all(
        [stat(path), stat(pathOf(sha256))].map(async (it) => (await it.catch(() => undefined))?.mtimeMs ?? 0),
      );
      if (Math.max(...times) > before) continue;
      await rm(path, { force: true });
      if (name === sha256) artifacts += 1;
    }
    let dropped = 0;
    for (const key of await incoming.keys()) {
      if (used.keys.has(key) || (await incoming.changedAt(key)) > before) continue;
      await incoming.discard(key);
      dropped += 1;
    }
    if (artifacts + dropped > 0) log.info('unused images were removed', { artifacts, incoming: dropped });
    return { artifacts, incoming: dropped };
  }

  return {
    begin: async (key, expected) => await incoming.begin(key, expected),
    received: async (key) => await incoming.received(key),
    append: async (key, offset, content) => await incoming.append(key, offset, content),
    fetch,
    accept,
    async verifyContent(key) {
      await (await contentOf(key)).file?.close();
    },
    ...converted,
    acceptRelease,
    discard: async (key) => await incoming.discard(key),
    find,
    async open(sha256, range = {}) {
      const artifact = await find(sha256);
      if (artifact === undefined) throw new Problem('not-found', `there is no artifact ${sha256}`);
      const start = range.start ?? 0;
      const end = Math.min(range.end ?? artifact.fileBytes, artifact.fileBytes);
      if (start < 0 || start >= end)
        throw new Problem('invalid-request', `the artifact has ${artifact.fileBytes} bytes; ${start}–${end} is no part of it`);
      const file = await open(pathOf(sha256), 'r').catch(() => undefined);
      if (file === undefined) throw new Problem('not-found', `there is no artifact ${sha256}`);
      return createReadStream('', { fd: file, start, end: end - 1, highWaterMark: 256 * 1024 });
    },
    collect,
  };
}

async function digestOf(stream: AsyncIterable<unknown>): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of stream) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

async function touch(path: string, milliseconds: number): Promise<void> {
  await utimes(path, milliseconds / 1000, milliseconds / 1000);
}
