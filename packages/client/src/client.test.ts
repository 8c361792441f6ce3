import { createHash, randomBytes } from 'node:crypto';
import { imageImport, instance, Problem, workspace } from '@virt8ra/contract';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createClient } from './client.js';
import { faultOf } from './exchange.js';
import type { FeedEvent } from './feed.js';
import { collectionPath, pathOf } from './path.js';
import { startTestControlPlane, type TestControlPlane } from './testing/test-control-plane.js';

let plane: TestControlPlane;
beforeEach(async () => {
  plane = await startTestControlPlane();
});
afterEach(() => plane.stop());

const web = { tenant: 't', workspace: 'w', name: 'web' };
const spec = { zone: 'any', skuRef: 'skus/S', bootVolume: { deviceRef: 'block-storages/root' } };
const client = (options: Partial<Parameters<typeof createClient>[0]> = {}) =>
  createClient({ server: plane.url, token: plane.token, ...options });

async function problemOf(work: Promise<unknown>): Promise<Problem> {
  return work.then(
    () => {
      throw new Error('no problem was raised');
    },
    (error: Problem) => error,
  );
}

describe('client', () => {
  it('creates, replaces, reads and deletes', async () => {
    expect((await client().put(instance, web, { spec })).created).toBe(true);
    expect((await client().put(instance, web, { spec: { ...spec, zone: 'a' } })).created).toBe(false);
    expect((await client().get(instance, web)).spec.zone).toBe('a');
    expect(await client().delete(instance, web)).toBe(true);
    plane.remove(instance, web);
    expect(await client().delete(instance, web)).toBe(false);
    expect(await client().find(instance, web)).toBeUndefined();
  });

  it('lists across pages and filters by label', async () => {
    for (let index = 0; index < 7; index += 1) {
      plane.set(workspace, { tenant: 't', name: `w${index}` }, { labels: { odd: String(index % 2) } });
    }
    const names = async (labels?: string) => {
      const found: string[] = [];
      const options = labels === undefined ? { pageSize: 2 } : { pageSize: 2, labels };
      for await (const item of client().list(workspace, { tenant: 't' }, options)) found.push(item.metadata.name);
      return found;
    };
    expect(await names()).toEqual(['w0', 'w1', 'w2', 'w3', 'w4', 'w5', 'w6']);
    expect(await names('odd=1')).toEqual(['w1', 'w3', 'w5']);
  });

  it('sends the lock and raises precondition-failed', async () => {
    plane.set(instance, web, { spec });
    const problem = await problemOf(client().put(instance, web, { spec }, { ifUnmodifiedSince: 99 }));
    expect(problem.kind).toBe('precondition-failed');
    expect(plane.seen.at(-1)?.headers['if-unmodified-since']).toBe('99');
  });

  it('repeats a GET over 503 and a cut, after the time that the server asked for', async () => {
    plane.set(instance, web, { spec });
    plane.faults.push({ method: 'GET', status: 503, retryAfterSeconds: 0 }, { method: 'GET', cut: 'before' });
    expect((await client().get(instance, web)).metadata.name).toBe('web');
    expect(plane.seen).toHaveLength(3);
  });

  it('gives up after its patience with the last problem', async () => {
    for (let index = 0; index < 50; index += 1) plane.faults.push({ method: 'GET', status: 503 });
    const problem = await problemOf(client({ patienceSeconds: 0.5 }).get(instance, web));
    expect(problem.kind).toBe('unavailable');
    expect(plane.seen.length).toBeGreaterThan(1);
  });

  it('repeats PUT and DELETE whose reply was lost', async () => {
    plane.faults.push({ method: 'PUT', cut: 'after' }, { method: 'DELETE', cut: 'after' });
    await client().put(instance, web, { spec });
    expect(plane.get(instance, web)?.spec).toEqual(spec);
    expect(await client().delete(instance, web)).toBe(true);
    expect(plane.seen.map((each) => each.method)).toEqual(['PUT', 'PUT', 'DELETE', 'DELETE']);
  });

  it('never repeats a POST whose reply was lost', async () => {
    plane.set(instance, web, { spec });
    plane.faults.push({ method: 'POST', cut: 'after' });
    const problem = await problemOf(client().act(instance, web, 'start'));
    expect(problem.kind).toBe('unknown-outcome');
    expect(plane.seen).toHaveLength(1);
  });

  it('never repeats a locked PUT whose reply was lost', async () => {
    plane.set(instance, web, { spec });
    const resourceVersion = plane.get(instance, web)?.metadata.resourceVersion ?? 0;
    plane.faults.push({ method: 'PUT', cut: 'after' });
    const problem = await problemOf(client().put(instance, web, { spec }, { ifUnmodifiedSince: resourceVersion }));
    expect(problem.kind).toBe('unknown-outcome');
    expect(plane.seen).toHaveLength(1);
  });

  it('says at once when nothing listens', async () => {
    const { url } = plane;
    await plane.stop();
    const problem = await problemOf(createClient({ server: url, token: 'x' }).get(instance, web));
    expect(faultOf(problem)).toBe('refused');
    expect(problem.message).toContain(url);
    plane = await startTestControlPlane();
  });

  it('says which token problem the server has', async () => {
    expect((await problemOf(client({ token: 'foreign' }).get(instance, web))).kind).toBe('unauthorized');
  });

  it('refuses names that would leave their place in the path', async () => {
    const problem = await problemOf(client().get(instance, { ...web, name: '../../x' }));
    expect(problem.kind).toBe('invalid-request');
    expect(plane.seen).toHaveLength(0);
  });

  it('refuses an address without its workspace', async () => {
    expect((await problemOf(client().get(instance, { tenant: 't', name: 'web' }))).message).toContain('workspace');
  });

  it('stops when its signal fires', async () => {
    const stop = new AbortController();
    for (let index = 0; index < 50; index += 1) plane.faults.push({ method: 'GET', status: 503, retryAfterSeconds: 60 });
    const work = problemOf(client({ signal: stop.signal, patienceSeconds: 600 }).get(instance, web));
    stop.abort();
    expect((await work).kind).toBe('cancelled');
  });
});

