import { Problem } from '@virt8ra/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { engineMigrations } from '../migrations.js';
import { defineWorkflow, type StepContext } from '../runs/workflow.js';
import { startTestPostgres, type TestDatabase, type TestPostgres } from './postgres.js';
import { expectTorture, type TortureWorld, torture } from './torture.js';

type Bug =
  | 'forgotten undo'
  | 'ignored key'
  | 'complaining remove'
  | 'ignored lost reply'
  | 'write by a paused ex-owner'
  | 'state beside the journal'
  | 'unguarded row'
  | 'undo of the other half only';

interface Thing {
  readonly id: string;
  readonly key: string;
}

/** A provider that makes things by key, and a table of ours; moves a name from an old thing to a new one. */
function createWorld(database: TestDatabase, bug?: Bug): TortureWorld<{ readonly name: string }, string> {
  const things: Thing[] = [{ id: 'old', key: 'old' }];
  const ready = new Set<string>();
  let address = 'old';

  const provider = {
    create(key: string): Thing {
      const existing = bug === 'ignored key' ? undefined : things.find((thing) => thing.key === key);
      if (existing !== undefined) return existing;
      const thing = { id: `thing of ${key}`, key };
      things.push(thing);
      return thing;
    },
    remove(key: string): void {
      const index = things.findIndex((thing) => thing.key === key);
      if (index !== -1) things.splice(index, 1);
      else if (bug === 'complaining remove') throw new Problem('not-found', `there is no thing ${key}`);
    },
  };

  async function own(context: StepContext): Promise<void> {
    if (bug !== 'write by a paused ex-owner') await context.assertOwned(1000);
  }

  const workflow = defineWorkflow({
    name: 'move-name',
    version: 1,
    run: async (run, input: { readonly name: string }) => {
      let beside = 'nowhere';
      await run.step(
        'claim',
        async (context) => {
          const insert = 'insert into claim (key, name) values ($1, $2) on conflict do nothing';
          if (bug === 'unguarded row') await database.pool.query(insert, [context.key, input.name]);
          else await context.guarded(async (client) => await client.query(insert, [context.key, input.name]).then(() => undefined));
        },
        async ({ key }) => {
          await database.pool.query('delete from claim where key = $1', [key]);
        },
      );
      const thing = await run.step(
        'create',
        async (context) => {
          await own(context);
          return provider.create(context.key);
        },
        bug === 'forgotten undo'
          ? undefined
          : async (context, result) => {
              await own(context);
              if (bug === 'ignored lost reply' && result === undefined) return;
              provider.remove(context.key);
            },
      );
      await run.wait('ready', async () => (ready.has(thing.key) ? { done: null } : { waitSeconds: 1 }), { timeoutSeconds: 60 });
      const pair = await run.step(
        'create-pair',
        async (context) => {
          await own(context);
          beside = context.key;
          return [provider.create(`${context.key}/left`).key, provider.create(`${context.key}/right`).key];
        },
        async (context) => {
          await own(context);
          provider.remove(`${context.key}/left`);
          if (bug !== 'undo of the other half only') provider.remove(`${context.key}/right`);
        },
      );
      await run.commit('point-of-no-return');
      await run.step('switch', async (context) => {
        await own(context);
        address = bug === 'state beside the journal' ? beside : thing.id;
      });
      await run.step('remove-old', async (context) => {
        await own(context);
        provider.remove('old');
      });
      return `${address} ${pair.length}`;
    },
  });

  return {
    workflow,
    input: { name: 'a' },
    async snapshot() {
      const { rows } = await database.pool.query('select key, name from claim order by key');
      return { things, address, claims: rows };
    },
    proceed() {
      for (const thing of things) ready.add(thing.key);
    },
    async close() {
      await database.pool.query('delete from claim');
    },
  };
}

describe('torture', () => {
  let postgres: TestPostgres;
  let database: TestDatabase;

  beforeAll(async () => {
    postgres = await startTestPostgres();
    database = await postgres.createDatabase([
      ...engineMigrations,
      { name: 'claim', sql: 'create table claim (key text primary key, name text)' },
    ]);
  });
  afterAll(async () => await postgres.stop());

  it('finds nothing in a workflow that is right', async () => {
    const report = await expectTorture({ pool: database.pool, world: () => createWorld(database) });

    expect(report.points.map((point) => `${point.kind} ${point.name}`)).toEqual([
      'step claim',
      'step create',
      'wait ready',
      'step create-pair',
      'commit point-of-no-return',
      'step switch',
      'step remove-old',
    ]);
    expect(report.scenarios).toBeGreaterThan(90);
  });

  it.each<{ readonly bug: Bug; readonly caught: readonly string[]; readonly message: string }>([
    {
      bug: 'forgotten undo',
      caught: ['fails after at create', 'fails before at ready', 'cancelled after at create'],
      message: 'left something behind',
    },
    {
      bug: 'ignored key',
      caught: ['repeated at create', 'reply lost, then retried at create', 'crash after at create-pair'],
      message: 'differs from that of a run without faults',
    },
    { bug: 'complaining remove', caught: ['fails before at create', 'undo repeated at create'], message: 'it does not end' },
    {
      bug: 'ignored lost reply',
      caught: ['reply lost, then fails at create', 'fails after at create', 'crash after, then fails at create'],
      message: 'left something behind',
    },
    {
      bug: 'write by a paused ex-owner',
      caught: ['paused before, undone by another at create', 'paused before, undone by another at create-pair'],
      message: 'left something behind',
    },
    { bug: 'unguarded row', caught: ['paused before, undone by another at claim'], message: 'left something behind' },
    {
      bug: 'undo of the other half only',
      caught: ['fails after at create-pair', 'undo repeated at create-pair'],
      message: 'left something behind',
    },
    {
      bug: 'state beside the journal',
      caught: ['crash before at switch', 'paused before, taken over at switch'],
      message: 'differs from that of a run without faults',
    },
  ])('catches: $bug', async ({ bug, caught, message }) => {
    const only = caught.map((place) => place.slice(0, place.indexOf(' at ')));

    const { violations } = await torture({ pool: database.pool, world: () => createWorld(database, bug), only });

    const places = violations.map((violation) => `${violation.fault} at ${violation.step}`);
    expect(places).toEqual(expect.arrayContaining([...caught]));
    expect(violations.find((violation) => `${violation.fault} at ${violation.step}` === caught[0])?.message).toContain(message);
  });

  it('names fault and step when a workflow must withstand it', async () => {
    const failing = expectTorture({ pool: database.pool, world: () => createWorld(database, 'forgotten undo'), only: ['fails after'] });

    await expect(failing).rejects.toThrow('fails after at "create": the undone run left something behind');
  });
});
