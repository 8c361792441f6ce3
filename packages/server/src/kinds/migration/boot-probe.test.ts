import { engineMigrations, type RunHistory } from '@virt8ra/engine';
import { expectTorture, startTestPostgres, type TestDatabase, type TestPostgres } from '@virt8ra/engine/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { capacityMigrations } from '../../capacity/claims.js';
import { resourceMigrations } from '../../resources/migrations.js';
import { instanceMigrations } from '../instance/index.js';
import { evidenceOf } from './boot-probe.js';
import type { MigrationStatus } from './subjects.js';
import { createMigrationWorld, type MigrationWorld, type MoveOptions } from './testing/migration-world.js';
import { runMove } from './testing/run-move.js';
import { createMigrationWorkflow } from './workflow.js';

let postgres: TestPostgres;
let database: TestDatabase;

beforeAll(async () => {
  postgres = await startTestPostgres();
  database = await postgres.createDatabase([...engineMigrations, ...resourceMigrations, ...capacityMigrations, ...instanceMigrations]);
});
afterAll(async () => await postgres?.stop());

/** Of which each look takes a second. */
async function probing(options: Pick<MoveOptions, 'mode' | 'bootProbe'>): Promise<MigrationWorld> {
  const made = await createMigrationWorld(database.pool, { power: 'on', ...options });
  let now = Date.parse('2030-01-01T00:00:00.000Z');
  const context = { ...made.context, now: () => new Date(now) };
  return {
    ...made,
    workflow: createMigrationWorkflow(context),
    async proceed() {
      now += 1000;
      await made.proceed?.();
    },
  };
}

const move = async (world: MigrationWorld, between?: Parameters<typeof runMove>[3]): Promise<RunHistory> =>
  await runMove(database.pool, world, 120, between);

async function statusOf(world: MigrationWorld): Promise<MigrationStatus | undefined> {
  return (await world.store.getByUid<unknown, MigrationStatus>(world.uids.migration))?.status;
}

describe('a copy that is booted in isolation', () => {
  it.each(['warm', 'cold'] as const)('lets the move go on when it shows life, and says what was observed (%s)', async (mode) => {
    const world = await probing({ mode, bootProbe: { in: 'isolation' } });
    let running: unknown;
    const history = await move(world, async (_runner, { steps }) => {
      if (steps.at(-1)?.name === 'boot-probed') running ??= await world.snapshot();
    });
    expect(history.state).toBe('done');
    expect(await statusOf(world)).toMatchObject({
      phase: 'done',
      bootProbe: { in: 'isolation', state: 'passed', expects: 'disk-reads', observed: 'disk-reads', readBytes: 4_000_000 },
    });
    // Meanwhile nobody had stopped the source, and the instance ran nowhere else.
    expect(running).toMatchObject({ sites: [{ guests: [{ activity: mode === 'warm' ? 'running' : 'stopped' }] }, { guests: [] }] });
    expect(world.sites.violations).toEqual([]);
  });

  it('returns the move when it does not, with the end of its console, and the source has never stopped', async () => {
    const world = await probing({ mode: 'warm', bootProbe: { in: 'isolation' } });
    const before = await world.snapshot();
    world.sites.breakGuestsAt('beta');
    const history = await move(world);
    expect(history).toMatchObject({ state: 'undone', problem: { message: expect.stringContaining('its kernel panicked') } });
    expect(history.steps.map(({ name }) => name)).not.toContain('cutover');
    expect((await statusOf(world))?.bootProbe).toMatchObject({
      state: 'failed',
      reason: 'its kernel panicked',
      serialTail: 'Kernel panic - not syncing',
    });
    expect(await world.snapshot()).toEqual(before);
  });

  it('may be called off while it boots', async () => {
    const world = await probing({ mode: 'warm', bootProbe: { in: 'isolation' } });
    const before = await world.snapshot();
    const history = await move(world, async (runner, { id, steps, cancelReason }) => {
      if (steps.at(-1)?.name === 'boot-probed' && cancelReason === undefined) await runner.cancel(id, 'a change of mind');
    });
    expect(history.state).toBe('undone');
    expect(await world.snapshot()).toEqual(before);
  });
});

describe('a guest that is probed in its place', () => {
  it('is given a while to show life before the source is given up', async () => {
    const world = await probing({ mode: 'warm', bootProbe: { in: 'place', timeoutSeconds: 30 } });
    expect((await move(world)).state).toBe('done');
    expect((await statusOf(world))?.bootProbe).toMatchObject({
      in: 'place',
      state: 'passed',
      observed: 'disk-reads',
      seconds: expect.any(Number),
    });
  });

  it('returns to its source by itself when it comes up and shows less than it does there', async () => {
    const world = await probing({ mode: 'warm', bootProbe: { in: 'place', timeoutSeconds: 10 } });
    world.sites.answerAt('alpha');
    const before = await world.snapshot();
    const history = await move(world);
    expect(history).toMatchObject({ state: 'undone', problem: { message: expect.stringContaining('guest-agent') } });
    expect((await statusOf(world))?.bootProbe).toMatchObject({ in: 'place', state: 'failed', expects: 'guest-agent' });
    expect(await world.snapshot()).toEqual(before);
  });
});

describe('what a guest must show', () => {
  it('is what it shows at its source; the console of UEFI guests has the words of their firmware', () => {
    const boot = { readBytes: 1, serialBytes: 1 };
    expect(evidenceOf({ boot, guest: { at: '2030-01-01T00:00:00Z', facts: {} } }, 'BIOS')).toBe('guest-agent');
    expect(evidenceOf({ boot }, 'BIOS')).toBe('serial-console');
    expect(evidenceOf({ boot }, 'UEFI')).toBe('disk-reads');
    expect(evidenceOf({}, 'BIOS')).toBe('disk-reads');
  });
});

describe('a probe under attack', () => {
  it.each([
    ['isolation', ['hold-copy', 'boot-probed', 'end-probe', 'probe-ended', 'cutover']],
    ['place', ['target-up', 'boot-probed', 'request-digests']],
  ] as const)(
    'withstands faults (%s)',
    async (where, points) => {
      const report = await expectTorture({
        pool: database.pool,
        points,
        world: async () => await probing({ mode: 'warm', bootProbe: { in: where } }),
        turns: 120,
      });
      expect(report.points.map(({ name }) => name)).toContain('boot-probed');
      expect(report.scenarios).toBeGreaterThan(20);
    },
    120_000,
  );
});
