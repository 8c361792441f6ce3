import { blockStorage, type Id, type Kind, network, subnet, workspace } from '@virt8ra/contract';
import { startTestPostgres, type TestPostgres } from '@virt8ra/engine/testing';
import fc from 'fast-check';
import type { Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createStore } from './create-store.js';
import { resourceMigrations } from './migrations.js';
import type { Store } from './store.js';

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startTestPostgres();
});
afterAll(async () => await postgres?.stop());

const names = ['one', 'two', 'three'];
const workers = 8;

interface Act {
  readonly make: boolean;
  readonly kind: number;
  readonly workspace: number;
  readonly fails: boolean;
}
const act: fc.Arbitrary<Act> = fc.record({
  make: fc.boolean(),
  kind: fc.nat(2),
  workspace: fc.nat(names.length - 1),
  fails: fc.integer({ min: 0, max: 9 }).map((chance) => chance === 0),
});

async function open(migrations = resourceMigrations): Promise<{ readonly store: Store; readonly pool: Pool }> {
  const { pool } = await postgres.createDatabase(migrations);
  return { pool, store: createStore({ pool, queue: { nudge: async () => undefined } }) };
}
const kindsHeld: readonly Kind[] = [blockStorage, network, subnet];

async function make(store: Store, kind: Kind, inWorkspace: string, name: string, fails = false): Promise<Id<'resource'>> {
  const address = { tenant: 'acme', workspace: inWorkspace, ...(kind === subnet ? { network: 'lan' } : {}), name };
  return await store.transaction(async (tx) => {
    const { uid } = await tx.put({ kind, address, spec: {}, state: 'active', conditions: [] });
    if (fails) throw new Error('undone');
    return uid;
  });
}
async function makeWorkspace(store: Store, name: string): Promise<Id<'resource'>> {
  const write = { kind: workspace, address: { tenant: 'acme', name }, spec: {}, state: 'active', conditions: [] } as const;
  return (await store.transaction(async (tx) => await tx.put(write))).uid;
}
async function held(store: Store): Promise<readonly number[]> {
  return await store.heldBy(names.map((name) => ({ tenant: 'acme', name })));
}
/** Counted one by one. */
async function real(pool: Pool): Promise<readonly number[]> {
  const { rows } = await pool.query<{ workspace: string; held: number }>(
    'select workspace, count(*)::integer as held from resource where workspace is not null group by workspace',
  );
  return names.map((name) => rows.find((row) => row.workspace === name)?.held ?? 0);
}
/** Workspaces whose load is not what they hold, in one snapshot. */
const drift = `
  select coalesce(load.workspace, there.workspace) as workspace, load.held, there.held as there
    from (select workspace, sum(held) as held from workspace_load group by workspace) as load
    full join (select workspace, count(*) as held from resource where workspace is not null group by workspace) as there using (workspace)
   where coalesce(load.held, 0) <> coalesce(there.held, 0)`;

describe('what a workspace holds', () => {
  it('is exact at every moment while many make and remove at once, some in vain', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(act, { minLength: 15, maxLength: 15 }), { minLength: workers, maxLength: workers }),
        async (plans) => {
          const { store, pool } = await open();
          const doomed = await makeWorkspace(store, 'doomed');
          let working = true;
          const drifts: unknown[] = [];
          const watching = (async () => {
            while (working) drifts.push(...(await pool.query(drift)).rows);
          })();
          await Promise.all(
            plans.map(async (plan, worker) => {
              const mine: Id<'resource'>[] = [];
              for (const [index, { make: makes, kind, workspace: at, fails }] of plan.entries()) {
                const uid = makes ? undefined : mine.pop();
                if (uid === undefined) {
                  const made = make(store, kindsHeld[kind] ?? subnet, names[at] ?? '', `r${worker}-${index}`, fails);
                  await made.then(
                    (each) => mine.push(each),
                    (error: Error) => expect(error.message).toBe('undone'),
                  );
                } else {
                  await store.transaction(async (tx) => await tx.remove(uid));
                }
              }
            }),
          );
          await store.transaction(async (tx) => await tx.remove(doomed));
          working = false;
          await watching;
          expect(drifts).toEqual([]);
          expect(await held(store)).toEqual(await real(pool));
          expect((await held(store)).reduce((sum, each) => sum + each, 0)).toBeGreaterThan(0);
          await pool.end();
        },
      ),
      { seed: 20_261_125, numRuns: 4, endOnFailure: true },
    );
  }, 60_000);

  it('is counted once for what was stored before it was kept', async () => {
    const before = resourceMigrations.filter(({ name }) => name < '0003');
    const { store, pool } = await open(before);
    await makeWorkspace(store, 'one');
    await make(store, blockStorage, 'one', 'a');
    await make(store, subnet, 'one', 'b');
    await make(store, network, 'two', 'c');
    for (const { name, sql } of resourceMigrations) if (name >= '0003') await pool.query(sql);
    expect(await held(store)).toEqual([2, 1, 0]);
    await make(store, network, 'two', 'd');
    expect(await held(store)).toEqual([2, 2, 0]);
  });

  it('is forgotten with the workspace, and begins at nothing under the same name', async () => {
    const { store, pool } = await open();
    const uid = await makeWorkspace(store, 'one');
    const held1 = await make(store, blockStorage, 'one', 'a');
    await store.transaction(async (tx) => await tx.remove(held1));
    await store.transaction(async (tx) => await tx.remove(uid));
    expect((await pool.query('select 1 from workspace_load')).rowCount).toBe(0);
    await makeWorkspace(store, 'one');
    await make(store, blockStorage, 'one', 'b');
    expect(await held(store)).toEqual([1, 0, 0]);
  });

  it('is read without a look at what is held', async () => {
    const { store, pool } = await open();
    await make(store, blockStorage, 'one', 'a');
    const client = await pool.connect();
    await client.query('begin');
    await client.query('lock table resource in access exclusive mode');
    expect(await held(store)).toEqual([1, 0, 0]);
    await client.query('rollback');
    client.release();
  });
});
