import { createRunner, engineMigrations, type RunHistory } from '@virt8ra/engine';
import { createRecordedLog, expectTorture, startTestPostgres, type TestDatabase, type TestPostgres } from '@virt8ra/engine/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { capacityMigrations } from '../../capacity/claims.js';
import { resourceMigrations } from '../../resources/migrations.js';
import { currentPermit, instanceMigrations } from '../instance/index.js';
import type { MigrationStatus } from './subjects.js';
import { createMigrationWorld, type MigrationWorld } from './testing/migration-world.js';
import { runMove } from './testing/run-move.js';

let postgres: TestPostgres;
let database: TestDatabase;

beforeAll(async () => {
  postgres = await startTestPostgres();
  database = await postgres.createDatabase([...engineMigrations, ...resourceMigrations, ...capacityMigrations, ...instanceMigrations]);
});
afterAll(async () => await postgres?.stop());

/** Drives one run by hand, the sites one step further before each turn. */
const move = async (world: MigrationWorld, turns?: number, between?: Parameters<typeof runMove>[3]): Promise<RunHistory> =>
  await runMove(database.pool, world, turns, between);

describe('a move', () => {
  it('ends with the instance at the target, proven, and nothing at the source', async () => {
    const world = await createMigrationWorld(database.pool, { mode: 'warm', power: 'on' });
    expect((await move(world)).state).toBe('done');
    const after = await world.snapshot();
    expect(after).toMatchObject({
      violations: [],
      permit: { holder: 'beta-1', surrendered: false },
      ledger: [
        'disk-0 primary blockStorages beta-1 present',
        'disk-1 primary blockStorages beta-1 present',
        'instance primary instances beta-1 present',
      ],
      claims: ['disk-0 primary beta-1', 'disk-1 primary beta-1', 'instance primary beta-1'],
      sites: [
        { name: 'alpha', guests: [], volumes: [], transfers: [] },
        {
          name: 'beta',
          guests: [{ of: 'instance', activity: 'running' }],
          volumes: [
            { of: 'disk-0', state: 'ready' },
            { of: 'disk-1', state: 'ready' },
          ],
          transfers: [],
        },
      ],
      done: {
        state: 'active',
        epoch: 2,
        permitEpoch: 2,
        pauseMs: 5,
        handoverMs: 0,
        passes: 2,
        digests: [{ equal: true }, { equal: true }],
      },
    });
  });

  it('goes live: one pause, the same proof, and nothing at the source', async () => {
    const world = await createMigrationWorld(database.pool, { mode: 'live', power: 'on' });
    expect((await move(world)).state).toBe('done');
    expect(await world.snapshot()).toMatchObject({
      violations: [],
      permit: { holder: 'beta-1', surrendered: false },
      sites: [
        { guests: [], volumes: [], transfers: [] },
        { guests: [{ activity: 'running' }], transfers: [] },
      ],
      done: { mode: 'live', epoch: 2, pauseMs: 5, digests: [{ equal: true }, { equal: true }] },
    });
  });

  it('takes a promised epoch back by the target’s refusal, and lets nobody but the source have the next', async () => {
    const world = await createMigrationWorld(database.pool, { mode: 'live', power: 'on' });
    const before = await world.snapshot();
    let asked = false;
    const history = await move(world, 60, async (runner, { id, steps }) => {
      if (asked || steps.at(-1)?.name !== 'released') return;
      asked = true;
      await runner.cancel(id, 'a change of mind');
    });
    expect(asked).toBe(true);
    expect(history.state).toBe('undone');
    expect(await world.snapshot()).toEqual(before);
    const permit = await world.store.transaction(async (tx) => await currentPermit(tx.client, world.uids.instance));
    expect(permit).toMatchObject({ epoch: 3, holder: 'alpha-1', permit: { evidence: { host: 'beta-1', epoch: 2 } } });
  });

  it('leaves an instance off that was off', async () => {
    const world = await createMigrationWorld(database.pool, { mode: 'cold', power: 'off' });
    expect((await move(world)).state).toBe('done');
    expect(await world.snapshot()).toMatchObject({
      violations: [],
      permit: { holder: 'beta-1', surrendered: false },
      sites: [{ guests: [] }, { guests: [{ activity: 'stopped' }] }],
    });
  });

  it.each(['warm', 'cold'] as const)('returns to the source when the guest does not come up at the target (%s)', async (mode) => {
    const world = await createMigrationWorld(database.pool, { mode, power: 'on' });
    const before = await world.snapshot();
    world.sites.breakGuestsAt('beta');
    const running = await move(world, 12).catch(() => undefined);
    expect(running).toBeUndefined();
    await database.pool.query(`update engine.journal set begun_at = begun_at - interval '1 hour' where name = 'target-up'`);
    const history = await resume(world);
    expect(history.state).toBe('undone');
    expect(await world.snapshot()).toEqual(before);
  });

  it('is not done before a guest that ended at the target runs there again, and says that it booted', async () => {
    const world = await createMigrationWorld(database.pool, { mode: 'live', power: 'on' });
    let ended = false;
    const history = await move(world, 80, async (_runner, { steps }) => {
      if (ended || !steps.some(({ name }) => name === 'request-digests')) return;
      ended = true;
      world.sites.endGuestAt('beta', 'starts again');
    });
    expect(ended).toBe(true);
    expect(history.state).toBe('done');
    expect(await world.snapshot()).toMatchObject({
      violations: [],
      sites: [{ guests: [] }, { guests: [{ activity: 'running' }] }],
      done: { bootedAnew: true },
    });
  });

  it.each(['live', 'warm'] as const)('is never done with a guest that stays down at the target (%s)', async (mode) => {
    const world = await createMigrationWorld(database.pool, { mode, power: 'on' });
    const before = await world.snapshot();
    let ended = false;
    const history = await move(world, 80, async (_runner, { steps }) => {
      if (ended || !steps.some(({ name }) => name === 'request-digests')) return;
      ended = true;
      world.sites.endGuestAt('beta', 'stays down');
    });
    expect(ended).toBe(true);
    expect(history).toMatchObject({ state: 'undone', problem: { message: expect.stringContaining('does not stay up') } });
    expect(await world.snapshot()).toEqual(before);
  });

  it.each(['warm', 'cold'] as const)('prepares the copy before it starts, and says what was changed (%s)', async (mode) => {
    const world = await createMigrationWorld(database.pool, { mode, power: 'on', guestChanges: 'needed' });
    const history = await move(world);
    expect(history.state).toBe('done');
    const names = history.steps.map(({ name }) => name);
    expect(names.indexOf('prepare-guest')).toBe(names.indexOf('released') + 1);
    expect(names.indexOf('start-target')).toBe(names.indexOf('prepare-guest') + 1);
    expect(await world.snapshot()).toMatchObject({
      violations: [],
      done: { guestChanges: [{ code: 'mounts-by-uuid', file: '/etc/fstab', why: 'names change' }] },
    });
  });

  it.each(['warm', 'cold'] as const)('returns where the guest would have to be changed and may not be (%s)', async (mode) => {
    const world = await createMigrationWorld(database.pool, { mode, power: 'on', guestChanges: 'none' });
    const before = await world.snapshot();
    expect(await move(world)).toMatchObject({ state: 'undone', problem: { message: expect.stringContaining('would have to be changed') } });
    expect(await world.snapshot()).toEqual(before);
  });

  it('returns to the source when a disk arrived damaged', async () => {
    const world = await createMigrationWorld(database.pool, { mode: 'warm', power: 'on' });
    const before = await world.snapshot();
    world.sites.damageNextCopy();
    const history = await move(world);
    expect(history).toMatchObject({ state: 'undone', problem: { message: expect.stringContaining('block storage boot, data') } });
    expect(await world.snapshot()).toEqual(before);
    const { instance, migration } = world.uids;
    // The way back is an epoch of its own, granted against the target's surrender.
    expect(await world.store.transaction(async (tx) => await currentPermit(tx.client, instance))).toMatchObject({
      epoch: 3,
      holder: 'alpha-1',
      permit: { evidence: { host: 'beta-1', epoch: 2 } },
    });
    expect((await world.store.getByUid<unknown, MigrationStatus>(migration))?.status.phase).toBe('returning');
  });

  it.each([
    ['warm', 'copying'],
    ['warm', 'finishing'],
    ['cold', 'copying'],
    ['cold', 'finishing'],
  ] as const)('returns by itself when the target’s disk fills up (%s, %s)', async (mode, when) => {
    const world = await createMigrationWorld(database.pool, { mode, power: 'on' });
    const before = await world.snapshot();
    world.sites.fillAt('beta', when);
    const history = await move(world);
    expect(history).toMatchObject({
      state: 'undone',
      problem: { message: expect.stringContaining('up to 2.0 MiB more are needed'), facts: { code: 'exhausted', host: 'beta-1' } },
    });
    // The source runs, and what was copied so far takes no room at the target any more.
    expect(await world.snapshot()).toEqual(before);
    const permit = await world.store.transaction(async (tx) => await currentPermit(tx.client, world.uids.instance));
    expect(permit).toMatchObject({ holder: 'alpha-1' });
  });

  it.each(['warm', 'cold'] as const)(
    'returns from a full target whenever the server dies on the way (%s)',
    async (mode) => {
      let deaths = 0;
      for (let turns = 1; ; turns += 1) {
        const world = await createMigrationWorld(database.pool, { mode, power: 'on' });
        const before = await world.snapshot();
        world.sites.fillAt('beta', 'copying');
        const whole = await move(world, turns).catch(() => undefined);
        const history = whole ?? (await resume(world));
        expect(history).toMatchObject({ state: 'undone', problem: { facts: { code: 'exhausted' } } });
        expect(await world.snapshot()).toEqual(before);
        if (whole !== undefined) break;
        deaths += 1;
      }
      expect(deaths).toBeGreaterThan(5);
    },
    60_000,
  );

  it.each((['warm', 'cold', 'live'] as const).flatMap((mode) => (['copying', 'finishing'] as const).map((when) => ({ mode, when }))))(
    'returns when the source gave up on a target that might still come back ($mode, $when)',
    async ({ mode, when }) => {
      const world = await createMigrationWorld(database.pool, { mode, power: 'on' });
      const before = await world.snapshot();
      world.sites.loseAt('beta', when);
      expect(await move(world)).toMatchObject({
        state: 'undone',
        problem: { message: 'the sending end failed: the peer does not answer' },
      });
      expect(await world.snapshot()).toEqual(before);
    },
  );

  it.each(['warm', 'cold'] as const)('returns to a source that let go before anyone has seen it (%s)', async (mode) => {
    const world = await createMigrationWorld(database.pool, { mode, power: 'on' });
    const before = await world.snapshot();
    let asked = false;
    const history = await move(world, 60, async (runner, { id, steps }) => {
      if (asked || steps.at(-1)?.name !== 'released') return;
      asked = true;
      for (let tick = 0; tick < 4; tick += 1) world.sites.tick();
      await runner.cancel(id, 'a change of mind');
    });
    expect(asked).toBe(true);
    expect(history.state).toBe('undone');
    expect(await world.snapshot()).toEqual(before);
    const permit = await world.store.transaction(async (tx) => await currentPermit(tx.client, world.uids.instance));
    expect(permit).toMatchObject({ epoch: 2, holder: 'alpha-1', permit: { evidence: { host: 'alpha-1', epoch: 1 } } });
  });

  async function resume(world: MigrationWorld): Promise<RunHistory> {
    const runner = createRunner({
      pool: database.pool,
      workflows: [world.workflow],
      log: createRecordedLog(),
      owner: 'other',
      backoff: { baseSeconds: 0.001, capSeconds: 0.001 },
    });
    try {
      const [live] = await runner.list({ subject: `instance/${world.uids.instance}` });
      if (live === undefined) throw new Error('there is no run');
      for (let turn = 0; turn < 60; turn += 1) {
        await runner.queue.expire(`run/${live.id}`);
        await runner.queue.work(`run/${live.id}`);
        const history = await runner.get(live.id);
        if (history?.endedAt !== undefined) return history;
        await world.proceed?.();
      }
      throw new Error('it does not end');
    } finally {
      await runner.queue.stop({ abandon: true });
    }
  }
});

