import { Problem } from '@virt8ra/contract';
import { startTestPostgres } from '@virt8ra/engine/testing';
import { describe, expect, it } from 'vitest';
import { problemOf } from './database-problem.js';
import { createPool } from './pool.js';

const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

describe('database problem', () => {
  it('is unavailable for requests caught by a dying database and for those after it, and the pool comes back', {
    timeout: 60_000,
  }, async () => {
    const postgres = await startTestPostgres();
    const { config } = await postgres.createDatabase();
    const pool = createPool({ connection: config, connections: 4, log: silent });
    try {
      await pool.query('select 1');
      const caught = pool.query('select pg_sleep(30)').then(
        () => undefined,
        (error: unknown) => error,
      );
      const admin = createPool({ connection: config, connections: 1, log: silent });
      await expect
        .poll(
          async () =>
            (await admin.query(`select 1 from pg_stat_activity where query like 'select pg_sleep%' and state = 'active'`)).rowCount,
        )
        .toBe(1);
      await admin.query(
        `select pg_terminate_backend(pid) from pg_stat_activity where query like 'select pg_sleep%' and pid <> pg_backend_pid()`,
      );
      expect(await caught).toMatchObject({ kind: 'unavailable', retryAfterSeconds: 1 });
      expect((await pool.query('select 1 as one')).rows).toEqual([{ one: 1 }]);

      const client = await pool.connect();
      client.on('error', () => undefined);
      await client.query('begin');
      await expect(client.query('select 1 / 0')).rejects.toMatchObject({ code: '22012' });
      await client.query('rollback');
      await admin.query(`select pg_terminate_backend(pid) from pg_stat_activity where state = 'idle' and pid <> pg_backend_pid()`);
      await expect
        .poll(async () => (await client.query('select 1').catch((error: unknown) => error)) as object)
        .toMatchObject({ kind: 'unavailable' });
      client.release(true);
      await admin.end();
    } finally {
      await postgres.stop();
    }
    await expect(pool.query('select 1')).rejects.toMatchObject({ kind: 'unavailable' });
    await expect(pool.connect()).rejects.toMatchObject({ kind: 'unavailable' });
    await pool.end();
  });

  it('leaves faults of a statement internal, and problems as they are', () => {
    expect(problemOf(Object.assign(new Error('syntax error'), { code: '42601' }))).toMatchObject({ kind: 'internal' });
    expect(problemOf(Object.assign(new Error('no such file'), { code: 'ENOENT', syscall: 'open' }))).toMatchObject({ kind: 'internal' });
    const problem = new Problem('conflict', 'x');
    expect(problemOf(problem)).toBe(problem);
  });
});
