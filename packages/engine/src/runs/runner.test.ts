import { Problem } from '@virt8ra/contract';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { inTransaction } from '../database.js';
import { engineMigrations } from '../migrations.js';
import { startTestPostgres, type TestDatabase, type TestPostgres } from '../testing/postgres.js';
import { createRecordedLog } from '../testing/recorded-log.js';
import { createRunner, type Runner, type RunnerOptions } from './runner.js';
import { defineWorkflow, type Workflow } from './workflow.js';

describe('runner', () => {
  let postgres: TestPostgres;
  let database: TestDatabase;
  const runners: Runner[] = [];
  let subjects = 0;

  beforeAll(async () => {
    postgres = await startTestPostgres();
    database = await postgres.createDatabase(engineMigrations);
  });
  afterEach(async () => {
    await Promise.all(runners.splice(0).map(async (runner) => await runner.stop()));
    await database.pool.query('truncate engine.run, engine.journal, engine.work cascade');
  });
  afterAll(async () => await postgres.stop());

  async function startRunner(workflows: readonly Workflow[], options: Partial<RunnerOptions> = {}): Promise<Runner> {
    const runner = createRunner({
      pool: database.pool,
      workflows,
      log: createRecordedLog(),
      owner: `replica-${runners.length + 1}`,
      backoff: { baseSeconds: 0.01, capSeconds: 0.05 },
      ...options,
    });
    runners.push(runner);
    await runner.startWork();
    return runner;
  }

  function subject(): string {
    subjects += 1;
    return `thing/${subjects}`;
  }

  it('does the steps in order, gives each its key and answers the output', async () => {
    const keys: string[] = [];
    const workflow = defineWorkflow({
      name: 'add',
      version: 1,
      run: async (run, input: { readonly left: number; readonly right: number }) => {
        const sum = await run.step('sum', async ({ key }) => {
          keys.push(key);
          return { value: input.left + input.right };
        });
        await run.step('note', async ({ key }) => {
          keys.push(key);
        });
        return sum.value;
      },
    });
    const runner = await startRunner([workflow]);

    const id = await runner.start(workflow, { subject: subject(), input: { left: 1, right: 2 } });
    const run = await runner.ended(id, 10);

    expect(run).toMatchObject({ state: 'done', output: 3 });
    expect(run.steps.map((step) => step.result)).toEqual([{ value: 3 }, undefined]);
    expect(keys).toEqual([`${id}/sum`, `${id}/note`]);
  });

  it('undoes newest first, the failed step included, with results where known', async () => {
    const undone: unknown[] = [];
    const undo = (name: string) => async (_context: unknown, result: unknown) => {
      undone.push([name, result]);
    };
    const workflow = defineWorkflow({
      name: 'fails',
      version: 1,
      run: async (run) => {
        await run.step('one', async () => 'first', undo('one'));
        await run.step('two', async () => null, undo('two'));
        await run.step(
          'three',
          async () => {
            throw new Problem('forbidden', 'not you');
          },
          undo('three'),
        );
      },
    });
    const runner = await startRunner([workflow]);

    const run = await runner.ended(await runner.start(workflow, { subject: subject(), input: undefined }), 10);

    expect(run).toMatchObject({ state: 'undone', problem: { kind: 'forbidden', message: 'not you' } });
    expect(undone).toEqual([
      ['three', undefined],
      ['two', null],
      ['one', 'first'],
    ]);
  });

  it('parks a wait, is woken by a nudge, and does not repeat what is recorded', async () => {
    let arrived = false;
    let before = 0;
    const workflow = defineWorkflow({
      name: 'waits',
      version: 1,
      run: async (run) => {
        await run.step('before', async () => {
          before += 1;
        });
        return await run.wait('arrival', async () => (arrived ? { done: 'here' } : { waitSeconds: 3600 }), { timeoutSeconds: 7200 });
      },
    });
    const runner = await startRunner([workflow]);
    const about = subject();
    const id = await runner.start(workflow, { subject: about, input: undefined });
    await expect.poll(async () => (await runner.get(id))?.state).toBe('waiting');

    arrived = true;
    await runner.nudge(about);

    expect(await runner.ended(id, 10)).toMatchObject({ state: 'done', output: 'here' });
    expect(before).toBe(1);
  });

  it('starts with the transaction it is given, or not at all', async () => {
    const runner = await startRunner([noop]);
    const about = subject();

    const failing = inTransaction(database.pool, async (client) => {
      await runner.start(noop, { subject: about, input: null }, client);
      throw new Error('rolled back');
    });

    await expect(failing).rejects.toThrow('rolled back');
    expect(await runner.list({ subject: about })).toEqual([]);
  });

  it('refuses a second live run of a subject by naming the first, and answers the same run for the same idempotency key', async () => {
    const runner = await startRunner([waiting, noop]);
    const about = subject();
    const first = await runner.start(waiting, { subject: about, input: null, idempotencyKey: 'k' });

    const again = await runner.start(waiting, { subject: about, input: null, idempotencyKey: 'k' });
    const second = runner.start(noop, { subject: about, input: null });

    expect(again).toBe(first);
    await expect(second).rejects.toMatchObject({ kind: 'conflict', facts: { runId: first, workflow: 'waiting' } });
  });

  it('starts one of many runs begun at once for a subject', async () => {
    const runner = await startRunner([waiting]);
    const about = subject();

    const results = await Promise.allSettled(
      Array.from({ length: 8 }, async () => await runner.start(waiting, { subject: about, input: null })),
    );

    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
    expect(await runner.list({ subject: about })).toHaveLength(1);
  });

  it('repeats a step that says later or verify, and gives up after its attempts', async () => {
    const attempts: number[] = [];
    const workflow = defineWorkflow({
      name: 'flaky',
      version: 1,
      run: async (run) => {
        await run.step('works-at-last', async ({ attempt }) => {
          attempts.push(attempt);
          if (attempt === 1) throw new Problem('unavailable', 'away');
          if (attempt === 2) throw new Problem('unknown-outcome', 'no reply');
        });
        await run.step(
          'never-works',
          async () => {
            throw new Problem('throttled', 'slow down');
          },
          undefined,
          { attempts: 3 },
        );
      },
    });
    const runner = await startRunner([workflow]);

    const run = await runner.ended(await runner.start(workflow, { subject: subject(), input: null }), 10);

    expect(attempts).toEqual([1, 2, 3]);
    expect(run).toMatchObject({ state: 'undone', problem: { kind: 'throttled' } });
    expect(run.steps.map((step) => step.failures)).toEqual([2, 3]);
  });

  it('undoes on errors that are no problems, and on results that are not JSON', async () => {
    for (const act of [async () => JSON.parse('{'), async () => ({ at: new Date(0) }), async () => Number.NaN]) {
      let undone = 0;
      const workflow = defineWorkflow({
        name: 'wrong',
        version: 1,
        run: async (run) => {
          await run.step('wrong', act, async () => {
            undone += 1;
          });
        },
      });
      const runner = await startRunner([workflow]);

      const run = await runner.ended(await runner.start(workflow, { subject: subject(), input: null }), 10);
      await runners.pop()?.stop();

      expect(run).toMatchObject({ state: 'undone', problem: { kind: 'internal' } });
      expect(undone).toBe(1);
    }
  });

  it('gives up a wait after its time', async () => {
    const workflow = defineWorkflow({
      name: 'waits-in-vain',
      version: 1,
      run: async (run) => await run.wait('godot', async () => ({ waitSeconds: 60 }), { timeoutSeconds: 0.2 }),
    });
    const runner = await startRunner([workflow]);

    const run = await runner.ended(await runner.start(workflow, { subject: subject(), input: null }), 10);

    expect(run).toMatchObject({ state: 'undone', problem: { kind: 'unavailable', message: 'waited 0.2 s for "godot" in vain' } });
  });

  it('aborts the step in flight when it is cancelled, and undoes it', async () => {
    const started = gate();
    let undone = false;
    const workflow = defineWorkflow({
      name: 'long',
      version: 1,
      run: async (run) => {
        await run.step(
          'copy',
          async ({ signal }) => {
            started.open();
            await new Promise<void>((_resolve, reject) => {
              signal.addEventListener('abort', () => reject(new Error('aborted')));
            });
          },
          async () => {
            undone = true;
          },
        );
      },
    });
    const runner = await startRunner([workflow]);
    const id = await runner.start(workflow, { subject: subject(), input: null });
    await started.opened;

    await runner.cancel(id, 'no longer wanted');

    expect(await runner.ended(id, 5)).toMatchObject({ state: 'undone', problem: { kind: 'cancelled', message: 'no longer wanted' } });
    expect(undone).toBe(true);
    await expect(runner.cancel(id, 'again')).rejects.toMatchObject({ kind: 'conflict' });
    await expect(runner.cancel('run_0', 'nothing')).rejects.toMatchObject({ kind: 'not-found' });
  });

  it('ends a wait when it is cancelled', async () => {
    const runner = await startRunner([waiting]);
    const id = await runner.start(waiting, { subject: subject(), input: null });
    await expect.poll(async () => (await runner.get(id))?.state).toBe('waiting');

    await runner.cancel(id, 'enough');

    expect(await runner.ended(id, 5)).toMatchObject({ state: 'undone', problem: { kind: 'cancelled' } });
  });

  it('goes forward only after the commit point, whatever fails, and refuses to be cancelled', async () => {
    let failures = 0;
    let undone = 0;
    const failed = gate();
    const mended = gate();
    const workflow = defineWorkflow({
      name: 'commits',
      version: 1,
      run: async (run) => {
        await run.step(
          'prepare',
          async () => undefined,
          async () => {
            undone += 1;
          },
        );
        await run.commit('switch');
        await run.step(
          'clean',
          async () => {
            failures += 1;
            if (failures > 2) failed.open();
            if (failures < 5) throw failures % 2 === 0 ? new Error('bug') : new Problem('forbidden', 'no');
            await mended.opened;
          },
          undefined,
          { attempts: 1 },
        );
      },
    });
    const runner = await startRunner([workflow]);
    const id = await runner.start(workflow, { subject: subject(), input: null });
    await failed.opened;

    const refused = runner.cancel(id, 'too late');
    await expect(refused).rejects.toMatchObject({ kind: 'conflict', message: expect.stringContaining('commit point "switch"') });
    mended.open();

    expect(await runner.ended(id, 5)).toMatchObject({ state: 'done', commitPoint: 'switch' });
    expect({ failures, undone }).toEqual({ failures: 5, undone: 0 });
  });

  it('retries an undo until it works', async () => {
    let tries = 0;
    const workflow = defineWorkflow({
      name: 'hard-to-undo',
      version: 1,
      run: async (run) => {
        await run.step(
          'make',
          async () => undefined,
          async () => {
            tries += 1;
            if (tries < 4) throw new Error('the provider is away');
          },
        );
        throw new Problem('exhausted', 'no room');
      },
    });
    const runner = await startRunner([workflow]);

    const run = await runner.ended(await runner.start(workflow, { subject: subject(), input: null }), 10);

    expect(run).toMatchObject({ state: 'undone', problem: { kind: 'exhausted' } });
    expect(run.steps[0]).toMatchObject({ undoAttempts: 4, undoFailures: 3 });
  });

  it('freezes a run whose steps share a name, run side by side, or are not awaited', async () => {
    const cases: readonly { readonly body: Workflow['run']; readonly message: string }[] = [
      {
        body: async (run) => {
          await run.step('same', async () => 1);
          await run.step('same', async () => 2);
        },
        message: 'two steps are named "same"',
      },
      {
        body: async (run) => {
          await Promise.all([run.step('left', async () => 1), run.step('right', async () => 2)]);
        },
        message: 'step "right" began while "left" was still at work; steps go one after another',
      },
      {
        body: async (run) => {
          void run.step('forgotten', async () => 1);
        },
        message: 'the workflow ended while step "forgotten" was still at work',
      },
    ];
    for (const { body, message } of cases) {
      const workflow = defineWorkflow({ name: 'malformed', version: 1, run: body });
      const runner = await startRunner([workflow]);

      const run = await runner.ended(await runner.start(workflow, { subject: subject(), input: null }), 10);
      await runners.pop()?.stop();

      expect(run).toMatchObject({ state: 'stuck', stuck: { kind: 'internal', message } });
    }
  });

  it('freezes a run whose replay does not meet what is recorded, and lets it go on once mended', async () => {
    let steps = ['one', 'two'];
    let arrived = false;
    const workflow = defineWorkflow({
      name: 'changes-its-mind',
      version: 1,
      run: async (run) => {
        for (const name of steps) await run.step(name, async () => name);
        await run.wait('arrival', async () => (arrived ? { done: true } : { waitSeconds: 60 }), { timeoutSeconds: 600 });
        return steps;
      },
    });
    const runner = await startRunner([workflow]);
    const about = subject();
    const id = await runner.start(workflow, { subject: about, input: null });
    await expect.poll(async () => (await runner.get(id))?.state).toBe('waiting');

    steps = ['one', 'three'];
    arrived = true;
    await runner.nudge(about);
    const stuck = await runner.ended(id, 5);
    steps = ['one', 'two'];
    await runner.resume(id);
    await expect.poll(async () => (await runner.get(id))?.state).toBe('done');

    expect(stuck.stuck?.message).toBe('the replay met step "three" where step "two" is recorded');
    await expect(runner.resume(id)).rejects.toMatchObject({ kind: 'conflict' });
  });

  it('refuses to serve without the workflow versions that live runs need, and leaves such runs alone', async () => {
    const old = await startRunner([waiting]);
    const about = subject();
    const id = await old.start(waiting, { subject: about, input: null });
    await expect.poll(async () => (await old.get(id))?.state).toBe('waiting');
    await old.stop();
    const newer = await startRunner([{ ...waiting, version: 2 }]);

    await expect(newer.assertRunnable()).rejects.toMatchObject({ kind: 'conflict', message: expect.stringContaining(`waiting@1 (${id})`) });
    await newer.nudge(about);
    await expect.poll(async () => (await newer.queue.list({ kind: 'run' }))[0]?.reason).toBe('needs waiting@1');

    expect((await newer.get(id))?.state).toBe('waiting');
    await expect((await startRunner([waiting])).assertRunnable()).resolves.toBeUndefined();
  });

  it('is taken over when its replica dies, without repeating what is recorded', async () => {
    const hung = gate();
    const calls: string[] = [];
    const make = (replica: string, hangs: boolean): Workflow =>
      defineWorkflow({
        name: 'survives',
        version: 1,
        run: async (run) => {
          await run.step('one', async () => {
            calls.push(`${replica} one`);
          });
          await run.step('two', async ({ key }) => {
            calls.push(`${replica} two`);
            if (hangs) {
              hung.open();
              await new Promise<never>(() => undefined);
            }
            return key;
          });
        },
      });
    const workflow = make('first', true);
    const dying = await startRunner([workflow], { leaseSeconds: 0.5 });
    const id = await dying.start(workflow, { subject: subject(), input: null });
    await hung.opened;
    await dying.queue.stop({ abandon: true });

    const other = await startRunner([make('second', false)]);

    expect(await other.ended(id, 10)).toMatchObject({ state: 'done' });
    expect(calls).toEqual(['first one', 'first two', 'second two']);
  });

  it('is handed over, not undone, when its replica stops in the middle of a step', async () => {
    const started = gate();
    const make = (waits: boolean): Workflow =>
      defineWorkflow({
        name: 'handed-over',
        version: 1,
        run: async (run) =>
          await run.step('long', async ({ signal, attempt }) => {
            started.open();
            if (waits)
              await new Promise<void>((_resolve, reject) => {
                signal.addEventListener('abort', () => reject(new Error('aborted')));
              });
            return attempt;
          }),
      });
    const stopping = await startRunner([make(true)]);
    const id = await stopping.start(make(true), { subject: subject(), input: null });
    await started.opened;
    const other = await startRunner([make(false)]);

    await stopping.stop();

    expect(await other.ended(id, 5)).toMatchObject({ state: 'done', output: 2 });
  });

  it('survives the loss of all database connections in the middle of a step', async () => {
    const workflow = defineWorkflow({
      name: 'cut-off',
      version: 1,
      run: async (run) => {
        await run.step('cut', async ({ attempt }) => {
          if (attempt === 1)
            await database.pool
              .query('select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()')
              .catch(() => undefined);
        });
        return 'through';
      },
    });
    const runner = await startRunner([workflow]);

    const id = await runner.start(workflow, { subject: subject(), input: null });

    await expect.poll(async () => (await runner.get(id).catch(() => undefined))?.state, { timeout: 10_000 }).toBe('done');
  });

  it('wakes the work of its subject when it ends', async () => {
    const runner = await startRunner([noop]);
    const about = subject();
    const reasons: unknown[] = [];
    runner.queue.handle('thing', async () => {
      reasons.push((await runner.list({ subject: about }))[0]?.state);
      return { done: true };
    });
    await runner.queue.nudge(about);
    await expect.poll(() => reasons).toEqual([undefined]);

    await runner.start(noop, { subject: about, input: null });

    await expect.poll(() => reasons.at(-1)).toBe('done');
  });

  it('shows where every run stands in a view, and prunes what ended', async () => {
    const runner = await startRunner([waiting, noop]);
    const about = subject();
    await runner.start(waiting, { subject: about, input: null });
    await runner.ended(await runner.start(noop, { subject: subject(), input: null }), 5);
    await expect.poll(async () => (await runner.list({ live: true }))[0]?.state).toBe('waiting');

    const { rows } = await database.pool.query(
      'select subject, state, step, next_due is not null as planned from engine.run_overview order by state',
    );
    const pruned = await runner.prune(0);

    expect(rows).toMatchObject([{ state: 'done' }, { subject: about, state: 'waiting', step: 'for-ever', planned: true }]);
    expect(pruned).toBe(1);
    expect(await runner.list()).toHaveLength(1);
  });
});

const noop = defineWorkflow({ name: 'noop', version: 1, run: async () => undefined });

const waiting = defineWorkflow({
  name: 'waiting',
  version: 1,
  run: async (run) => await run.wait('for-ever', async () => ({ waitSeconds: 3600 }), { timeoutSeconds: 36_000 }),
});

function gate(): { readonly opened: Promise<void>; open(): void } {
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open: () => open() };
}
