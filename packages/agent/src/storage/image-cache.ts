import { readdir, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { makeDirectory } from '../disk/atomic-file.js';
import type { Log } from '../log.js';
import { type ImageDownload, imagePath, partialPath, sizeOf } from './image-download.js';

/** Has an image fetched to its place; raises what `downloadImage` raises. */
export type ImageFetcher = (image: ImageDownload, signal: AbortSignal) => Promise<void>;

/** Unused images are kept this long. */
const keptMs = 7 * 24 * 60 * 60_000;

/** Images fetched from the control plane, by content: `images/SHA256` when complete and verified, `images/SHA256.part` before. */
export class ImageCache {
  readonly #root: string;
  readonly #fetcher: ImageFetcher;
  readonly #log: Log;
  readonly #fetches = new Map<string, Promise<void>>();

  constructor(root: string, fetcher: ImageFetcher, log: Log) {
    this.#root = root;
    this.#fetcher = fetcher;
    this.#log = log;
  }

  async open(): Promise<void> {
    await makeDirectory(this.#root);
  }

  /** Path of an image that is here, complete and verified. */
  async held(sha256: string): Promise<string | undefined> {
    const path = imagePath(this.#root, sha256);
    return (await sizeOf(path)) === undefined ? undefined : path;
  }

  /** Bytes still to be fetched for an image. */
  async missingBytes(sha256: string, bytes: number): Promise<number> {
    if ((await sizeOf(imagePath(this.#root, sha256))) !== undefined) return 0;
    return Math.max(bytes - ((await sizeOf(partialPath(this.#root, sha256))) ?? 0), 0);
  }

  /**
   * Path of the complete, verified image; fetched when it is not here yet, from where an earlier fetch was cut. Two askers share a fetch.
   * Raises Problem unavailable when the link is down, validation when the content is not what was announced, exhausted when the disk fills
   * up on the way; what was fetched gives its room back then.
   */
  async fetch(sha256: string, bytes: number, signal: AbortSignal): Promise<string> {
    const path = imagePath(this.#root, sha256);
    if ((await sizeOf(path)) === undefined) {
      let running = this.#fetches.get(sha256);
      if (running === undefined) {
        running = this.#fetcher({ root: this.#root, sha256, bytes }, signal).finally(() => this.#fetches.delete(sha256));
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
}
