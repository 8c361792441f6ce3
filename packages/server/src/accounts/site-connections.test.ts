import { randomBytes } from 'node:crypto';
import { account, site } from '@virt8ra/contract';
import type { Connection, Driver } from '@virt8ra/driver';
import { createRecordedLog, startTestPostgres, type TestPostgres } from '@virt8ra/engine/testing';
import type { Pool } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createStore } from '../resources/create-store.js';
import { resourceMigrations } from '../resources/migrations.js';
import type { Store } from '../resources/store.js';
import { createSecretBox } from '../secrets/secret-box.js';
import { type AccountCredentials, createAccountCredentials, credentialMigrations } from './account-credentials.js';
import { createSiteConnections, type SiteConnections } from './site-connections.js';

let postgres: TestPostgres;
let store: Store;
let connections: SiteConnections;
let credentials: AccountCredentials;
let pool: Pool;
/** What the drivers did, in order. */
let done: string[];
let failNext: boolean;

beforeAll(async () => {
  postgres = await startTestPostgres();
});
afterAll(async () => await postgres?.stop());
beforeEach(async () => {
  ({ pool } = await postgres.createDatabase([...resourceMigrations, ...credentialMigrations]));
  credentials = createAccountCredentials(pool, createSecretBox(randomBytes(32), 'accounts'));
  store = createStore({ pool, queue: { nudge: async () => undefined } });
  done = [];
  failNext = false;
  connections = createSiteConnections({ store, drivers: [driver('one'), driver('two'), told], credentials, log: createRecordedLog() });
  await put(account, 'first', { driver: 'one' });
  await put(account, 'second', { driver: 'two' });
  return async () => await connections.close();
});

function driver(name: string): Driver<unknown> {
  return {
    name,
    summary: '',
    lacks: {},
    parse: (input) => input,
    async connect(config) {
      if (failNext) {
        failNext = false;
        throw new Error('not now');
      }
      const what = `${name}/${(config as { site: string }).site}`;
      done.push(`open ${what}`);
      const capabilities = {
        settleSeconds: 0,
        maxVolumesPerInstance: 1,
        maxNicsPerInstance: 1,
        firmwares: [],
        migrationModes: [],
        enforcesPermits: false,
      };
      const connection: Connection = {
        capabilities,
        probe: async () => ({ healthy: true }),
        async close() {
          done.push(`close ${what}`);
        },
      };
      return connection;
    },
  };
}

/** What the driver that takes settings and credentials was given, each time. */
const given: unknown[] = [];
const told: Driver<unknown> = {
  ...driver('told'),
  access: { checkAccount: () => undefined, checkSite: () => undefined, checkCredentials: () => undefined },
  parse(input) {
    given.push(input);
    return input;
  },
};

async function put(kind: typeof site | typeof account, name: string, spec: unknown): Promise<void> {
  await store.transaction(async (tx) => await tx.put({ kind, address: { name }, spec, state: 'active', conditions: [] }));
}
async function remove(name: string): Promise<void> {
  await store.transaction(async (tx) => {
    const held = await tx.lockAt(site, { name });
    if (held !== undefined) await tx.remove(held.uid);
  });
}

describe('connections to sites', () => {
  it('are opened once, however many ask at the same moment', async () => {
    await put(site, 'edge', { accountRef: 'accounts/first' });
    const [one, two] = await Promise.all([connections.connectionOf('edge'), connections.connectionOf('edge')]);
    expect(one).toBe(two);
    expect(await connections.connectionOf('edge')).toBe(one);
    expect(done).toEqual(['open one/edge']);
  });

  it('are those of the site that is there now, not of an earlier one of the same name', async () => {
    await put(site, 'edge', { accountRef: 'accounts/first' });
    const before = await connections.connectionOf('edge');
    await remove('edge');
    await put(site, 'edge', { accountRef: 'accounts/second' });
    expect(await connections.connectionOf('edge')).not.toBe(before);
    await expect.poll(() => done.toSorted()).toEqual(['close one/edge', 'open one/edge', 'open two/edge']);
  });

  it('end with their site', async () => {
    await put(site, 'edge', { accountRef: 'accounts/first' });
    await connections.connectionOf('edge');
    await remove('edge');
    await expect(connections.connectionOf('edge')).rejects.toMatchObject({ kind: 'not-found' });
    await expect.poll(() => done).toEqual(['open one/edge', 'close one/edge']);
  });

  it('rest on the settings and credentials that are there now, and are opened anew when those change', async () => {
    given.length = 0;
    await put(account, 'cloud', { driver: 'told', settings: { url: 'a', region: 'north' } });
    await put(site, 'cloud', { accountRef: 'accounts/cloud', settings: { region: 'south' } });
    const first = await connections.connectionOf('cloud');
    expect(await connections.connectionOf('cloud')).toBe(first);
    expect(given).toEqual([{ site: 'cloud', settings: { url: 'a', region: 'south' } }]);
    const uid = (await store.get(account, { name: 'cloud' }))?.uid;
    if (uid === undefined) throw new Error('no account');
    for (const secret of ['one', 'two']) {
      await store.transaction(async (tx) => await credentials.put(tx.client, uid, { secret }));
      await Promise.all([connections.connectionOf('cloud'), connections.connectionOf('cloud')]);
    }
    await put(account, 'cloud', { driver: 'told', settings: { url: 'b' } });
    await connections.connectionOf('cloud');
    const settings = { url: 'a', region: 'south' };
    expect(given.slice(1)).toEqual([
      { site: 'cloud', settings, credentials: { secret: 'one' } },
      { site: 'cloud', settings, credentials: { secret: 'two' } },
      { site: 'cloud', settings: { url: 'b', region: 'south' }, credentials: { secret: 'two' } },
    ]);
    await expect.poll(() => done.filter((line) => line.startsWith('close'))).toHaveLength(3);
  });

  it('find credentials sealed in the database, for their own account alone', async () => {
    const [one, two] = [await store.get(account, { name: 'first' }), await store.get(account, { name: 'second' })];
    if (one === undefined || two === undefined) throw new Error('no accounts');
    await store.transaction(async (tx) => await credentials.put(tx.client, one.uid, { secret: 'a-word-to-hide' }));
    const { rows } = await pool.query<{ sealed: string }>('select * from account_credentials');
    expect(JSON.stringify(rows)).not.toContain('a-word-to-hide');
    expect(await credentials.read(one.uid)).toEqual({ secret: 'a-word-to-hide' });
    expect(await credentials.read(two.uid)).toBeUndefined();
    expect((await credentials.since([one.uid, two.uid])).size).toBe(1);
    await pool.query('update account_credentials set uid = $1', [two.uid]);
    await expect(credentials.read(two.uid)).rejects.toMatchObject({ kind: 'internal', message: expect.stringContaining('accounts.key') });
    await store.transaction(async (tx) => await tx.remove(two.uid));
    expect(await credentials.version(two.uid)).toBe(0);
  });

  it('are tried again after a failure', async () => {
    await put(site, 'edge', { accountRef: 'accounts/first' });
    failNext = true;
    await expect(connections.connectionOf('edge')).rejects.toThrow('not now');
    await connections.connectionOf('edge');
    expect(done).toEqual(['open one/edge']);
  });
});
