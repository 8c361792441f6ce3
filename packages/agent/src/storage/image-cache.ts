import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { Problem } from '@virt8ra/contract';
import { errorCode, makeDirectory, syncDirectory } from '../disk/atomic-file.js';
import { diskFull, isDiskFull, RoomGauge } from '../disk/room.js';
import type { Log } from '../log.js';

/** Where images come from. */
export interface ArtifactSource {
  /** Bytes of an artifact from `offset` on. Raises Problem not-found, unavailable. */
  open(sha256: string, offset: number, signal: AbortSignal): Promise<Readable>;
}

/** Unused images are kept this long. */
const keptMs = 7 * 24 * 60 * 60_000;

/** Images fetched from the control plane, by content: `images/SHA256` when complete and verified, `images/SHA256.part` before. */
export class ImageCache {
  readonly #root: string;
  readonly #source: ArtifactSource;
  readonly #log: Log;
  readonly #fetches = new Map<string, Promise<void>>();

  constructor(root: string, source: ArtifactSource, log: Log) {
    this.#root = root;
    this.#source = source;
    this.#log = log;
  }

  async open(): Promise<void> {
    await makeDirectory(this.#root);
  }

  /** Bytes still to be fetched for an image. */
  async missingBytes(sha256: string, bytes: number): Promise<number> {
    if ((await sizeOf(this.#path(sha256))) !== undefined) return 0;
    return Math.max(bytes - ((await sizeOf(this.#partial(sha256))) ?? 0), 0);
  }

  /**
   * Path of the complete, verified image; fetched when it is not here yet, from where an earlier fetch was cut. Two askers share a fetch.
   * Raises Problem unavailable when the link is down, validation when the content is not what was announced, exhausted when the disk fills
   * up on the way; what was fetched gives its room back then.
   */
  async fetch(sha256: string, bytes: number, signal: AbortSignal): Promise<string> {
    const path = this.#path(sha256);
    if ((await sizeOf(path)) === undefined) {
      let running = this.#fetches.get(sha256);
      if (running === undefined) {
        running = this.#fetchWhole(sha256, bytes, signal).finally(() => this.#fetches.delete(sha256));
        this.#fetches.set(sha256, running);
      }
      await running;
    }
    const now = new Date();
    await utimes(path, now, now);
    return path;
  }

  /** Drops images that nobody used for a week, all unused ones with `everything`. `used` are digests to keep. */
  async prune(used: ReadonlySet<string>, everything = false): Promise<void> {
    for (const name of await readdir(this.#root)) {
      const sha256 = name.replace(/\.part$/, '');
      if (used.has(sha256) || this.#fetches.has(sha256)) continue;
      const { mtimeMs } = await stat(join(this.#root, name));
      if (!everything && Date.now() - mtimeMs < keptMs) continue;
      await rm(join(this.#root, name), { force: true });
      this.#log.info('an unused image was dropped', { sha256 });
    }
  }

  async #fetchWhole(sha256: string, bytes: number, signal: AbortSignal): Promise<void> {
    try {
      await this.#download(sha256, bytes, signal);
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      const missing = await this.missingBytes(sha256, bytes);
      await rm(this.#partial(sha256), { force: true });
      const { kind, message, facts } = await diskFull(this.#root, missing, error);
      throw new Problem(kind, `the image ${sha256} cannot be fetched: ${message}`, { facts, cause: error });
    }
  }

  async #download(sha256: string, bytes: number, signal: AbortSignal): Promise<void> {
    const partial = this.#partial(sha256);
    const had = (await sizeOf(partial)) ?? 0;
    if (had > bytes) await rm(partial);
    const hash = createHash('sha256');
    const file = await open(partial, 'a', 0o600);
    try {
      let offset = 0;
      if (had > 0 && had <= bytes) {
        for await (const chunk of createReadStream(partial)) hash.update(chunk as Buffer);
        offset = had;
      }
      if (offset < bytes) {
        this.#log.info('an image is being fetched', { sha256, bytes, offset });
        const room = new RoomGauge(this.#root);
        for await (const data of whole(await this.#source.open(sha256, offset, signal))) {
          offset += data.length;
          if (offset > bytes) break;
          hash.update(data);
          await room.take(data.length, bytes - offset + data.length);
          await file.writeFile(data);
        }
      }
      if (offset < bytes) throw new Problem('unavailable', `the image ${sha256} was cut after ${offset} of ${bytes} bytes`);
      if (offset > bytes || hash.digest('hex') !== sha256) {
        await rm(partial, { force: true });
        throw new Problem('validation', `what the control plane sent is not the image ${sha256}; it was thrown away`);
      }
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(partial, this.#path(sha256));
    await syncDirectory(this.#root);
  }

  #path(sha256: string): string {
    return join(this.#root, sha256);
  }

  #partial(sha256: string): string {
    return join(this.#root, `${sha256}.part`);
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** A download's chunks; a connection that breaks is Problem unavailable. */
async function* whole(stream: Readable): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of stream) yield chunk as Buffer;
  } catch (cause) {
    throw new Problem('unavailable', `the image’s download broke off: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    });
  }
}
