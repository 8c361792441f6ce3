import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { DesiredState, Enrolment, ServerMessage } from '@virt8ra/contract';
import { createRecordedLog, hasPostgres, startTestPostgres, type TestPostgres } from '@virt8ra/engine/testing';
import { Client, type ClientConfig } from 'pg';
import type { TSchema } from 'typebox';
import { Check, Errors } from 'typebox/value';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type App, startApp } from './app.js';
import { parseConfig } from './config.js';
import { type SimulatedAgent, startSimulatedAgent } from './fleet/testing/simulated-agent.js';
import { createSimulatedHosts } from './fleet/testing/simulated-hosts.js';

const folder = fileURLToPath(new URL('../../../test/upgrade', import.meta.url));
const ready = (await hasPostgres('debian')) || (await hasPostgres('embedded'));
if (!ready) process.stdout.write('skipped: PostgreSQL is not installed\n');

/** Made by tools/earlier-state.mjs: what that commit’s server left in its database, and the shapes of its agents’ protocol. */
const commits = await readdir(folder);

describe.skipIf(!ready).each(commits)('the upgrade from %s', { timeout: 60_000 }, (commit) => {
  const hosts = createSimulatedHosts();
  let postgres: TestPostgres;
  let database: ClientConfig;
  let state: string;
  let app: App | undefined;
  let agent: SimulatedAgent | undefined;
  let protocol: { readonly ServerMessage: TSchema };

  const start = async (): Promise<App> => {
    const url = `postgres://postgres@localhost/${String(database.database)}?host=${encodeURIComponent(String(database.host))}`;
    const flags = ['--state', state, '--api-listen', '127.0.0.1:0', '--agents-listen', '127.0.0.1:0'];
    return await startApp(parseConfig(flags, { DATABASE_URL: url }, process.getuid?.() ?? 0), createRecordedLog());
  };
  const query = async (sql: string): Promise<readonly Record<string, unknown>[]> => {
    const client = new Client(database);
    await client.connect();
    try {
      const answer = await client.query<Record<string, unknown>>(sql);
      return answer.rows ?? [];
    } finally {
      await client.end();
    }
  };

  beforeAll(async () => {
    postgres = await startTestPostgres();
    ({ config: database } = await postgres.createDatabase());
    state = await mkdtemp(join(tmpdir(), 'virt8ra-upgrade-'));
    // Rows hold ids of the transactions that wrote them; in a real upgrade no later one is smaller.
    await query('do $$ begin for i in 1..5000 loop perform pg_current_xact_id(); commit; end loop; end $$');
    await query(await readFile(join(folder, commit, 'database.sql'), 'utf8'));
    // Of another state directory, with another CA; a real upgrade keeps both.
    await query('delete from fleet.authority');
    protocol = JSON.parse(await readFile(join(folder, commit, 'protocol.json'), 'utf8')) as typeof protocol;
  }, 60_000);
  afterAll(async () => {
    await agent?.stop();
    await app?.stop();
    await postgres?.stop();
    await rm(state, { recursive: true, force: true });
  }, 60_000);

  it('is refused, naming the run, while one of a workflow version that is gone is under way', async () => {
    await query(
      `insert into engine.run (id, workflow, version, subject, lane) values ('run_old', 'migration.move', 999, 'instance/res_none', 'default')`,
    );
    await expect(start()).rejects.toThrow(/migration\.move@999 \(run_old\)/);
    await query(`delete from engine.run where id = 'run_old'`);
  });

  it('brings the schema up, with its rows readable by the API, and an agent of that time goes on', async () => {
    app = await start();
    const { url, adminToken } = app;
    const token = (await readFile(adminToken.path, 'utf8')).trim();
    const call = async (method: string, path: string, body?: unknown): Promise<{ readonly status: number; readonly body: unknown }> => {
      const response = await fetch(`${url}/providers/${path}`, {
        method,
        headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const text = await response.text();
      return { status: response.status, body: text === '' ? undefined : JSON.parse(text) };
    };
    const shop = 'tenants/default/workspaces/shop';
    expect(await call('GET', 'seca.workspace/v1/tenants/default/workspaces/shop')).toMatchObject({
      status: 200,
      body: { labels: { env: 'prod' } },
    });
    expect(await call('GET', `seca.network/v1/${shop}/nics/web`)).toMatchObject({
      status: 200,
      body: { status: { addresses: ['10.30.0.2'] } },
    });
    expect(await call('GET', `seca.storage/v1/${shop}/block-storages/root`)).toMatchObject({ status: 200, body: { spec: { sizeGB: 1 } } });
    const old = await call('GET', `seca.compute/v1/${shop}/instances/web`);
    expect(old).toMatchObject({ status: 200, body: { spec: { skuRef: expect.anything() } } });
    const { items } = (await call('GET', 'virt8ra.audit/v1beta1/entries?limit=200')).body as {
      items: { verb: string; resource: string }[];
    };
    expect(items.some(({ verb, resource }) => verb === 'delete' && resource.endsWith('block-storages/gone'))).toBe(true);
    // Rows from before the audit was chained are chained now.
    await expect
      .poll(async () => (await call('GET', 'virt8ra.audit/v1beta1/verification')).body, { timeout: 20_000 })
      .toMatchObject({ faultCount: 0, unsealed: { rows: 0 } });

    // Its agent knows no feature, and takes no frame that its own protocol does not know.
    await call('PUT', 'virt8ra.topology/v1beta1/hosts/old-1', { spec: { siteRef: 'sites/here' } });
    const { body } = await call('POST', 'virt8ra.topology/v1beta1/hosts/old-1/enrol');
    const frames: ServerMessage[] = [];
    agent = await startSimulatedAgent({ enrolment: body as Enrolment, hosts, features: [], onFrame: (frame) => frames.push(frame) });
    await expect
      .poll(async () => (await call('GET', `seca.compute/v1/${shop}/instances/web`)).body, { timeout: 30_000 })
      .toMatchObject({ status: { activity: { value: 'running' }, state: 'active' } });
    const desired: DesiredState = agent.desired;
    expect(desired.instances).toHaveLength(1);
    expect(frames.length).toBeGreaterThan(1);
    for (const frame of frames)
      expect(Check(protocol.ServerMessage, frame), JSON.stringify([...Errors(protocol.ServerMessage, frame)].slice(0, 2))).toBe(true);
    // What it cannot do is refused by name, and changes nothing.
    expect(await call('POST', `seca.compute/v1/${shop}/instances/web/stop`)).toMatchObject({ status: 202 });
    await expect
      .poll(async () => (await call('GET', `seca.compute/v1/${shop}/instances/web`)).body, { timeout: 30_000 })
      .toMatchObject({ status: { activity: { value: 'stopped' } } });
    await call('DELETE', `seca.compute/v1/${shop}/instances/web`);
    await expect.poll(async () => (await call('GET', `seca.compute/v1/${shop}/instances/web`)).status, { timeout: 30_000 }).toBe(404);
  });
});
