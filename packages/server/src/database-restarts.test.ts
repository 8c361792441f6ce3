import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { request as ask, get } from 'node:http';
import { join } from 'node:path';
import fc from 'fast-check';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { processesIn, signalProcess } from './database/processes.js';
import { comparePositions, positionFromText } from './resources/feed-position.js';
import { buildServer, type ServerProcess, startServer } from './testing/server-process.js';

const seed = fc.readConfigureGlobal()?.seed ?? 20_261_128;
const faults = fc.readConfigureGlobal()?.seed === undefined ? 3 : 12;
const clients = 8;

let outside: string;
let state: string;
let server: ServerProcess;
let url: string;
let token: string;

beforeAll(async () => {
  buildServer();
  outside = await mkdtemp('/tmp/virt8ra-restarts-');
  await chmod(outside, 0o755);
  state = join(outside, 'state');
  server = startServer(state);
  url = await server.ready();
  token = await server.adminToken();
}, 300_000);
afterAll(async () => {
  server?.child.kill('SIGKILL');
  for (const pid of await processesIn(join(state, 'pg', 'data'))) signalProcess(pid, 'SIGKILL');
  await rm(outside, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
}, 60_000);

interface Answer {
  /** 0: the connection broke. */
  readonly status: number;
  readonly code: string | undefined;
  readonly retryAfter: string | undefined;
  readonly body: {
    readonly annotations?: { readonly v?: string };
    readonly items?: readonly { readonly metadata: { readonly name: string } }[];
  };
}

async function call(method: string, path: string, body?: unknown): Promise<Answer> {
  const { hostname, port } = new URL(url);
  return await new Promise((resolve) => {
    const broken = (): void => resolve({ status: 0, code: undefined, retryAfter: undefined, body: {} });
    const headers = { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) };
    const sent = ask({ host: hostname, port, method, path, headers, agent: false, timeout: 30_000 }, (message) => {
      let text = '';
      message.setEncoding('utf8').on('data', (more: string) => {
        text += more;
      });
      message.once('error', broken);
      message.once('end', () => {
        const document = text === '' ? {} : JSON.parse(text);
        resolve({ status: message.statusCode ?? 0, code: document.code, retryAfter: message.headers['retry-after'], body: document });
      });
    });
    sent.once('timeout', () => sent.destroy());
    sent.once('error', broken);
    sent.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** Follows the feed over every cut: what it has seen, in order. */
function follow(path: string): {
  readonly seen: { readonly id: string; readonly name: string; readonly type: string; readonly v: string | undefined }[];
  cuts: number;
  begun(): boolean;
  /** Loses the connection, as a network would. */
  cut(): void;
  stop(): void;
} {
  const seen: { id: string; name: string; type: string; v: string | undefined }[] = [];
  let cursor = '';
  let stopped = false;
  let current: { destroy(): void } | undefined;
  const followed = {
    seen,
    cuts: 0,
    begun: () => cursor !== '',
    cut: () => current?.destroy(),
    stop() {
      stopped = true;
      current?.destroy();
    },
  };
  const connect = (): void => {
    if (stopped) return;
    let ended = false;
    const again = (): void => {
      if (ended) return;
      ended = true;
      followed.cuts += 1;
      setTimeout(connect, 50);
    };
    const headers = { authorization: `Bearer ${token}`, ...(cursor === '' ? {} : { 'last-event-id': cursor }) };
    current = get(`${url}${path}`, { headers, agent: false }, (message) => {
      let rest = '';
      message.setEncoding('utf8').on('data', (text: string) => {
        if (message.statusCode !== 200) return;
        const blocks = `${rest}${text}`.split('\n\n');
        rest = blocks.pop() ?? '';
        for (const block of blocks) {
          const field = (name: string) =>
            block
              .split('\n')
              .find((line) => line.startsWith(`${name}: `))
              ?.slice(name.length + 2);
          cursor = field('id') ?? cursor;
          const data = field('data');
          if (data === undefined || field('event') === 'cut') continue;
          const { type, ref, resource } = JSON.parse(data);
          seen.push({ id: cursor, name: ref.split('/').at(-1), type, v: resource?.annotations?.v });
        }
      });
      message.once('close', again);
      message.once('error', again);
    });
    (current as ReturnType<typeof get>).once('error', again);
  };
  connect();
  return followed;
}

const tenant = '/providers/seca.workspace/v1/tenants/default/workspaces';
const disks = '/providers/seca.storage/v1/tenants/default/workspaces/load/block-storages';
const gateways = '/providers/seca.network/v1/tenants/default/workspaces/load/internet-gateways';
const quotas = '/providers/virt8ra.quota/v1beta1/tenants/default/quotas/all';
const absent = 'absent';

describe('a database that is killed and stopped again and again under load', () => {
  it('has what was acknowledged, whole, and nothing else', { timeout: 600_000 }, async () => {
    expect((await call('PUT', `${tenant}/load`, { spec: {} })).status).toBe(201);
    expect((await call('PUT', quotas, { spec: { limits: { blockStorages: 100, storageGB: 1000 } } })).status).toBe(201);
    const watchers = Array.from({ length: 3 }, () =>
      follow('/providers/virt8ra.events/v1beta1/tenants/default/events?kinds=block-storage,internet-gateway'),
    );
    await expect.poll(() => watchers.every(({ begun }) => begun())).toBe(true);

    let random = seed;
    const draw = (below: number): number => {
      random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
      return Math.floor((random / 2 ** 32) * below);
    };
    /** What each may be, as far as its only writer knows. */
    const known = new Map<string, Set<string>>();
    const acknowledged = { puts: new Map<string, string>(), acts: 0 };
    const outcomes = new Map<string, number>();
    const wrong: string[] = [];
    let unknown = 0;
    let version = 0;
    let running = true;

    const act = async (client: number): Promise<void> => {
      const path = `${draw(2) === 0 ? disks : gateways}/c${client}-${draw(3)}`;
      const before = known.get(path) ?? new Set([absent]);
      const verb = ['PUT', 'PUT', 'PUT', 'GET', 'GET', 'DELETE', 'LIST'][draw(7)] ?? 'GET';
      version += 1;
      const v = String(version);
      const spec = path.startsWith(disks) ? { sizeGB: 1, skuRef: 'skus/rd100' } : {};
      const { status, code, retryAfter, body } =
        verb === 'LIST' ? await call('GET', disks) : await call(verb, path, verb === 'PUT' ? { annotations: { v }, spec } : undefined);
      const outcome = `${verb} ${status}${status === 503 ? ` ${code}` : ''}`;
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      if (status === 503 && retryAfter === undefined) wrong.push(`${outcome} without Retry-After`);
      if (![200, 201, 202, 404, 409, 503].includes(status)) wrong.push(`${outcome} ${code}`);
      if (verb === 'LIST') return;
      if (verb === 'GET') {
        if (status !== 200 && status !== 404) return;
        const found = status === 404 ? absent : (body.annotations?.v ?? 'nothing');
        // What is being deleted is seen for a moment.
        if (!before.has(found) && !(before.has(absent) && status === 200 && path.startsWith(disks)))
          wrong.push(`${path} is ${found}, not one of ${[...before].join(' ')}`);
        return;
      }
      const after = verb === 'PUT' ? v : absent;
      if (status === 200 || status === 201 || status === 202) {
        known.set(path, new Set([after]));
        acknowledged.acts += 1;
        if (verb === 'PUT') acknowledged.puts.set(v, path);
      } else if (code === 'unknown-outcome' || status === 0) {
        unknown += 1;
        known.set(path, new Set([...before, after]));
      }
    };
    const load = Array.from({ length: clients }, async (_, client) => {
      while (running) await act(client);
    });

    const data = join(state, 'pg', 'data');
    for (let fault = 0; fault < faults; fault += 1) {
      await new Promise((resolve) => setTimeout(resolve, 300 + draw(900)));
      const pids = await processesIn(data);
      const [postmaster = ''] = (await readFile(join(data, 'postmaster.pid'), 'utf8').catch(() => '')).split('\n');
      if (postmaster !== '') {
        if (fault % 3 === 0) for (const pid of pids) signalProcess(pid, 'SIGKILL');
        else if (fault % 3 === 1) signalProcess(Number(postmaster), 'SIGINT');
        else signalProcess(Number(postmaster), 'SIGKILL');
      }
      // A short absence of the database need not cut them; the way back must be found while it is away.
      for (const watcher of watchers) watcher.cut();
      const back = async (): Promise<string> => {
        const { status } = await call('GET', `${tenant}/load`);
        return server.child.exitCode === null ? String(status) : `the server ended: ${server.log().slice(-3000)}`;
      };
      await expect.poll(back, { timeout: 60_000, interval: 50 }).toMatch(/^(200|the server ended)/);
      expect(server.child.exitCode, server.log().slice(-3000)).toBeNull();
    }
    await new Promise((resolve) => setTimeout(resolve, 300));
    running = false;
    await Promise.all(load);
    const told = `${faults} faults, seed ${seed}: ${[...outcomes]
      .sort()
      .map(([outcome, count]) => `${outcome} ×${count}`)
      .join(', ')}; ${unknown} unknown; cuts ${watchers.map(({ cuts }) => cuts).join(' ')}`;
    process.stdout.write(`${told}\n`);
    expect(wrong.slice(0, 10), told).toEqual([]);
    expect(server.child.exitCode).toBeNull();

    // What is being deleted goes; then all is what its writer knows.
    const found = new Map<string, string>();
    for (const [path, may] of known) {
      await expect
        .poll(async () => {
          const { status, body } = await call('GET', path);
          found.set(path, status === 404 ? absent : (body.annotations?.v ?? 'nothing'));
          return may.has(found.get(path) ?? '');
        })
        .toBe(true);
    }
    const standing = [...found].filter(([path, v]) => path.startsWith(disks) && v !== absent).length;
    await expect.poll(async () => (await call('GET', disks)).body.items?.length).toBe(standing);
    expect((await call('GET', quotas)).body).toMatchObject({ status: { used: { blockStorages: standing, storageGB: standing } } });

    // Every change has its row, and no row is without a change.
    const client = new Client({
      host: join(state, 'pg', 'run'),
      user: 'virt8ra',
      password: (await readFile(join(state, 'pg', 'password'), 'utf8')).trim(),
      database: 'virt8ra',
    });
    await client.connect();
    const { rows } = await client.query<{ rows: number }>(
      `select count(*)::int as rows from audit where subject = 'admin' and code < 300 and resource ~ '/(block-storages|internet-gateways)/c[0-9]'`,
    );
    const { rows: puts } = await client.query<{ v: string }>(
      `select body -> 'annotations' ->> 'v' as v from feed where type = 'put' and kind in ('block-storage', 'internet-gateway')`,
    );
    await client.end();
    // A DELETE that is repeated while it lasts is acknowledged, and written down once.
    expect(rows[0]?.rows).toBeLessThanOrEqual(acknowledged.acts + unknown);
    expect(rows[0]?.rows).toBeGreaterThanOrEqual(acknowledged.puts.size);

    // Watchers have seen every change once, in order, over all cuts.
    const made = puts.map(({ v }) => v);
    expect(new Set(made).size).toBe(made.length);
    for (const v of acknowledged.puts.keys()) expect(made, `put ${v}`).toContain(v);
    for (const watcher of watchers) {
      expect(watcher.cuts, told).toBeGreaterThan(0);
      const ofPuts = (): readonly (string | undefined)[] => watcher.seen.filter(({ type }) => type === 'put').map(({ v }) => v);
      await expect.poll(() => ofPuts().length).toBe(made.length);
      expect(new Set(ofPuts())).toEqual(new Set(made));
      for (let at = 1; at < watcher.seen.length; at += 1) {
        const [one, other] = [watcher.seen[at - 1]?.id ?? '', watcher.seen[at]?.id ?? ''].map((id) => positionFromText(id, 'id'));
        if (one === undefined || other === undefined || comparePositions(one, other) >= 0)
          throw new Error(`event ${at} is out of order or doubled`);
      }
      watcher.stop();
    }
  });
});
