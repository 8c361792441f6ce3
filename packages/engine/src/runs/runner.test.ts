import { Problem } from '@virt8ra/contract';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
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
});
