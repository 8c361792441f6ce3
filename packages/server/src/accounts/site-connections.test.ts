import { account, site } from '@virt8ra/contract';
import type { Connection, Driver } from '@virt8ra/driver';
import { createRecordedLog, startTestPostgres, type TestPostgres } from '@virt8ra/engine/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createStore } from '../resources/create-store.js';
import { resourceMigrations } from '../resources/migrations.js';
import type { Store } from '../resources/store.js';
import { createSiteConnections, type SiteConnections } from './site-connections.js';

let postgres: TestPostgres;
let store: Store;
let connections: SiteConnections;
/** What the drivers did, in order. */
let done: string[];
let failNext: boolean;

beforeAll(async () => {
  postgres = await startTestPostgres();
});
afterAll(async () => await postgres?.stop());
beforeEach(async () => {
  const { pool } = await postgres.createDatabase(resourceMigrations);
  store = createStore({ pool, queue: { nudge: async () => undefined } });
  done = [];
  failNext = false;
  connections = createSiteConnections({ store, drivers: [driver('one'), driver('two')], log: createRecordedLog() });
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

  it('are tried again after a failure', async () => {
    await put(site, 'edge', { accountRef: 'accounts/first' });
    failNext = true;
    await expect(connections.connectionOf('edge')).rejects.toThrow('not now');
    await connections.connectionOf('edge');
    expect(done).toEqual(['open one/edge']);
  });
});
