import { get, type IncomingMessage } from 'node:http';
import { blockStorage } from '@virt8ra/contract';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { disksPath, eventsPath, siteSpec, sitesPath, startTestServer, type TestServer, workspacesPath } from './testing/test-server.js';

let server: TestServer;
let url: string;
const open = new Set<IncomingMessage>();

beforeEach(async () => {
  server = await startTestServer({ events: { beatSeconds: 0.2 } });
  url = await server.http.listen({ host: '127.0.0.1', port: 0 });
  await server.call('PUT', `${workspacesPath}/prod`, { body: { spec: {} } });
  return async () => await server.stop();
});
afterEach(() => {
  for (const message of open) message.destroy();
  open.clear();
});

interface Event {
  readonly id: string;
  readonly event: string;
  readonly data: { readonly type: string; readonly kind: string; readonly ref: string; readonly [member: string]: unknown };
}

interface Stream {
  readonly status: number;
  readonly message: IncomingMessage;
  readonly events: readonly Event[];
  readonly comments: readonly string[];
  /** Id seen last, also without an event. */
  readonly cursor: string;
  /** Resolves when so many events were seen. */
  reached(count: number): Promise<readonly Event[]>;
  until(holds: () => boolean): Promise<void>;
  readonly ended: Promise<void>;
}

/** A client of text/event-stream, as plain as can be. */
async function watch(path: string, options: { readonly token?: string; readonly lastEventId?: string } = {}): Promise<Stream> {
  const headers = {
    authorization: `Bearer ${options.token ?? 'acme-token'}`,
    ...(options.lastEventId === undefined ? {} : { 'last-event-id': options.lastEventId }),
  };
  const message = await new Promise<IncomingMessage>((resolve, reject) => {
    get(`${url}${path}`, { headers, agent: false }, resolve).on('error', reject);
  });
  open.add(message);
  const events: Event[] = [];
  const comments: string[] = [];
  const checks = new Set<() => void>();
  let cursor = '';
  let rest = '';
  message.setEncoding('utf8').on('data', (text: string) => {
    const blocks = `${rest}${text}`.split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) {
      const lines = block.split('\n');
      const field = (name: string) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      comments.push(...lines.filter((line) => line.startsWith(':')));
      cursor = field('id') ?? cursor;
      const data = field('data');
      if (data !== undefined) events.push({ id: cursor, event: field('event') ?? '', data: JSON.parse(data) });
    }
    for (const check of checks) check();
  });
  const ended = new Promise<void>((resolve) => message.once('close', resolve));
  const until = async (holds: () => boolean): Promise<void> =>
    await new Promise((resolve) => {
      const check = (): void => {
        if (holds()) resolve();
      };
      checks.add(check);
      check();
    });
  return {
    status: message.statusCode ?? 0,
    message,
    events,
    comments,
    get cursor() {
      return cursor;
    },
    async reached(count) {
      await until(() => events.length >= count);
      return events;
    },
    until,
    ended,
  };
}

const diskBody = { spec: { sizeGB: 1, skuRef: 'skus/RD500' } };
const putDisk = async (name: string, labels: Readonly<Record<string, string>> = {}) =>
  await server.call('PUT', `${disksPath}/${name}`, { body: { labels, ...diskBody } });
const names = (events: readonly Event[]): readonly string[] => events.map((event) => `${event.event} ${event.data.ref.split('/').at(-1)}`);

