import type { Pool } from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { inTransaction } from '../database.js';
import { engineMigrations } from '../migrations.js';
import { startTestPostgres, type TestDatabase, type TestPostgres } from '../testing/postgres.js';
import { createRecordedLog } from '../testing/recorded-log.js';
import { createWorkQueue, type WorkHandler, type WorkQueue, type WorkQueueOptions } from './work-queue.js';

describe('work queue', () => {
  let postgres: TestPostgres;
  let database: TestDatabase;
  const queues: WorkQueue[] = [];

  beforeAll(async () => {
    postgres = await startTestPostgres();
    database = await postgres.createDatabase(engineMigrations);
  });
  afterEach(async () => {
    await Promise.all(queues.splice(0).map(async (queue) => await queue.stop()));
    await database.pool.query('truncate engine.work');
  });
  afterAll(async () => await postgres.stop());

  function makeQueue(options: Partial<WorkQueueOptions> = {}): WorkQueue {
    const queue = createWorkQueue({
      pool: database.pool,
      log: createRecordedLog(),
      owner: `replica-${queues.length + 1}`,
      backoff: { baseSeconds: 0.02, capSeconds: 0.05 },
      ...options,
    });
    queues.push(queue);
    return queue;
  }

  async function startQueue(handler: WorkHandler, options: Partial<WorkQueueOptions> = {}): Promise<WorkQueue> {
    const queue = makeQueue(options);
    queue.handle('thing', handler);
    await queue.start();
    return queue;
  }

  it('works when the nudging transaction commits and not when it is rolled back', async () => {
    const worked: string[] = [];
    const queue = await startQueue(async (key) => {
      worked.push(key);
      return { done: true };
    });

    const failing = inTransaction(database.pool, async (client) => {
      await queue.nudge('thing/rolled-back', {}, client);
      throw new Error('rolled back');
    });
    await expect(failing).rejects.toThrow('rolled back');
    await inTransaction(database.pool, async (client) => {
      await queue.nudge('thing/committed', {}, client);
    });

    await expect.poll(() => worked).toEqual(['thing/committed']);
    expect(await queue.list()).toMatchObject([{ key: 'thing/committed', attempts: 0 }]);
  });

  it('works again when a nudge arrives while it works', async () => {
    const seen: number[] = [];
    let state = 1;
    const started = signal();
    const goOn = signal();
    const queue = await startQueue(async () => {
      const read = state;
      started.fire();
      if (seen.length === 0) await goOn.fired;
      seen.push(read);
      return { done: true };
    });
    await queue.nudge('thing/1');
    await started.fired;

    state = 2;
    await queue.nudge('thing/1');
    goOn.fire();

    await expect.poll(() => seen).toEqual([1, 2]);
  });

  it('comes again by its timer after the seconds it was told', async () => {
    const times: number[] = [];
    const queue = await startQueue(async () => {
      times.push(performance.now());
      return times.length < 3 ? { waitSeconds: 0.3, reason: 'not yet' } : { done: true };
    });

    await queue.nudge('thing/1');

    await expect.poll(() => times.length, { timeout: 5000 }).toBe(3);
    const [first = 0, , third = 0] = times;
    expect(third - first).toBeGreaterThanOrEqual(590);
    expect(third - first).toBeLessThan(2000);
  });

  it('forgets what is gone, unless it was nudged meanwhile', async () => {
    let nudgedMeanwhile = false;
    const queue = await startQueue(async (key) => {
      if (key === 'thing/again' && !nudgedMeanwhile) {
        nudgedMeanwhile = true;
        await queue.nudge(key);
      }
      return { gone: true };
    });

    await queue.nudge(['thing/1', 'thing/again']);

    await expect.poll(async () => await queue.list()).toEqual([]);
  });

  it('serves a small lane although a big one came first', async () => {
    const lanes: string[] = [];
    const atWork: (() => void)[] = [];
    let watched = true;
    const queue = makeQueue({ concurrency: 2 });
    const big = Array.from({ length: 40 }, (_, index) => `thing/big-${index}`);
    await queue.nudge(big, { lane: 'big' });
    await queue.nudge(['thing/small-1', 'thing/small-2'], { lane: 'small' });
    queue.handle('thing', async (key) => {
      lanes.push(key.includes('small') ? 'small' : 'big');
      if (watched) await new Promise<void>((resolve) => atWork.push(resolve));
      return { done: true };
    });
    const goOn = (): void => {
      for (const resolve of atWork.splice(0)) resolve();
    };

    await queue.start();

    for (let round = 1; round <= 3; round += 1) {
      await expect.poll(() => atWork.length).toBe(2);
      if (round < 3) goOn();
    }
    expect(lanes.slice(0, 4).filter((lane) => lane === 'small')).toHaveLength(2);
    watched = false;
    goOn();
    await expect.poll(() => lanes.length).toBe(42);
  });

  it('serves a small lane although a flood of another is due since long', async () => {
    const lanes: string[] = [];
    const queue = makeQueue({ concurrency: 2 });
    await database.pool.query(
      `insert into engine.work (key, lane, due_at) select 'thing/flood-' || n, 'flood', now() - interval '1 hour' from generate_series(1, 1500) as n`,
    );
    await queue.nudge('thing/small', { lane: 'small' });
    queue.handle('thing', async (key) => {
      lanes.push(key.includes('small') ? 'small' : 'flood');
      await new Promise((resolve) => setImmediate(resolve));
      return { done: true };
    });

    await queue.start();

    await expect.poll(() => lanes).toContain('small');
    expect(lanes.indexOf('small')).toBeLessThan(6);
  });

  it('never works on a key twice at once, and misses none, with three replicas', async () => {
    const atWork = new Set<string>();
    const counts = new Map<string, number>();
    const overlaps: string[] = [];
    const handler: WorkHandler = async (key) => {
      if (atWork.has(key)) overlaps.push(key);
      atWork.add(key);
      await new Promise((resolve) => setTimeout(resolve, 2));
      atWork.delete(key);
      counts.set(key, (counts.get(key) ?? 0) + 1);
      return { done: true };
    };
    const queue = await startQueue(handler);
    await startQueue(handler);
    await startQueue(handler);

    await queue.nudge(
      Array.from({ length: 300 }, (_, index) => `thing/${index}`),
      { lane: 'a' },
    );

    await expect.poll(() => counts.size, { timeout: 10_000 }).toBe(300);
    expect(overlaps).toEqual([]);
    expect([...counts.values()].filter((count) => count !== 1)).toEqual([]);
  });

  it('repeats what fails, shows it, and goes on with the rest', async () => {
    let mended = false;
    const worked: string[] = [];
    const queue = await startQueue(async (key) => {
      if (key === 'thing/bad' && !mended) throw new Error('the provider said no');
      worked.push(key);
      return { done: true };
    });

    await queue.nudge(['thing/bad', 'thing/good']);

    await expect.poll(async () => (await queue.list({ failing: true }))[0]?.attempts).toBeGreaterThan(2);
    expect(await queue.list({ failing: true })).toMatchObject([{ key: 'thing/bad', outcome: 'failed', reason: 'the provider said no' }]);
    mended = true;
    await expect.poll(() => worked).toEqual(['thing/good', 'thing/bad']);
    await expect.poll(async () => await queue.list({ failing: true })).toEqual([]);
  });

  it('hands over the work of a replica that died when its lease runs out', async () => {
    const started = signal();
    const dying = await startQueue(
      async () => {
        started.fire();
        return await new Promise<never>(() => undefined);
      },
      { leaseSeconds: 0.5 },
    );
    await dying.nudge('thing/1');
    await started.fired;
    const taken: string[] = [];
    await startQueue(async (key) => {
      taken.push(key);
      return { done: true };
    });

    const diedAt = performance.now();
    await dying.stop({ abandon: true });

    await expect.poll(() => taken, { timeout: 5000 }).toEqual(['thing/1']);
    expect(performance.now() - diedAt).toBeLessThan(2500);
  });

  it('takes back its own work at once when it comes back under the same name', async () => {
    const started = signal();
    const dying = await startQueue(
      async () => {
        started.fire();
        return await new Promise<never>(() => undefined);
      },
      { owner: 'server-1', leaseSeconds: 60 },
    );
    await dying.nudge('thing/1');
    await started.fired;
    await dying.stop({ abandon: true });
    const taken = signal();

    await startQueue(
      async () => {
        taken.fire();
        return { done: true };
      },
      { owner: 'server-1' },
    );

    await taken.fired;
  });

  it('leaves nothing claimed behind an abandoned queue whose claim was under way', async () => {
    const pool = database.connect(2);
    const dying = await startQueue(async () => await new Promise<never>(() => undefined), { pool, owner: 'server-1', leaseSeconds: 60 });
    // One connection listens; with the other taken its claim has to wait.
    const taken = await pool.connect();
    await makeQueue().nudge('thing/1');
    await expect.poll(() => pool.waitingCount).toBe(1);

    const stopped = dying.stop({ abandon: true }).then(() => 'stopped');
    expect(await Promise.race([stopped, new Promise((resolve) => setTimeout(resolve, 100, 'waits'))])).toBe('waits');
    taken.release();
    await stopped;

    const worked: string[] = [];
    await startQueue(
      async (key) => {
        worked.push(key);
        return { done: true };
      },
      { owner: 'server-1' },
    );
    await expect.poll(() => worked).toEqual(['thing/1']);
  });

  it('keeps a lease for as long as the work lasts', async () => {
    let count = 0;
    const done = signal();
    const handler: WorkHandler = async () => {
      count += 1;
      await new Promise((resolve) => setTimeout(resolve, 1200));
      done.fire();
      return { done: true };
    };
    const queue = await startQueue(handler, { leaseSeconds: 0.4 });
    await startQueue(handler, { leaseSeconds: 0.4 });

    await queue.nudge('thing/1');

    await done.fired;
    expect(count).toBe(1);
  });

  it('hands over what it interrupts when it stops, without counting a failure', async () => {
    const started = signal();
    const stopping = await startQueue(async (_key, { signal: aborted }) => {
      started.fire();
      return await new Promise<never>((_resolve, reject) => {
        aborted.addEventListener('abort', () => reject(aborted.reason));
      });
    });
    await stopping.nudge('thing/1');
    await started.fired;
    const attempts: number[] = [];
    await startQueue(async (_key, context) => {
      attempts.push(context.attempts);
      return { done: true };
    });

    const stoppedAt = performance.now();
    await stopping.stop();

    await expect.poll(() => attempts).toEqual([0]);
    expect(performance.now() - stoppedAt).toBeLessThan(1000);
  });

  it('hears nudges again after its connections were cut', async () => {
    const worked: string[] = [];
    const log = createRecordedLog();
    const queue = await startQueue(
      async (key) => {
        worked.push(key);
        return { done: true };
      },
      { log, idleSeconds: 60 },
    );
    const reconnected = signal();
    queue.signals.on((event) => {
      if (event.type === 'connected') reconnected.fire();
    });

    await database.pool
      .query('select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()')
      .catch(() => undefined);
    await reconnected.fired;
    await queue.nudge('thing/1');

    await expect.poll(() => worked).toEqual(['thing/1']);
  });

  it('takes back at once what it could not put back while the database was away', async () => {
    const pool = database.connect(10);
    const query = pool.query.bind(pool) as (...words: unknown[]) => Promise<never>;
    let away = false;
    const asked = async (...words: unknown[]) => (away ? await Promise.reject(new Error('the database is away')) : await query(...words));
    pool.query = asked as unknown as Pool['query'];
    const log = createRecordedLog();
    let worked = 0;
    const queue = await startQueue(
      async () => {
        worked += 1;
        away = worked === 1;
        return { done: true };
      },
      { pool, log, leaseSeconds: 60, idleSeconds: 60 },
    );
    await queue.nudge('thing/1');
    await expect.poll(() => log.lines.map(({ message }) => message)).toContain('work could not be claimed');
    expect(worked).toBe(1);

    away = false;

    await expect.poll(() => worked, { timeout: 5000 }).toBe(2);
    await expect.poll(async () => (await queue.list())[0]).toMatchObject({ outcome: 'done', leasedBy: undefined });
    await queue.stop();
  });

  it('asks the database seldom when there is nothing to do', async () => {
    const pool = database.connect(10);
    const queue = await startQueue(async () => ({ waitSeconds: 3600 }), { pool });
    await queue.nudge('thing/1');
    await expect.poll(async () => (await queue.list())[0]?.outcome).toBe('wait');
    let queries = 0;
    pool.on('acquire', () => {
      queries += 1;
    });

    await new Promise((resolve) => setTimeout(resolve, 2500));

    expect(queries).toBeLessThanOrEqual(1);
    await queue.stop();
  });
});

function signal(): { readonly fired: Promise<void>; fire(): void } {
  let fire: () => void = () => undefined;
  const fired = new Promise<void>((resolve) => {
    fire = resolve;
  });
  return { fired, fire: () => fire() };
}
