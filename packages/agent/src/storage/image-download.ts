import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { Problem } from '@virt8ra/contract/plain';
import { errorCode, syncDirectory } from '../disk/atomic-file.js';
import { diskFull, isDiskFull, RoomGauge } from '../disk/room.js';
import type { Log } from '../log.js';

/** Where images come from. */
export interface ArtifactSource {
  /** Bytes of an artifact from `offset` on. Raises Problem not-found, unavailable. */
  open(sha256: string, offset: number, signal: AbortSignal): Promise<Readable>;
}

/** An image that is to be had at `imagePath`. */
export interface ImageDownload {
  readonly root: string;
  readonly sha256: string;
  readonly bytes: number;
  /** What it is, for people; absent: an image. */
  readonly noun?: 'release';
}

/** Where an image is once it is complete and verified. */
export function imagePath(root: string, sha256: string): string {
  return join(root, sha256);
}

/** Where it is before. */
export function partialPath(root: string, sha256: string): string {
  return join(root, `${sha256}.part`);
}

/**
 * Fetches an image from where an earlier fetch was cut, verifies it and puts it in its place. Raises Problem unavailable when the link is down,
 * validation when the content is not what was announced, exhausted when the disk fills up on the way: what was fetched gives its room back then.
 */
export async function downloadImage(image: ImageDownload, source: ArtifactSource, signal: AbortSignal, log: Log): Promise<void> {
  const { root, sha256, bytes } = image;
  const noun = image.noun ?? 'image';
  try {
    await download(image, source, signal, log);
  } catch (error) {
    if (!isDiskFull(error)) throw error;
    const partial = partialPath(root, sha256);
    const missing = Math.max(bytes - ((await sizeOf(partial)) ?? 0), 0);
    await rm(partial, { force: true });
    const { kind, message, facts } = await diskFull(root, missing, error);
    throw new Problem(kind, `the ${noun} ${sha256} cannot be fetched: ${message}`, { facts, cause: error });
  }
}

async function download(image: ImageDownload, source: ArtifactSource, signal: AbortSignal, log: Log): Promise<void> {
  const { root, sha256, bytes } = image;
  const noun = image.noun ?? 'image';
  const partial = partialPath(root, sha256);
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
      log.info('an artifact is being fetched', { noun, sha256, bytes, offset });
      const room = new RoomGauge(root);
      for await (const data of whole(await source.open(sha256, offset, signal), noun)) {
        offset += data.length;
        if (offset > bytes) break;
        hash.update(data);
        await room.hold(data.length, bytes - offset + data.length, async () => await file.writeFile(data));
      }
    }
    if (offset < bytes) throw new Problem('unavailable', `the ${noun} ${sha256} was cut after ${offset} of ${bytes} bytes`);
    if (offset > bytes || hash.digest('hex') !== sha256) {
      await rm(partial, { force: true });
      throw new Problem('validation', `what the control plane sent is not the ${noun} ${sha256}; it was thrown away`);
    }
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(partial, imagePath(root, sha256));
  await syncDirectory(root);
}

/** Undefined when there is no such file. */
export async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** A download's chunks; a connection that breaks is Problem unavailable. */
async function* whole(stream: Readable, noun: string): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of stream) yield chunk as Buffer;
  } catch (cause) {
    throw new Problem('unavailable', `the ${noun}’s download broke off: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    });
  }
}
