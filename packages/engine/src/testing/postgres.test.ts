import { afterEach, describe, expect, it } from 'vitest';
import { startTestPostgres, type TestPostgres } from './postgres.js';
import { hasPostgres } from './postgres-binaries.js';

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
});