describe('a move under attack', () => {
  it('withstands every fault at every point, warm', async () => {
    const report = await expectTorture({
      pool: database.pool,
      world: async () => await createMigrationWorld(database.pool, { mode: 'warm', power: 'on' }),
    });
    expect(report.points.map(({ name }) => name)).toEqual([
      'plan',
      'prepare-target',
      'listening',
      'start-copy',
      'converged',
      'cutover',
      'released',
      'start-target',
      'target-up',
      'request-digests',
      'digests',
      'still-up',
      'proven',
      'switch',
      'settle',
      'settled',
      'clean-source',
      'cleaned',
      'finish',
    ]);
    expect(report.scenarios).toBeGreaterThan(250);
  }, 600_000);

  it('withstands every fault at every point, live', async () => {
    const report = await expectTorture({
      pool: database.pool,
      world: async () => await createMigrationWorld(database.pool, { mode: 'live', power: 'on' }),
    });
    expect(report.points.map(({ name }) => name)).toContain('source-ended');
  }, 600_000);

  it('withstands every fault at every point, cold, with a guest that has to be changed', async () => {
    const report = await expectTorture({
      pool: database.pool,
      world: async () => await createMigrationWorld(database.pool, { mode: 'cold', power: 'on', guestChanges: 'needed' }),
    });
    expect(report.points.map(({ name }) => name)).toEqual(expect.arrayContaining(['source-stopped', 'prepare-guest']));
  }, 600_000);
});
