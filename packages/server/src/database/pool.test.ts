import { inTransaction } from '@virt8ra/engine';
import { startTestPostgres, type TestPostgres } from '@virt8ra/engine/testing';
import type { Pool, PoolClient } from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { closePool, createPool } from './pool.js';

let postgres: TestPostgres;
let pool: Pool;

beforeAll(async () => {
  postgres = await startTestPostgres();
  const database = await postgres.createDatabase([{ name: 'things', sql: 'create table thing (name text primary key)' }]);
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  pool = createPool({ connection: database.config, connections: 3, log });
}, 60_000);
afterAll(async () => {
  await closePool(pool);
  await postgres?.stop();
});

const add = (name: string) => ({ name: 'add-thing', text: 'insert into thing (name) values ($1)', values: [name] });
const things = async (): Promise<readonly string[]> =>
  (await pool.query<{ name: string }>('select name from thing order by name')).rows.map(({ name }) => name);

it('commits what was sent together with the commit', async () => {
  await inTransaction(
    pool,
    async (client) => await client.query(add('a')),
    (client) => [client.query(add('b')), client.query(add('c'))],
  );
  expect(await things()).toEqual(['a', 'b', 'c']);
});

it('keeps nothing of a transaction whose last statement fails, and the connection goes on', async () => {
  const failing = inTransaction(
    pool,
    async (client) => await client.query(add('d')),
    (client) => [client.query(add('a')), client.query(add('e'))],
  );
  await expect(failing).rejects.toMatchObject({ code: '23505' });
  const after = await Promise.all(['f', 'g', 'h', 'i'].map(async (name) => await inTransaction(pool, (client) => client.query(add(name)))));
  expect(after.map(({ rowCount }) => rowCount)).toEqual([1, 1, 1, 1]);
  expect(await things()).toEqual(['a', 'b', 'c', 'f', 'g', 'h', 'i']);
});

it('answers each of many statements sent at once on one connection, in their order and also beside one that fails', async () => {
  const client = await pool.connect();
  try {
    const answers = await Promise.allSettled(
      Array.from({ length: 50 }, async (_, index) => {
        const text = index === 20 ? 'select 1 / ($1::integer - 20) as value' : 'select $1::integer as value';
        const { rows } = await client.query<{ value: number }>({
          name: index % 2 === 0 && index !== 20 ? 'even' : '',
          text,
          values: [index],
        });
        return rows[0]?.value;
      }),
    );
    expect(answers.map((answer) => (answer.status === 'fulfilled' ? answer.value : answer.reason.code))).toEqual(
      Array.from({ length: 50 }, (_, index) => (index === 20 ? '22012' : index)),
    );
  } finally {
    client.release();
  }
});

it('fails what is under way when its connection breaks, and serves who asks next', async () => {
  const client = await pool.connect();
  client.on('error', () => undefined);
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
  const waiting = [client.query('select pg_sleep(60)'), client.query('select 1'), client.query('commit')];
  const outcomes = Promise.allSettled(waiting);
  await pool.query('select pg_terminate_backend($1)', [rows[0]?.pid]);
  expect((await outcomes).map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
  client.release(true);
  expect((await pool.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
});

it('survives the last word of a database on a connection that is just handed out', async () => {
  const client = await pool.connect();
  expect(client.emit('error', new Error('terminating connection due to unexpected postmaster exit'))).toBe(true);
  client.release(true);
  expect((await pool.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
});

it('says of a commit that was cut off that nobody knows, and of what was cut off before that it was not done', async () => {
  const end = async (pid: number): Promise<unknown> => await pool.query('select pg_terminate_backend($1)', [pid]);
  const pidOf = async (client: PoolClient): Promise<number> =>
    (await client.query<{ pid: number }>('select pg_backend_pid() as pid')).rows[0]?.pid ?? 0;
  const before = inTransaction(pool, async (client) => {
    await client.query(add('x'));
    await end(await pidOf(client));
    await client.query(add('y'));
  });
  await expect(before).rejects.toMatchObject({ kind: 'unavailable' });
  const during = inTransaction(
    pool,
    async (client) => {
      await client.query(add('z'));
      return await pidOf(client);
    },
    (client) => [client.query('select pg_terminate_backend(pg_backend_pid())')],
  );
  await expect(during).rejects.toMatchObject({ kind: 'unknown-outcome', retryAfterSeconds: 1 });
  expect(await things()).not.toContain('x');
});
