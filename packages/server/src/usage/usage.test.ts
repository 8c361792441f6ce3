import { blockStorage, instance, type Kind, publicIp, workspace } from '@virt8ra/contract';
import type { Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestServer, type TestServer } from '../http/testing/test-server.js';
import { quotaMigrations } from '../quotas/migrations.js';
import { sampleMigrations } from '../samples/sample-store.js';
import { meterUsage, pruneUsage } from './meter.js';
import { usageMigrations } from './migrations.js';
import { usageDescription } from './usage-description.js';
import { addUsageRoutes } from './usage-routes.js';

let server: TestServer;
let uids: Record<string, string>;
const base = '/providers/virt8ra.usage/v1beta1/tenants/acme';
const hour = Date.parse('2026-03-01T10:00:00Z');
const time = (seconds: number): Date => new Date(hour + seconds * 1000);

beforeAll(async () => {
  const pool = { query: (...words: Parameters<Pool['query']>): unknown => server.pool.query(...words) };
  server = await startTestServer({
    extraDescriptions: [usageDescription],
    extraRoutes: [(app) => addUsageRoutes(app, pool as unknown as Pool)],
  });
  for (const { sql } of [...quotaMigrations, ...sampleMigrations, ...usageMigrations]) await server.pool.query(sql);
  const make = async (kind: Kind, name: string): Promise<string> =>
    await server.store.transaction(async (tx) => {
      const place = kind === workspace ? { tenant: 'acme', name } : { tenant: 'acme', workspace: 'prod', name };
      return (await tx.put({ kind, address: place, spec: {}, state: 'active', conditions: [{ state: 'active' }] })).uid;
    });
  await make(workspace, 'prod');
  uids = {
    web: await make(instance, 'web'),
    idle: await make(instance, 'idle'),
    disk: await make(blockStorage, 'disk'),
    ip: await make(publicIp, 'ip'),
  };
  await server.pool.query('update resource set created_at = $1', [time(0)]);
  await server.pool.query(`update resource set created_at = $1 where kind = 'public-ip'`, [time(1800)]);
  const hold = `insert into quota_hold (uid, unit, tenant, workspace, amount) values ($1, $2, 'acme', 'prod', $3)`;
  for (const [name, unit, amount] of [
    ['web', 'vCPU', 2],
    ['web', 'ram', 4],
    ['disk', 'storageGB', 10],
  ] as const)
    await server.pool.query(hold, [uids[name], unit, amount]);
  const realize = `insert into realization (id, resource_uid, generation, role, facet, site, host, key, state, facts, created_at)
    values ($1, $2, $3, $4, $5, 's', $6, $1, 'present', '{}', $7)`;
  for (const [key, name, generation, role, facet, host] of [
    ['web-g1', 'web', 1, 'primary', 'instances', 'h1'],
    ['web-g2', 'web', 2, 'incoming', 'instances', 'h2'],
    ['disk-g1', 'disk', 1, 'primary', 'blockStorages', 'h1'],
  ] as const)
    await server.pool.query(realize, [key, uids[name], generation, role, facet, host, time(600)]);
}, 60_000);
afterAll(async () => await server?.stop());

const look = async (host: string, at: number, keys: readonly string[]) =>
  await server.pool.query('insert into host_sample (host, at, body, guests) values ($1, $2, $3, $4)', [
    host,
    time(at),
    '{}',
    JSON.stringify(keys.map((key) => ({ key }))),
  ]);
const records = async (path = `${base}/usage-records`, headers = {}) => await server.call('GET', path, { headers });

describe('usage records', () => {
  it('count what was seen running and nothing else, what was held, hour by hour, once however often it is asked', async () => {
    await meterUsage(server.pool, time(0));
    // Seen for 100 s; then nothing is known for 400 s; then it is seen for 10 s, and then the host is seen without it.
    for (let at = 0; at <= 100; at += 10) await look('h1', at, ['web-g1', 'stranger']);
    for (const at of [500, 510]) await look('h1', at, ['web-g1']);
    for (const at of [520, 530]) await look('h1', at, []);
    // The target of a move has a guest that waits for memory.
    for (const at of [500, 510]) await look('h2', at, ['web-g2']);
    await meterUsage(server.pool, time(105));
    await meterUsage(server.pool, time(105));
    await meterUsage(server.pool, time(900));
    // A server that was down for a while: nothing was seen, and what is held was held.
    await Promise.all([meterUsage(server.pool, time(4200)), meterUsage(server.pool, time(4200))]);
    await meterUsage(server.pool, time(4200));

    const { items } = (await records()).json();
    const seen = items.map(({ hour: at, name, seconds, vCPUSeconds, ramSeconds, storageGBSeconds }: Record<string, unknown>) => [
      String(at).slice(11, 16),
      name,
      seconds,
      vCPUSeconds ?? ramSeconds ?? storageGBSeconds,
    ]);
    expect(seen.toSorted()).toEqual(
      [
        ['10:00', 'web', 110, 220],
        ['10:00', 'disk', 3000, 30_000],
        ['10:00', 'ip', 1800, undefined],
        ['11:00', 'disk', 600, 6000],
        ['11:00', 'ip', 600, undefined],
      ].toSorted(),
    );
    expect(items.find(({ name }: { name: string }) => name === 'web')).toMatchObject({
      kind: 'instance',
      ramSeconds: 440,
      workspace: 'prod',
    });
  });

  it('are exported page by page as CSV or JSON lines, and bounded by hours', async () => {
    const csv: string[] = [];
    let token: string | undefined;
    do {
      const page = await records(`${base}/workspaces/prod/usage-records?limit=2${token === undefined ? '' : `&skipToken=${token}`}`, {
        accept: 'text/csv',
      });
      expect(page.headers['content-type']).toMatch(/^text\/csv/);
      csv.push(page.body);
      token = page.headers['x-skip-token'] as string | undefined;
    } while (token !== undefined);
    const lines = csv.join('').trimEnd().split('\r\n');
    expect([csv.length, lines.length]).toEqual([3, 6]);
    expect(lines[0]).toBe('hour,tenant,workspace,kind,name,uid,seconds,vCPUSeconds,ramSeconds,storageGBSeconds');
    expect(lines).toContain(`2026-03-01T10:00:00.000Z,acme,prod,instance,web,${uids['web']},110,220,440,`);

    const later = await records(`${base}/usage-records?from=2026-03-01T11:00:00Z`, { accept: 'application/x-ndjson' });
    expect(
      later.body
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line).name)
        .toSorted(),
    ).toEqual(['disk', 'ip']);
    expect((await records(`${base}/usage-records?to=2026-03-01`)).json().items).toEqual([]);
    expect((await records(`${base}/usage-records?from=yesterday`)).json()).toMatchObject({ status: 400, sources: [{ parameter: 'from' }] });
    expect((await server.call('GET', `${base}/usage-records`, { token: 'other-token' })).statusCode).toBe(403);
  });

  it('are forgotten after a quarter of a year', async () => {
    await server.pool.query(`insert into usage_record (tenant, workspace, hour, uid, kind, name, seconds)
      select 'acme', 'prod', now() - make_interval(days => days), 'res_old', 'public-ip', 'old', 1 from unnest('{91,93,200}'::int[]) as days`);
    await pruneUsage(server.pool);
    const { rows } = await server.pool.query(`select count(*)::int as count from usage_record where name = 'old'`);
    expect(rows[0].count).toBe(1);
  });
});