describe('tokens', () => {
  it('come from a source before each request, and once more when one was refused, for a POST too', async () => {
    plane.set(instance, web, { spec });
    const asked: (string | undefined)[] = [];
    const token = async (refused?: string) => {
      asked.push(refused);
      return refused === undefined ? 'old' : plane.token;
    };
    expect((await client({ token }).get(instance, web)).metadata.name).toBe('web');
    await client({ token }).act(instance, web, 'start');
    const feed = await client({ token }).events({ tenant: 't' });
    feed.close();
    expect(asked).toEqual([undefined, 'old', undefined, 'old', undefined, 'old']);
    expect(plane.seen.map(({ headers }) => headers['authorization'])).toEqual(
      [1, 2, 3].flatMap(() => ['Bearer old', `Bearer ${plane.token}`]),
    );
  });

  it('that are refused again, or have no other behind them, are said to be', async () => {
    for (const token of [() => 'foreign', (refused?: string) => `${refused ?? ''}x`]) {
      expect((await problemOf(client({ token }).get(instance, web))).kind).toBe('unauthorized');
    }
    expect(plane.seen).toHaveLength(3);
  });
});

describe('an operation of the description', () => {
  const path = { tenant: 't', workspace: 'w', name: 'web' };
  const item = '/providers/seca.compute/v1/tenants/{tenant}/workspaces/{workspace}/instances/{name}';

  it('is asked by its path and answered with its shape', async () => {
    const made = await client().request('PUT', item, { path, body: { spec }, header: { 'if-unmodified-since': 0 } });
    expect([made.metadata.name, made.spec.zone]).toEqual(['web', 'any']);
    const page = await client().request('GET', '/providers/seca.compute/v1/tenants/{tenant}/workspaces/{workspace}/instances', {
      path,
      query: { limit: 1 },
    });
    expect(page.items.map(({ metadata }) => metadata.ref)).toEqual([made.metadata.ref]);
    expect(await client().request('DELETE', item, { path })).toBeUndefined();
    expect(plane.seen.map(({ method, path: asked }) => `${method} ${asked}`)).toEqual([
      `PUT /${pathOf(instance, web)}`,
      `GET /${collectionPath(instance, web)}?limit=1`,
      `DELETE /${pathOf(instance, web)}`,
    ]);
    expect(plane.seen[0]?.headers['if-unmodified-since']).toBe('0');
  });

  it('raises the server’s problem, and its own for a part that leaves its place', async () => {
    expect((await problemOf(client().request('GET', item, { path }))).kind).toBe('not-found');
    expect((await problemOf(client().request('GET', item, { path: { ...path, name: '../x' } }))).kind).toBe('invalid-request');
    expect(plane.seen).toHaveLength(1);
  });
});

describe('waiting', () => {
  it('ends with the resource when it is as wanted, and with nothing when it is wanted to be gone', async () => {
    plane.set(instance, web, { spec, status: { state: 'creating', conditions: [] } });
    const states: unknown[] = [];
    const active = client().waitFor(instance, web, 'active', {
      onSighting({ resource }) {
        states.push(resource?.status?.state);
        if (states.length === 1) plane.setStatus(instance, web, { state: 'active' });
      },
    });
    expect((await active)?.spec.zone).toBe('any');
    expect(states).toEqual(['creating', 'active']);
    const gone = client().waitFor(instance, web, 'deleted', { onSighting: () => plane.remove(instance, web) });
    expect(await gone).toBeUndefined();
    expect((await problemOf(client().waitFor(instance, web, 'active'))).kind).toBe('not-found');
  });

  it('ends at its limit, when all is lost, and when it is called off', async () => {
    plane.set(instance, web, { spec, status: { state: 'error', conditions: [] } });
    const late = await problemOf(client().waitFor(instance, web, 'active', { timeoutSeconds: 0.2 }));
    expect([late.kind, late.facts, late.message]).toEqual(['unavailable', { waitedSeconds: 0.2 }, expect.stringContaining('it is error')]);
    const lost = () => new Problem('exhausted', 'there will be no room');
    expect((await problemOf(client().waitFor(instance, web, 'active', { lost }))).kind).toBe('exhausted');
    const signal = AbortSignal.timeout(50);
    expect((await problemOf(client().waitFor(instance, web, 'active', { timeoutSeconds: 60, signal }))).kind).toBe('cancelled');
  });
});

