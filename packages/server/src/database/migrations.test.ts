import { startTestPostgres, type TestDatabase, type TestPostgres } from '@virt8ra/engine/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { beginEpoch, databaseEpoch, type MigrationList, migrate } from './migrations.js';

const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const one = { name: '0001-one', sql: 'create table one (n int)' };
const two = { name: '0002-two', sql: 'alter table one add m int; insert into one values (1, 2)' };
const other = { name: '0001-other', sql: 'create table other (n int references pg_class (oid) not valid)' };
const first: readonly MigrationList[] = [{ area: 'a', migrations: [one] }];

let postgres: TestPostgres;
let database: TestDatabase;
beforeAll(async () => {
  postgres = await startTestPostgres();
}, 120_000);
afterAll(async () => await postgres.stop());
beforeEach(async () => {
  database = await postgres.createDatabase();
});

const applied = async (): Promise<string[]> =>
  (
    await database.pool.query<{ name: string }>(`select area || '/' || name as name from control.migration order by area, position`)
  ).rows.map(({ name }) => name);

describe('migrations', () => {
  it('are applied once, area by area and in order', async () => {
    await migrate(database.pool, first, silent);
    const lists = [
      { area: 'a', migrations: [one, two] },
      { area: 'b', migrations: [{ name: '0001-b', sql: 'create table b as select n, m from one' }] },
    ];
    await migrate(database.pool, lists, silent);
    await migrate(database.pool, lists, silent);

    expect(await applied()).toEqual(['a/0001-one', 'a/0002-two', 'b/0001-b']);
    expect((await database.pool.query('select n, m from b')).rows).toEqual([{ n: 1, m: 2 }]);
  });

  it('are applied once when several servers start together', async () => {
    await Promise.all(Array.from({ length: 5 }, async () => await migrate(database.pool, [{ area: 'a', migrations: [one, two] }], silent)));

    expect((await database.pool.query('select * from one')).rowCount).toBe(1);
  });

  it('leave nothing of one that fails, and keep those before it', async () => {
    const bad = { name: '0002-bad', sql: 'create table half (n int); select 1 / 0' };
    await expect(migrate(database.pool, [{ area: 'a', migrations: [one, bad] }], silent)).rejects.toThrow(
      'a/0002-bad failed and was rolled back: division by zero',
    );

    expect(await applied()).toEqual(['a/0001-one']);
    await expect(database.pool.query('select * from half')).rejects.toThrow('does not exist');
    await migrate(database.pool, [{ area: 'a', migrations: [one, two] }], silent);
  });

  it.each<{ title: string; lists: readonly MigrationList[]; reason: string }>([
    { title: 'a migration it does not know', lists: first, reason: 'changed by a newer server: it knows migration a/0002-two' },
    { title: 'an area it does not know', lists: [], reason: 'changed by a newer server' },
    {
      title: 'a migration with other content',
      lists: [{ area: 'a', migrations: [one, { ...two, sql: 'select 1' }] }],
      reason: 'must not be edited',
    },
    {
      title: 'a migration put between',
      lists: [{ area: 'a', migrations: [one, { name: '0001b', sql: 'select 1' }, two] }],
      reason: 'new migrations go to the end',
    },
  ])('refuse a database with $title, and change nothing', async ({ lists, reason }) => {
    await migrate(database.pool, [{ area: 'a', migrations: [one, two] }], silent);

    await expect(migrate(database.pool, [{ area: 'z', migrations: [other] }, ...lists], silent)).rejects.toMatchObject({
      kind: 'conflict',
      message: expect.stringContaining(reason),
    });
    expect(await applied()).toEqual(['a/0001-one', 'a/0002-two']);
  });
});

describe('epoch', () => {
  it('is made once, and anew by a restore', async () => {
    await migrate(database.pool, first, silent);
    const epochs = await Promise.all([databaseEpoch(database.pool), databaseEpoch(database.pool)]);
    expect(new Set(epochs).size).toBe(1);

    const next = await beginEpoch(database.pool);
    expect(next).not.toBe(epochs[0]);
    expect(await databaseEpoch(database.pool)).toBe(next);
  });
});
