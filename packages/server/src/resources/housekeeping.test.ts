import { setTimeout as sleep } from 'node:timers/promises';
import { createRunner, defineWorkflow, engineMigrations } from '@virt8ra/engine';
import { createRecordedLog, startTestPostgres, type TestDatabase, type TestPostgres } from '@virt8ra/engine/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startHousekeeping } from './housekeeping.js';
import { resourceMigrations } from './migrations.js';

let postgres: TestPostgres;
let database: TestDatabase;

beforeAll(async () => {
  postgres = await startTestPostgres();
  database = await postgres.createDatabase([...engineMigrations, ...resourceMigrations]);
});
afterAll(async () => await postgres?.stop());

describe('housekeeping', () => {
  it('keeps runs for thirty days after their end, and those that live for ever', async () => {
    const log = createRecordedLog();
    const workflow = defineWorkflow<null, null>({ name: 'idle', version: 1, run: async () => null });
    const runner = createRunner({ pool: database.pool, workflows: [workflow], log, owner: 'test' });
    const begin = async (subject: string): Promise<string> => await runner.start(workflow, { subject, input: null });
    const [old, young, live] = [await begin('a/1'), await begin('a/2'), await begin('a/3')];
    const ended = `update engine.run set state = 'done', created_at = now() - interval '40 days', ended_at = now() - make_interval(days => $2) where id = $1`;
    await database.pool.query(ended, [old, 31]);
    await database.pool.query(ended, [young, 29]);
    await database.pool.query(`update engine.run set created_at = now() - interval '40 days' where id = $1`, [live]);

    const stop = startHousekeeping({ pool: database.pool, runner, log, everySeconds: 0.02 });
    while ((await runner.get(old)) !== undefined) await sleep(10);
    stop();
    expect((await runner.list()).map(({ id }) => id).toSorted()).toEqual([young, live].toSorted());
    await runner.queue.stop({ abandon: true });
  });
});
