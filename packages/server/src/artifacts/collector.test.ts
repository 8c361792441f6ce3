import { backup, blockStorage, type Id } from '@virt8ra/contract';
import { startTestPostgres, type TestDatabase, type TestPostgres } from '@virt8ra/engine/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fleetMigrations } from '../fleet/migrations.js';
import { createStore } from '../resources/create-store.js';
import { resourceMigrations } from '../resources/migrations.js';
import { usedArtifacts } from './collector.js';

let postgres: TestPostgres;
let database: TestDatabase;

beforeAll(async () => {
  postgres = await startTestPostgres();
  database = await postgres.createDatabase([...resourceMigrations, ...fleetMigrations]);
});
afterAll(async () => await postgres?.stop());

const digest = (letter: string) => letter.repeat(64);
const place = { tenant: 'acme', workspace: 'prod' };

describe('what is not collected', () => {
  it('are backups, what is to be restored from them, and what is arriving', async () => {
    const store = createStore({ pool: database.pool, queue: { nudge: async () => undefined } });
    const put = async (kind: typeof backup | typeof blockStorage, name: string, status: object): Promise<Id<'resource'>> =>
      (
        await store.transaction(
          async (tx) =>
            await tx.put({ kind, address: { ...place, name }, spec: {}, status: { ...status }, state: 'active', conditions: [] }),
        )
      ).uid;
    await put(backup, 'kept', { phase: 'done', volumes: [{ sha256: digest('a') }, { sha256: digest('b') }] });
    await put(blockStorage, 'unmade', { restoredFrom: { sha256: digest('c') } });
    const made = await put(blockStorage, 'made', { restoredFrom: { sha256: digest('d') } });
    const arriving = await put(backup, 'arriving', { phase: 'sending', volumes: [{ sizeBytes: 1 }, { sizeBytes: 2 }] });
    const key = await store.transaction(async (tx) => {
      await tx.ledger.intend({ resourceUid: made, role: 'primary', facet: 'blockStorages', site: 'here', host: 'h1' });
      const facts = { plan: { volumes: [{}, {}] } };
      return (await tx.ledger.intend({ resourceUid: arriving, role: 'primary', facet: 'backups', site: 'here', host: 'h1', facts })).key;
    });

    const { digests, keys } = await usedArtifacts(database.pool);

    expect([...digests].sort()).toEqual([digest('a'), digest('b'), digest('c')]);
    expect([...keys].sort()).toEqual([`${key}-v0`, `${key}-v1`]);
  });
});
