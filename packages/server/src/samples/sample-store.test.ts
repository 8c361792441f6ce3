import { startTestPostgres, type TestDatabase, type TestPostgres } from '@virt8ra/engine/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createSampleStore, sampleMigrations } from './sample-store.js';

let postgres: TestPostgres;
let database: TestDatabase;
beforeAll(async () => {
  postgres = await startTestPostgres();
  database = await postgres.createDatabase([...sampleMigrations]);
});
afterAll(async () => await postgres?.stop());

it('keeps an hour, tells the newest only while it is fresh, and finds a guest among many quickly', async () => {
  const store = createSampleStore(database.pool);
  // Two hours of a host with fifty guests, ending half a minute ago; and a host that fell silent.
  await database.pool.query(`
    insert into host_sample (host, at, body, guests)
    select 'full', clock_timestamp() - make_interval(secs => 30 + 10 * step), jsonb_build_object('cpu', step),
           (select jsonb_agg(jsonb_build_object('key', 'g' || guest, 'cpu', step, 'steal', 0, 'memoryBytes', 1)) from generate_series(1, 50) as guest)
      from generate_series(0, 719) as step`);
  await database.pool.query(`insert into host_sample values ('silent', clock_timestamp() - interval '2 minutes', '{"cpu": 1}', '[]')`);
  expect(await store.prune()).toBeGreaterThan(350);
  expect((await store.newest('all', 10)).map(({ host, cpu }) => [host, cpu])).toEqual([['full', 0]]);
  expect(await store.newest(['silent'], 10)).toEqual([]);
  expect(
    await store.newestOfGuests([
      { host: 'full', key: 'g7' },
      { host: 'silent', key: 'g7' },
    ]),
  ).toMatchObject([{ host: 'full', key: 'g7', cpu: 0 }]);
  const begun = performance.now();
  const history = await store.historyOfGuest('full', 'g50', 3600);
  expect(performance.now() - begun).toBeLessThan(2000);
  expect(history.length).toBeGreaterThan(350);
  expect(history.at(-1)).toMatchObject({ key: 'g50', cpu: 0 });
  expect(await store.historyOfHost('full', 60)).toHaveLength(3);
});
