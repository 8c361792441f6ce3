import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { appendFile, chmod, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createEgress } from '../outbound/egress.js';
import { createOutbound } from '../outbound/outbound.js';
import { type ArtifactStore, openArtifactStore } from './artifact-store.js';
import { emptyQcow2 } from './testing/qcow2-image.js';

const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const disk = Buffer.alloc(3 * 1024 * 1024, 'the content of a disk ');
const digest = createHash('sha256').update(disk).digest('hex');
const announced = { sha256: digest, sizeBytes: disk.length };

let directory: string;
let store: ArtifactStore;

const reopen = async (options: { readonly allow?: readonly string[]; readonly now?: () => number } = {}): Promise<ArtifactStore> =>
  await openArtifactStore({
    directory,
    limits: { maxImageBytes: 1e8, maxVirtualBytes: 1e9 },
    outbound: createOutbound({ proxies: {} }),
    egress: createEgress({ allowPrivate: false, allow: options.allow ?? ['127.0.0.1'] }),
    log: silent,
    ...(options.now === undefined ? {} : { now: options.now }),
  });

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'virt8ra-artifacts-'));
  await chmod(directory, 0o700);
  store = await reopen();
});
afterEach(async () => await rm(directory, { recursive: true, force: true }));

const chunks = (content: Buffer, size = 100_000): Readable => {
  const parts: Buffer[] = [];
  for (let at = 0; at < content.length; at += size) parts.push(content.subarray(at, at + size));
  return Readable.from(parts);
};
async function* broken(content: Buffer): AsyncGenerator<Buffer> {
  yield content;
  throw new Error('cut');
}

