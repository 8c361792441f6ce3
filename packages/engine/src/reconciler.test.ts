import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { engineMigrations } from './migrations.js';
import { createWorkQueue, type WorkQueue } from './queue/work-queue.js';
import { createReconciler } from './reconciler.js';
import { startTestPostgres, type TestPostgres } from './testing/postgres.js';
import { createRecordedLog } from './testing/recorded-log.js';

describe('reconciler', () => {
  let postgres: TestPostgres;
  let queue: WorkQueue;

  beforeAll(async () => {
    postgres = await startTestPostgres();
    const { pool } = await postgres.createDatabase(engineMigrations);
    queue = createWorkQueue({ pool, log: createRecordedLog(), owner: 'replica-1' });
  });
  afterAll(async () => {
    await queue.stop();
    await postgres.stop();
  });

  it('hands each kind its ids and shows what each one waits for', async () => {
    const desired = new Map([['a', 2]]);
    const actual = new Map<string, number>();
    const reconciler = createReconciler({
      queue,
      log: createRecordedLog(),
      handlers: {
        counter: async (id) => {
          const want = desired.get(id);
          if (want === undefined) return { gone: true };
          const have = actual.get(id) ?? 0;
          if (have === want) return { done: true };
          actual.set(id, have + 1);
          return { waitSeconds: 0.05, reason: `has ${have} of ${want}` };
        },
        other: async () => ({ waitSeconds: 3600, reason: 'a person' }),
      },
    });
    await queue.start();

    await reconciler.nudge('counter', 'a');
    await reconciler.nudge('counter', 'deleted/meanwhile');
    await reconciler.nudge('other', 'b', { lane: 'tenant-1' });

    await expect
      .poll(async () => await reconciler.list())
      .toMatchObject([
        { key: 'counter/a', outcome: 'done', attempts: 0 },
        { key: 'other/b', outcome: 'wait', reason: 'a person', lane: 'tenant-1' },
      ]);
    expect(actual).toEqual(new Map([['a', 2]]));
  });

  it('refuses a kind that cannot be a key prefix, and a second handler for one', () => {
    const handler = async () => ({ done: true }) as const;

    expect(() => createReconciler({ queue, log: createRecordedLog(), handlers: { 'a/b': handler } })).toThrow('cannot name a kind');
    expect(() => createReconciler({ queue, log: createRecordedLog(), handlers: { other: handler } })).toThrow('has a handler already');
  });
});
