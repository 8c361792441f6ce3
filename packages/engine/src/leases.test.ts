import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LeaseLost } from './lease-lost.js';
import { createLeases, type Leases } from './leases.js';
import { engineMigrations } from './migrations.js';
import { startTestPostgres, type TestDatabase, type TestPostgres } from './testing/postgres.js';

describe('leases', () => {
  let postgres: TestPostgres;
  let database: TestDatabase;
  let leases: Leases;

  beforeAll(async () => {
    postgres = await startTestPostgres();
    database = await postgres.createDatabase([...engineMigrations, { name: 'note', sql: 'create table note (text text)' }]);
    leases = createLeases({ pool: database.pool });
  });
  afterAll(async () => await postgres.stop());

  async function take(name: string, owner: string, seconds: number): Promise<number> {
    const fence = await leases.acquire(name, owner, seconds);
    if (fence === undefined) throw new Error(`${name} is taken`);
    return fence;
  }

  it('gives a name to one owner at a time, and to the next when it is released', async () => {
    const fence = await take('sweep', 'one', 60);

    expect(await leases.acquire('sweep', 'two', 60)).toBeUndefined();
    await leases.release('sweep', fence);
    expect(await leases.acquire('sweep', 'two', 60)).toBeGreaterThan(fence);
  });

  it('lets another owner in when the lease has run out, and refuses the former one everywhere', async () => {
    const stale = await take('prune', 'one', 0);
    const current = await take('prune', 'two', 60);

    await expect(leases.renew('prune', stale, 60)).rejects.toBeInstanceOf(LeaseLost);
    const write = leases.guarded('prune', stale, async (client) => await client.query("insert into note values ('stale')"));
    await expect(write).rejects.toBeInstanceOf(LeaseLost);
    await leases.release('prune', stale);
    await leases.guarded('prune', current, async (client) => await client.query("insert into note values ('current')"));

    expect((await database.pool.query('select text from note')).rows).toEqual([{ text: 'current' }]);
  });

  it('makes a take-over wait for a guarded transaction under way', async () => {
    const order: string[] = [];
    const fence = await take('seal', 'one', 0);

    let takeOver: Promise<void> | undefined;
    await leases.guarded('seal', fence, async (client) => {
      takeOver = take('seal', 'two', 60).then(() => {
        order.push('taken over');
      });
      await expect
        .poll(async () => (await client.query('select 1 from pg_locks where not granted')).rowCount, { interval: 5 })
        .toBeGreaterThan(0);
      order.push('written');
    });
    await takeOver;

    expect(order).toEqual(['written', 'taken over']);
  });
});