describe('upload', () => {
  it('arrives in parts, over a reopened store, and becomes an artifact that is served by range', async () => {
    expect(await store.begin('one', announced)).toEqual({ offset: 0, sizeBytes: disk.length, complete: false });
    await expect(store.append('one', 0, broken(disk.subarray(0, 1_000_000)))).rejects.toThrow('cut');

    store = await reopen();
    expect(await store.received('one')).toEqual({ offset: 1_000_000, sizeBytes: disk.length, complete: false });
    await expect(store.accept('one', 'raw')).rejects.toMatchObject({ kind: 'conflict' });
    expect(await store.append('one', 1_000_000, chunks(disk.subarray(1_000_000)))).toMatchObject({ complete: true });

    const artifact = await store.accept('one', 'raw');
    expect(artifact).toEqual({ sha256: digest, format: 'raw', virtualSizeBytes: disk.length, fileBytes: disk.length });
    expect(await store.accept('one', 'raw')).toEqual(artifact);
    await store.discard('one');
    expect(await store.find(digest)).toEqual(artifact);
    expect((await buffer(await store.open(digest))).equals(disk)).toBe(true);
    expect((await buffer(await store.open(digest, { start: 5, end: 1_000_005 }))).equals(disk.subarray(5, 1_000_005))).toBe(true);
    expect((await buffer(await store.open(digest, { start: disk.length - 3 }))).equals(disk.subarray(-3))).toBe(true);
  });

  it('cuts off what a crash left behind the last durable octet', async () => {
    await store.begin('one', announced);
    await store.append('one', 0, chunks(disk.subarray(0, 500_000)));
    await appendFile(join(directory, 'incoming', 'one', 'content'), Buffer.alloc(70_000, 'torn'));

    store = await reopen();
    expect((await store.received('one'))?.offset).toBe(500_000);
    await store.append('one', 500_000, chunks(disk.subarray(500_000)));

    expect(await store.accept('one', 'raw')).toMatchObject({ sha256: digest });
  });

  it('refuses a wrong offset and says the right one', async () => {
    await store.begin('one', announced);
    await store.append('one', 0, chunks(disk.subarray(0, 1000)));

    for (const offset of [0, 999, 1001]) {
      await expect(store.append('one', offset, chunks(disk))).rejects.toMatchObject({ kind: 'conflict', facts: { offset: 1000 } });
    }
    expect((await store.received('one'))?.offset).toBe(1000);
  });

  it('lets only one request at it', async () => {
    await store.begin('one', announced);
    const slow = new Readable({ read: () => undefined });
    slow.push(disk.subarray(0, 10));
    const first = store.append('one', 0, slow);
    await expect.poll(async () => await readdir(join(directory, 'incoming', 'one'))).toContain('content');

    await expect(store.append('one', 0, chunks(disk))).rejects.toMatchObject({
      kind: 'conflict',
      message: expect.stringContaining('another request'),
    });

    slow.push(null);
    expect((await first).offset).toBe(10);
  });

  it('keeps nothing beyond what was announced', async () => {
    await store.begin('one', { sha256: digest, sizeBytes: 150_000 });
    await expect(store.append('one', 0, chunks(disk))).rejects.toMatchObject({ kind: 'too-large' });
    expect((await stat(join(directory, 'incoming', 'one', 'content'))).size).toBeLessThanOrEqual(150_000);
  });

  it('refuses content that is not what was announced', async () => {
    await store.begin('one', announced);
    const other = Buffer.from(disk);
    other.writeUInt8(0, 77);
    await store.append('one', 0, chunks(other));

    await expect(store.accept('one', 'raw')).rejects.toMatchObject({ kind: 'validation', message: expect.stringContaining('sha256') });
    expect(await readdir(join(directory, 'images'))).toEqual([]);
  });

  it('refuses what is too large or has no room before a single octet comes', async () => {
    await expect(store.begin('one', { sha256: digest, sizeBytes: 2e8 })).rejects.toMatchObject({ kind: 'too-large' });
    const roomy = await openArtifactStore({
      directory,
      limits: { maxImageBytes: Number.MAX_SAFE_INTEGER, maxVirtualBytes: 1e9 },
      outbound: createOutbound({ proxies: {} }),
      egress: createEgress({ allowPrivate: false, allow: [] }),
      log: silent,
    });
    await expect(roomy.begin('one', { sha256: digest, sizeBytes: 1e15 })).rejects.toMatchObject({ kind: 'exhausted' });
    expect(await store.received('one')).toBeUndefined();
  });

  it('starts anew when something else is announced under the key', async () => {
    await store.begin('one', announced);
    await store.append('one', 0, chunks(disk.subarray(0, 1000)));
    expect(await store.begin('one', announced)).toMatchObject({ offset: 1000 });

    expect(await store.begin('one', { sha256: 'a'.repeat(64), sizeBytes: 5000 })).toEqual({ offset: 0, sizeBytes: 5000, complete: false });
  });

  it('knows content by its digest only after it was brought', async () => {
    await store.begin('one', announced);
    await store.append('one', 0, chunks(disk));
    await store.accept('one', 'raw');

    expect(await store.begin('two', announced)).toMatchObject({ complete: false });
    await expect(store.accept('two', 'raw')).rejects.toMatchObject({ kind: 'conflict' });
    await store.append('two', 0, chunks(disk));
    expect(await store.accept('two', 'raw')).toMatchObject({ sha256: digest });
    expect((await readdir(join(directory, 'images'))).sort()).toEqual([digest, `${digest}.json`]);
  });

  it('refuses keys and digests that are paths', async () => {
    await expect(store.begin('../one', announced)).rejects.toMatchObject({ kind: 'internal' });
    await expect(store.open('../../etc/passwd')).rejects.toMatchObject({ kind: 'validation' });
    await expect(store.open('f'.repeat(64))).rejects.toMatchObject({ kind: 'not-found' });
  });

  it('stays whole at every point where publishing may be cut', async () => {
    const image = emptyQcow2();
    const sha256 = createHash('sha256').update(image).digest('hex');
    await store.begin('one', { sha256, sizeBytes: image.length });
    await store.append('one', 0, chunks(image));
    // The description is there, the content not yet.
    await writeFile(
      join(directory, 'images', `${sha256}.json`),
      JSON.stringify({ sha256, format: 'qcow2', virtualSizeBytes: 1_048_576, fileBytes: image.length }),
    );
    expect(await store.find(sha256)).toBeUndefined();

    store = await reopen();
    expect(await store.accept('one')).toMatchObject({ format: 'qcow2', virtualSizeBytes: 1_048_576 });
    // Published, but the answer was lost.
    store = await reopen();
    expect(await store.accept('one')).toMatchObject({ format: 'qcow2' });
  });

  it('collects what nothing uses after an hour, and nothing else', async () => {
    await store.begin('one', announced);
    await store.append('one', 0, chunks(disk));
    await store.accept('one', 'raw');
    await store.begin('two', announced);
    const nobody = { digests: new Set<string>(), keys: new Set<string>() };
    expect(await store.collect(nobody)).toEqual({ artifacts: 0, incoming: 0 });

    const later = await reopen({ now: () => Date.now() + 2 * 60 * 60_000 });
    expect(await later.collect({ digests: new Set([digest]), keys: new Set(['two']) })).toEqual({ artifacts: 0, incoming: 1 });
    expect(await later.find(digest)).toBeDefined();
    expect(await later.collect(nobody)).toEqual({ artifacts: 1, incoming: 1 });
    expect(await readdir(join(directory, 'images'))).toEqual([]);
    expect(await readdir(join(directory, 'incoming'))).toEqual([]);
  });
});

