import { generateKeyPairSync } from 'node:crypto';
import { activityLog } from '@virt8ra/contract';
import { createLeases, engineMigrations } from '@virt8ra/engine';
import type { Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestServer, type TestServer, workspacesPath } from '../http/testing/test-server.js';
import type { Store } from '../resources/store.js';
import { auditDescription } from './audit-description.js';
import { createAuditSigner } from './audit-key.js';
import { addAuditRoutes } from './audit-routes.js';
import { auditMigrations } from './migrations.js';
import { keepRefusals } from './refusals.js';
import { createSealer } from './sealer.js';

let server: TestServer;
const signer = createAuditSigner('eu-test', generateKeyPairSync('ed25519').privateKey);
const base = '/providers/virt8ra.audit/v1beta1';
const logs = '/providers/seca.activitylog/v1beta1/tenants/acme/workspaces';

beforeAll(async () => {
  // The routes are made before the database is known.
  const pool = {
    query: (...words: Parameters<Pool['query']>): unknown => server.pool.query(...words),
    connect: async () => await server.pool.connect(),
  };
  const store = { transaction: async (work: Parameters<Store['transaction']>[0]) => await server.store.transaction(work) };
  server = await startTestServer({
    extraKinds: [activityLog],
    extraDescriptions: [auditDescription],
    extraRoutes: [
      (app) =>
        keepRefusals(app, { store: store as Store, log: server?.log ?? { debug() {}, info() {}, warn() {}, error() {} }, perMinute: 3 }),
      (app) => addAuditRoutes(app, { pool: pool as unknown as Pool, signer }),
    ],
  });
  for (const { sql } of [...engineMigrations, ...auditMigrations]) await server.pool.query(sql);
}, 60_000);
afterAll(async () => await server?.stop());

const entries = async (path: string, token = 'acme-token') =>
  (await server.call('GET', path, { token })).json().items as Record<string, unknown>[];

describe('the audit over HTTP', () => {
  it('tells a tenant what was done in its workspaces, as SECA’s activity logs and with all that is known', async () => {
    await server.call('PUT', `${workspacesPath}/prod`, { body: { spec: null } });
    await server.call('PUT', `${workspacesPath}/other`, { body: { spec: null } });
    await server.call('DELETE', `${workspacesPath}/other`);
    await server.call('PUT', `${workspacesPath}/other`, { body: { spec: null }, token: 'other-token' });
    await expect.poll(async () => await entries(`${logs}/other/activity-logs`)).toHaveLength(3);

    const page = (await server.call('GET', `${logs}/other/activity-logs?limit=2`)).json();
    expect(page.items).toMatchObject([
      {
        spec: { subject: 'bob', request: { verb: 'put' }, response: { code: 403 } },
        extensions: { 'virt8ra.reason': expect.stringMatching(/^forbidden: /) },
      },
      {
        metadata: { kind: 'activity-log', provider: 'seca.activitylog/v1beta1', tenant: 'acme', workspace: 'other', region: 'eu-test' },
        spec: {
          subject: 'ann',
          request: { verb: 'delete', resource: 'seca.workspace/v1/tenants/acme/workspaces/other' },
          response: { code: 202 },
        },
        extensions: { 'virt8ra.remote': '127.0.0.1', 'virt8ra.before': expect.stringMatching(/^version 1 sha256 /) },
      },
    ]);
    const rest = await entries(`${logs}/other/activity-logs?limit=2&skipToken=${page.metadata.skipToken}`);
    expect(rest).toMatchObject([{ spec: { request: { verb: 'put' }, response: { code: 201 } } }]);
    const { name } = page.items[1].metadata;
    expect((await server.call('GET', `${logs}/other/activity-logs/${name}`)).json()).toEqual(page.items[1]);
    expect((await server.call('GET', `${logs}/prod/activity-logs/${name}`)).statusCode).toBe(404);
    expect(await entries(`${logs}/other/activity-logs?labels=a=b`)).toEqual([]);
    expect((await server.call('GET', `${logs}/prod/activity-logs`, { token: 'other-token' })).statusCode).toBe(403);
    expect((await server.call('PUT', `${logs}/prod/activity-logs/${name}`, { body: { spec: {} } })).statusCode).toBe(404);

    const resource = 'seca.workspace/v1/tenants/acme/workspaces/prod';
    expect(await entries(`${base}/tenants/acme/entries?resource=${resource}`)).toMatchObject([
      { subject: 'ann', decision: 'allowed', code: 201 },
    ]);
    expect((await server.call('GET', `${base}/entries`)).statusCode).toBe(403);
    await expect
      .poll(async () => (await entries(`${base}/entries`, 'operator-token'))[0]?.['resource'])
      .toBe('virt8ra.audit/v1beta1/entries');
  });

  it('keeps refusals of what is not allowed or stands in the way, but not all of somebody who is refused all the time', async () => {
    const codes = async () => (await entries(`${base}/entries`, 'operator-token')).map(({ code, subject }) => `${code} ${subject}`);
    await server.pool.query('truncate audit');
    await server.call('GET', `${workspacesPath}/prod`, { token: null });
    await server.call('PUT', `${workspacesPath}/UPPER`, { body: { spec: null } });
    await server.call('GET', `${workspacesPath}/missing`);
    for (let turn = 0; turn < 5; turn += 1) await server.call('GET', `${workspacesPath}/prod`, { token: 'wrong' });
    await server.call('PUT', '/providers/virt8ra.topology/v1beta1/sites/s1', {
      body: { spec: { accountRef: 'accounts/a', country: 'PL', tier: 'edge' } },
    });
    await expect.poll(codes).toEqual(['403 ann', '401 ', '401 ', '401 ']);
  });

  it('says whether it holds, and serves what it has by discovery', async () => {
    const sealer = createSealer({ pool: server.pool, leases: createLeases({ pool: server.pool }), owner: 'one', signer, log: server.log });
    await expect.poll(async () => (await sealer.seal()) ?? 0).toBe(0);
    const verify = async (query = '') => (await server.call('GET', `${base}/verification${query}`, { token: 'operator-token' })).json();
    const waiting = async () => {
      await sealer.seal();
      return (await verify()).unsealed.rows;
    };
    await expect.poll(waiting).toBe(0);
    const { head } = await verify();
    expect(await verify(`?head=${head.position}:${head.hash}`)).toMatchObject({ faultCount: 0 });
    expect(await verify('?head=nonsense')).toMatchObject({ status: 400 });
    await server.pool.query(`update audit set subject = 'eve' where id = (select id from audit_seal where position = 2)`);
    expect(await verify()).toMatchObject({ faultCount: 1, faults: [{ kind: 'changed', position: 2 }] });
    expect((await server.call('GET', `${base}/verification`)).statusCode).toBe(403);

    const { endpoints } = (await server.call('GET', '/.wellknown/secapi', { token: null })).json();
    expect(endpoints.map(({ provider }: { provider: string }) => provider)).toContain('seca.activitylog');
    await sealer.stop();
  });
});
