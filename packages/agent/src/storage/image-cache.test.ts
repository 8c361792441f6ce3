import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentLog } from '../log.js';
import { mountSmallDisk, noSmallDisk } from '../testing/small-disk.js';
import { ImageCache, type ImageFetcher } from './image-cache.js';
import { type ArtifactSource, downloadImage } from './image-download.js';

const reason = noSmallDisk();
if (reason !== undefined) process.stderr.write(`skipped: ${reason}\n`);
const mib = 1024 ** 2;

describe.skipIf(reason !== undefined)('a fetch of an image onto a disk that fills up', () => {
  let folder: string;
  let unmount: () => void;
  const content = randomBytes(12 * mib);
  const sha256 = createHash('sha256').update(content).digest('hex');
  const images = () => join(folder, 'images');
  const others = () => join(folder, 'others');
  const free = () => {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  };
  const cache = async (between: (sent: number) => void) => {
    const pieces = function* () {
      for (let at = 0; at < content.length; at += mib / 2) {
        between(at);
        yield content.subarray(at, at + mib / 2);
      }
    };
    const source: ArtifactSource = { open: async () => Readable.from(pieces()) };
    const fetcher: ImageFetcher = async (image, signal) => await downloadImage(image, source, signal, silentLog);
    const made = new ImageCache(images(), fetcher, silentLog);
    await made.open();
    return made;
  };

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'v8i-'));
    unmount = mountSmallDisk(folder, 24 * mib);
  });
  afterEach(() => {
    unmount();
    rmSync(folder, { recursive: true, force: true });
  });

  it('says what is free and what is needed, and gives its room back', async () => {
    const before = free();
    const made = await cache((sent) => {
      if (sent === 4 * mib) writeFileSync(others(), Buffer.alloc(free()));
    });
    await expect(made.fetch(sha256, content.length, new AbortController().signal)).rejects.toMatchObject({
      kind: 'exhausted',
      message: expect.stringMatching(/is full: .* of 24\.0 MiB are free, up to [78]\.\d MiB more are needed/),
    });
    expect(readdirSync(images())).toEqual([]);
    rmSync(others());
    expect(free()).toBe(before);
  });

  it('stops before the last bytes are gone, and is whole when there is room again', async () => {
    writeFileSync(others(), Buffer.alloc(free() - 6 * mib));
    const made = await cache(() => {});
    await expect(made.fetch(sha256, content.length, new AbortController().signal)).rejects.toMatchObject({ kind: 'exhausted' });
    rmSync(others());
    await made.fetch(sha256, content.length, new AbortController().signal);
    expect(readdirSync(images())).toEqual([sha256]);
  });
});
