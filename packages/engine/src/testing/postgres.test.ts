import { chmod, cp, lstat, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { startTestPostgres, type TestPostgres } from './postgres.js';
import { embeddedDirectory, hasPostgres } from './postgres-binaries.js';

describe('test PostgreSQL', () => {
  let postgres: TestPostgres | undefined;

  afterEach(async () => {
    await postgres?.stop();
    postgres = undefined;
  });

  for (const source of ['debian', 'embedded'] as const) {
    it(`starts from ${source} binaries and gives every database its own tables`, async (context) => {
      if (!(await hasPostgres(source))) context.skip(`no ${source} PostgreSQL on this machine`);
      postgres = await startTestPostgres({ source });
      const one = await postgres.createDatabase([{ name: '1', sql: 'create table only_here (id int)' }]);
      const two = await postgres.createDatabase();

      const inOne = await one.pool.query('select count(*)::int as count from only_here');

      expect(postgres.source).toBe(source);
      expect(inOne.rows).toEqual([{ count: 0 }]);
      await expect(two.pool.query('select * from only_here')).rejects.toThrow('does not exist');
    });
  }

  it('brings embedded binaries from where postgres may not go, and makes the library links they lack', async (context) => {
    const native = embeddedDirectory();
    if (native === undefined) return context.skip('no embedded PostgreSQL on this machine');
    const hidden = await mkdtemp(join(tmpdir(), 'virt8ra-hidden-'));
    try {
      await cp(native, join(hidden, 'native'), { recursive: true, filter: async (path) => !(await lstat(path)).isSymbolicLink() });
      await chmod(hidden, 0o700);

      postgres = await startTestPostgres({ source: 'embedded', native: join(hidden, 'native') });

      const { pool } = await postgres.createDatabase();
      expect((await pool.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
    } finally {
      await rm(hidden, { recursive: true });
    }
  });
});