describe('the change feed over HTTP', () => {
  it('tells what happens from now on, with the resource as GET would show it', async () => {
    await putDisk('before');
    const stream = await watch(`${eventsPath}?kinds=block-storage&since=now`);
    expect(stream.message.headers['content-type']).toMatch(/^text\/event-stream/);
    const made = await putDisk('d1', { env: 'prod' });
    await server.call('DELETE', `${disksPath}/d1`);
    const events = await stream.reached(3);
    expect(names(events)).toEqual(['put d1', 'status d1', 'deleted d1']);
    const document = made.json();
    expect(events[0]?.data).toEqual({
      type: 'put',
      kind: 'block-storage',
      ref: document.metadata.ref,
      resource: { ...document, metadata: { ...document.metadata, verb: 'GET' } },
    });
    expect(events[2]?.data).toMatchObject({ type: 'deleted', resource: { metadata: { deletedAt: expect.any(String) } } });
  });

  it('tells progress, and when there is none any more', async () => {
    await putDisk('d1');
    const uid = (await server.store.get(blockStorage, { tenant: 'acme', workspace: 'prod', name: 'd1' }))?.uid;
    const stream = await watch(eventsPath);
    const step = { phase: 'copy', bytes: 1, totalBytes: 2, bytesPerSecond: 1, etaSeconds: null };
    if (uid !== undefined) {
      await server.store.transaction(async (tx) => await tx.setProgress(uid, step));
      await server.store.transaction(async (tx) => await tx.setProgress(uid, undefined));
    }
    const events = await stream.reached(2);
    expect(events[0]?.data).toMatchObject({ type: 'progress', progress: step });
    expect(events[1]?.data).toEqual({ type: 'progress', kind: 'block-storage', ref: events[0]?.data.ref });
  });

  it('filters by kind and label, and tells who watched by a label that it went', async () => {
    const stream = await watch(`${eventsPath}?kinds=block-storage,instance&labels=env%3Dprod`);
    await putDisk('d1', { env: 'test' });
    await putDisk('d2', { env: 'prod' });
    await server.call('PUT', `${workspacesPath}/second`, { body: { labels: { env: 'prod' }, spec: {} } });
    await putDisk('d2', { env: 'test' });
    await putDisk('d2', { env: 'stage' });
    await putDisk('d3', { env: 'prod' });
    expect(names(await stream.reached(3))).toEqual(['put d2', 'put d2', 'put d3']);
    expect(stream.events[1]?.data['resource']).toMatchObject({ labels: { env: 'test' } });
  });

  it('shows a tenant nothing of another, and at "-" all that the caller may read', async () => {
    const mine = await watch(eventsPath);
    const foreign = await watch(eventsPath.replace('acme', 'other'), { token: 'other-token' });
    const stranger = await watch(eventsPath.replace('acme', '-'), { token: 'other-token' });
    const all = await watch(eventsPath.replace('acme', '-'), { token: 'operator-token' });
    await putDisk('d1');
    await server.call('PUT', `${sitesPath}/gdansk`, { body: { spec: siteSpec }, token: 'operator-token' });
    expect(names(await mine.reached(2))).toEqual(['put d1', 'put gdansk']);
    expect(names(await all.reached(2))).toEqual(['put d1', 'put gdansk']);
    expect(names(await foreign.reached(1))).toEqual(['put gdansk']);
    expect(names(await stranger.reached(1))).toEqual(['put gdansk']);
  });

  it('shows only what the subject may get at that moment', async () => {
    const stream = await watch(`${eventsPath}?kinds=block-storage,site`, { token: 'roleless-token' });
    const changed = async (name: string): Promise<void> => {
      await putDisk(name);
      await server.call('PUT', `${sitesPath}/after-${name}`, { body: { spec: siteSpec }, token: 'operator-token' });
    };
    await changed('unseen');
    await stream.reached(1);
    await server.assign('dan', 'seca.workspace-viewer');
    await expect.poll(async () => (await server.call('GET', `${disksPath}/unseen`, { token: 'roleless-token' })).statusCode).toBe(200);
    await changed('seen');
    await stream.reached(3);
    await server.assign('dan', undefined);
    await expect
      .poll(async () => (await server.call('GET', `${disksPath}/seen`, { token: 'roleless-token' })).statusCode, { timeout: 3000 })
      .toBe(404);
    await changed('gone');
    expect(names(await stream.reached(4))).toEqual(['put after-unseen', 'put seen', 'put after-seen', 'put after-gone']);
  });

  it.each([
    ['?since=yesterday', 400],
    ['?labels=env', 400],
    ['?kinds=unicorn', 400],
    ['?since=99999999999.1', 412],
  ])('refuses %s with %i', async (query, status) => {
    const stream = await watch(`${eventsPath}${query}`);
    expect(stream.status).toBe(status);
  });

  it('refuses foreign tenants and cursors that are too old', async () => {
    expect((await watch(eventsPath, { token: 'other-token' })).status).toBe(403);
    expect((await watch(eventsPath, { token: 'nobody' })).status).toBe(401);
    await server.pool.query("update feed_floor set xid = '4611686018427387904'");
    const late = await watch(`${eventsPath}?since=5.1`);
    expect(late.status).toBe(412);
  });

  it('beats, and gives a client that sees nothing a cursor to resume from', async () => {
    const stream = await watch(`${eventsPath}?kinds=instance`);
    await stream.until(() => stream.cursor !== '');
    const first = stream.cursor;
    await putDisk('d1');
    await stream.until(() => stream.cursor !== first);
    expect(stream.events).toEqual([]);
    expect(stream.comments).toContain(': beat');
    const resumed = await watch(eventsPath, { lastEventId: stream.cursor });
    await putDisk('d2');
    expect(names(await resumed.reached(1))).toEqual(['put d2']);
  });

  it('resumes after cuts at any moment with nothing lost and nothing doubled', async () => {
    const total = 120;
    const seen: Event[] = [];
    let cursor: string | undefined;
    const first = await watch(eventsPath);
    await first.until(() => first.cursor !== '');
    cursor = first.cursor;
    first.message.destroy();
    const writing = (async () => {
      for (let from = 0; from < total; from += 8) {
        await Promise.all(Array.from({ length: 8 }, async (_, index) => await putDisk(`d${from + index}`)));
      }
    })();
    while (seen.length < total) {
      const stream = await watch(eventsPath, { lastEventId: cursor ?? '' });
      const wanted = Math.min(total - seen.length, 1 + (seen.length % 17));
      await stream.reached(wanted);
      // Cut in the middle of what has come; the rest is forgotten as a crash would.
      const taken = stream.events.slice(0, wanted);
      stream.message.destroy();
      seen.push(...taken);
      cursor = taken.at(-1)?.id;
    }
    await writing;
    expect(seen).toHaveLength(total);
    expect(new Set(seen.map((event) => event.data.ref)).size).toBe(total);
    expect(new Set(seen.map((event) => event.id)).size).toBe(total);
  });

  it('cuts a client that does not read, with the cursor to resume from, and serves the others', async () => {
    const small = await startTestServer({ events: { bufferBytes: 500_000 } });
    url = await small.http.listen({ host: '127.0.0.1', port: 0 });
    await small.call('PUT', `${workspacesPath}/prod`, { body: { spec: {} } });
    const slow = await watch(eventsPath);
    await slow.until(() => slow.cursor !== '');
    slow.message.pause();
    const good = await watch(eventsPath);
    const annotations = Object.fromEntries(Array.from({ length: 64 }, (_, index) => [`k${index}`, 'x'.repeat(1024)]));
    // More than the system's own buffers of one connection take.
    const total = 200;
    for (let index = 0; index < total; index += 1) {
      await small.call('PUT', `${disksPath}/d${index}`, { body: { annotations, extensions: annotations, ...diskBody } });
      // The good one shares this process: it keeps up only when it is let read.
      await good.reached(index + 1);
    }
    slow.message.resume();
    await slow.ended;
    const last = slow.events.at(-1);
    expect(last).toMatchObject({ event: 'cut', data: { reason: 'too-slow', cursor: slow.cursor } });
    expect(slow.events.length).toBeLessThan(total);
    const rest = await watch(eventsPath, { lastEventId: slow.cursor });
    await rest.reached(total - slow.events.length + 1);
    expect([...slow.events.slice(0, -1), ...rest.events].map((event) => event.data.ref)).toEqual(
      good.events.map((event) => event.data.ref),
    );
    await small.stop();
  }, 60_000);

  it('asks the database once for all watchers', async () => {
    const streams = await Promise.all(Array.from({ length: 50 }, async () => await watch(eventsPath)));
    await Promise.all(streams.map(async (stream) => await stream.until(() => stream.cursor !== '')));
    const { rows } = await server.pool.query<{ count: number }>(
      "select count(*)::integer as count from pg_stat_activity where query like 'listen virt8ra_feed%'",
    );
    expect(rows[0]?.count).toBe(1);
    await putDisk('d1');
    await Promise.all(streams.map(async (stream) => await stream.reached(1)));
  });

  it('ends every stream when the server stops, so that stopping does not wait for clients', async () => {
    const stream = await watch(eventsPath);
    await stream.until(() => stream.cursor !== '');
    await server.http.stop();
    await stream.ended;
    expect(stream.events.at(-1)).toMatchObject({ event: 'cut', data: { reason: 'stopping' } });
  });
});