describe('feed', () => {
  it('resumes after a cut without losing or repeating an event', async () => {
    plane.set(instance, web, { spec });
    const feed = await client().events({ tenant: 't', kinds: ['instance'] });
    const seen: FeedEvent[] = [];
    const count = 60;
    for (let index = 0; index < 5; index += 1) plane.setStatus(instance, web, { step: index });
    let made = 5;
    for await (const event of feed) {
      seen.push(event);
      // Cut in the middle of things, with more happening while nobody listens.
      if (seen.length % 10 === 5) {
        plane.cutStreams();
        for (let index = 0; index < 10 && made < count; index += 1) plane.setStatus(instance, web, { step: made++ });
      }
      if (seen.length === count) break;
    }
    expect(seen.map((event) => (event.resource?.status as { step: number } | undefined)?.step)).toEqual(
      Array.from({ length: count }, (_, index) => index),
    );
    expect(plane.seen.filter((each) => each.headers['last-event-id'] !== undefined).length).toBeGreaterThan(1);
  });

  it('starts after a given cursor', async () => {
    for (let index = 0; index < 4; index += 1) plane.set(workspace, { tenant: 't', name: `w${index}` }, {});
    const feed = await client().events({ tenant: 't', since: '2' });
    for await (const event of feed) {
      expect(event.ref).toContain('workspaces/w2');
      break;
    }
  });

  it('raises the refusal of the server', async () => {
    const problem = await problemOf(client({ token: 'foreign' }).events({ tenant: 't' }));
    expect(problem.kind).toBe('unauthorized');
  });

  it('ends when it is closed', async () => {
    const feed = await client().events({ tenant: 't' });
    setImmediate(() => feed.close());
    const seen: FeedEvent[] = [];
    for await (const event of feed) seen.push(event);
    expect(seen).toEqual([]);
  });
});

describe('upload', () => {
  const address = { tenant: 't', name: 'guest' };
  const content = randomBytes(3 * 1024 * 1024 + 17);
  const source = {
    sizeBytes: content.length,
    async *read(start: number, end: number) {
      for (let at = start; at < end; at += 65536) yield content.subarray(at, Math.min(end, at + 65536));
    },
  };
  const digest = (octets: Buffer) => createHash('sha256').update(octets).digest('hex');

  it('goes on after cuts from where the server stands', async () => {
    plane.set(imageImport, address, {});
    plane.faults.push(
      { method: 'PATCH', afterBytes: 1_000_000 },
      { method: 'PATCH', afterBytes: 1_000_000 },
      { method: 'HEAD', status: 503 },
    );
    const told: number[] = [];
    await client().upload(address, source, { onProgress: (sent) => told.push(sent) });
    expect(digest(plane.contentOf('guest'))).toBe(digest(content));
    expect(told.at(-1)).toBe(content.length);
    const offsets = plane.seen.filter((each) => each.method === 'PATCH').map((each) => each.headers['upload-offset']);
    expect(offsets).toEqual(['0', '1000000', '2000000']);
  });

  it('survives a PATCH whose reply was lost', async () => {
    plane.set(imageImport, address, {});
    plane.faults.push({ method: 'PATCH', cut: 'after' });
    await client().upload(address, source);
    expect(digest(plane.contentOf('guest'))).toBe(digest(content));
    expect(plane.seen.filter((each) => each.method === 'PATCH')).toHaveLength(1);
  });

  it('takes a server that wants no more for one that has all, when only the last reply was lost', async () => {
    plane.set(imageImport, address, {});
    plane.onChange = (kind, changed, verb) => {
      if (verb === 'content') plane.setStatus(kind, changed, { phase: 'inspecting' });
    };
    plane.faults.push({ method: 'PATCH', cut: 'after' });
    await client().upload(address, source);
    expect(digest(plane.contentOf('guest'))).toBe(digest(content));
  });

  it('stops at a refusal', async () => {
    plane.set(imageImport, address, {});
    plane.faults.push({ method: 'PATCH', status: 413 });
    expect((await problemOf(client().upload(address, source))).kind).toBe('too-large');
  });
});