describe('fetch', () => {
  const servers: Server[] = [];
  afterEach(() => {
    for (const server of servers.splice(0)) {
      server.closeAllConnections();
      server.close();
    }
  });

  async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
    const server = createServer(answer);
    servers.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/disk.raw`;
  }
  const fetchAll = async (url: string, within = store): Promise<unknown> => {
    await within.begin('one', { sha256: digest });
    return await within.fetch('one', url, { signal: new AbortController().signal });
  };
  /** Like an honest file server. */
  const honest = (request: IncomingMessage, response: ServerResponse, limit = disk.length): void => {
    const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    response.writeHead(start > 0 ? 206 : 200, {
      'content-length': disk.length - start,
      ...(start > 0 ? { 'content-range': `bytes ${start}-${disk.length - 1}/${disk.length}` } : {}),
    });
    if (start + limit >= disk.length) response.end(disk.subarray(start));
    else response.write(disk.subarray(start, start + limit), () => response.destroy());
  };

  it('brings a file in and reports how far it is', async () => {
    const seen: number[] = [];
    const url = await serve(honest);
    await store.begin('one', { sha256: digest });
    await store.fetch('one', url, { signal: new AbortController().signal, onProgress: ({ offset }) => seen.push(offset) });

    expect(seen.at(-1)).toBe(disk.length);
    expect(await store.accept('one', 'raw')).toMatchObject({ sha256: digest });
  });

  it('goes on by range where it was cut, as often as something comes', async () => {
    const ranges: (string | undefined)[] = [];
    const url = await serve((request, response) => {
      ranges.push(request.headers.range);
      honest(request, response, 700_000);
    });

    expect(await fetchAll(url)).toMatchObject({ complete: true });
    expect(ranges.length).toBeGreaterThan(3);
    expect(ranges.slice(1).every((range) => range !== undefined)).toBe(true);
    expect(await store.accept('one', 'raw')).toMatchObject({ sha256: digest });
  });

  it('starts over with a source that knows no ranges', async () => {
    let calls = 0;
    const url = await serve((_request, response) => {
      calls += 1;
      response.writeHead(200, { 'content-length': disk.length });
      if (calls === 1) response.write(disk.subarray(0, 1_000_000), () => response.destroy());
      else response.end(disk);
    });

    expect(await fetchAll(url)).toMatchObject({ complete: true });
    expect(await store.accept('one', 'raw')).toMatchObject({ sha256: digest });
  });

  it.each([
    { title: 'names its versions and heeds what it is asked', tags: ['"one"', '"two"'], heeds: true },
    { title: 'names its versions and goes on with another all the same', tags: ['"one"', '"two"'], heeds: false },
    { title: 'says when it was changed', dates: ['Mon, 01 Jan 2024 00:00:00 GMT', 'Tue, 02 Jan 2024 00:00:00 GMT'], heeds: true },
  ])('begins anew, and mixes nothing, when a source that $title changes while it is fetched', async ({ tags, dates, heeds }) => {
    const other = Buffer.alloc(disk.length, 'an earlier version ');
    const conditions: (string | undefined)[] = [];
    let calls = 0;
    const url = await serve((request, response) => {
      calls += 1;
      const [content, version] = calls === 1 ? [other, 0] : [disk, 1];
      const named = tags === undefined ? { 'last-modified': dates?.[version] ?? '' } : { etag: tags[version] ?? '' };
      const condition = request.headers['if-range'];
      if (calls > 1) conditions.push(condition?.toString());
      const goesOn = request.headers.range !== undefined && (!heeds || condition === Object.values(named)[0]);
      const start = goesOn ? Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0) : 0;
      response.writeHead(start > 0 ? 206 : 200, {
        ...named,
        'content-length': content.length - start,
        ...(start > 0 ? { 'content-range': `bytes ${start}-${content.length - 1}/${content.length}` } : {}),
      });
      if (calls === 1) response.write(content.subarray(0, 700_000), () => response.destroy());
      else response.end(content.subarray(start));
    });

    expect(await fetchAll(url)).toMatchObject({ complete: true });
    expect(conditions[0]).toBe((tags ?? dates)?.[0]);
    expect(await store.accept('one', 'raw')).toMatchObject({ sha256: digest });
  });

  it('takes a source that does not say its length', async () => {
    const url = await serve((_request, response) => {
      response.writeHead(200);
      response.end(disk);
    });

    expect(await fetchAll(url)).toMatchObject({ complete: true, sizeBytes: disk.length });
    expect(await store.accept('one', 'raw')).toMatchObject({ sha256: digest });
  });

  it('gives up for now when nothing comes any more', async () => {
    const url = await serve((_request, response) => response.destroy());

    await expect(fetchAll(url)).rejects.toMatchObject({ kind: 'unavailable' });
  });

  it.each([
    { status: 404, kind: 'validation' },
    { status: 403, kind: 'validation' },
    { status: 500, kind: 'unavailable' },
    { status: 429, kind: 'unavailable' },
  ])('takes $status for $kind', async ({ status, kind }) => {
    const url = await serve((_request, response) => response.writeHead(status).end('no'));

    await expect(fetchAll(url)).rejects.toMatchObject({ kind });
  });

  it('refuses a file beyond the limit by what the source says, and by what comes', async () => {
    const told = await serve((_request, response) => response.writeHead(200, { 'content-length': 2e8 }).write('x'));
    await expect(fetchAll(told)).rejects.toMatchObject({ kind: 'too-large' });

    const small = await openArtifactStore({
      directory,
      limits: { maxImageBytes: 1_000_000, maxVirtualBytes: 1e9 },
      outbound: createOutbound({ proxies: {} }),
      egress: createEgress({ allowPrivate: false, allow: ['127.0.0.1'] }),
      log: silent,
    });
    const silentOnSize = await serve((_request, response) => response.writeHead(200).end(disk));
    await expect(fetchAll(silentOnSize, small)).rejects.toMatchObject({ kind: 'too-large' });
  });

  it.each([
    'http://127.0.0.1:9/',
    'http://localhost:9/',
    'http://[::1]:9/',
    'http://0x7f000001:9/',
    'http://127.1:9/',
    'http://[::ffff:127.0.0.1]:9/',
    'http://169.254.169.254/latest/meta-data',
  ])('refuses to go to %s', async (url) => {
    const closed = await reopen({ allow: [] });
    await expect(fetchAll(url, closed)).rejects.toMatchObject({ kind: 'validation', message: expect.stringContaining('may not reach') });
  });

  it('checks the address again at every redirect', async () => {
    const aims = ['http://127.0.0.2:9/inside', 'http://169.254.169.254/', 'file:///etc/passwd', 'http://u:p@127.0.0.1/'];
    for (const aim of aims) {
      const url = await serve((_request, response) => response.writeHead(302, { location: aim }).end());
      await expect(fetchAll(url), aim).rejects.toMatchObject({ kind: 'validation' });
    }
  });

  it('follows honest redirects, but not for ever', async () => {
    const target = await serve(honest);
    const once = await serve((_request, response) => response.writeHead(302, { location: target }).end());
    expect(await fetchAll(once)).toMatchObject({ complete: true });

    const loop = await serve((request, response) => response.writeHead(302, { location: request.url ?? '/' }).end());
    await store.begin('two', { sha256: digest });
    await expect(store.fetch('two', loop, { signal: new AbortController().signal })).rejects.toThrow('more than 5 times');
  });

  it('ends at once when it is told to', async () => {
    const url = await serve((_request, response) => {
      response.writeHead(200, { 'content-length': disk.length });
      response.write(disk.subarray(0, 100_000));
    });
    const controller = new AbortController();
    await store.begin('one', { sha256: digest });
    const fetching = store.fetch('one', url, { signal: controller.signal, onProgress: () => controller.abort() });

    await expect(fetching).rejects.toThrow();
    expect((await store.received('one'))?.offset).toBeGreaterThan(0);
  });
});

it('keeps the directory closed and the content readable for whoever is handed it', async () => {
  await store.begin('one', announced);
  await store.append('one', 0, chunks(disk));
  expect((await stat(join(directory, 'incoming'))).mode & 0o777).toBe(0o700);
  expect((await stat(join(directory, 'incoming', 'one', 'content'))).mode & 0o444).toBe(0o444);
  await utimes(join(directory, 'incoming', 'one', 'content'), 0, 0);
  expect((await readFile(join(directory, 'incoming', 'one', 'content'))).length).toBe(disk.length);
});
