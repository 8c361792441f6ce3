import { type Cutover, type CutoverRequest, type MigrationSpec, Problem } from '@virt8ra/contract';
import { createRunner, engineMigrations, type Runner } from '@virt8ra/engine';
import { createRecordedLog, expectTorture, startTestPostgres, type TestDatabase, type TestPostgres } from '@virt8ra/engine/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { capacityMigrations } from '../../capacity/claims.js';
import { resourceMigrations } from '../../resources/migrations.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { KindBehaviour } from '../behaviour.js';
import { instanceMigrations } from '../instance/index.js';
import { cutoverDue, cutoverFault } from './cutover.js';
import { createMigrationBehaviour, type MigrationStatus } from './index.js';
import { convergenceOf } from './pass-forecast.js';
import { passesOf } from './testing/memory-passes.js';
import { createMigrationWorld, type MigrationWorld, type MoveOptions } from './testing/migration-world.js';
import { createMigrationWorkflow } from './workflow.js';

let postgres: TestPostgres;
let database: TestDatabase;
let world: MigrationWorld;
let runner: Runner | undefined;
let behaviour: KindBehaviour<MigrationSpec, MigrationStatus>;
let now: Date;

const subject = { name: 'ada', operator: false, tenants: 'all', remote: '127.0.0.1' } as const;
const evening = { when: 'window', from: '2030-01-31T22:00:00.000Z', until: '2030-02-01T04:00:00.000Z' } as const;

beforeAll(async () => {
  postgres = await startTestPostgres();
  database = await postgres.createDatabase([...engineMigrations, ...resourceMigrations, ...capacityMigrations, ...instanceMigrations]);
});
afterAll(async () => await postgres?.stop());
afterEach(async () => {
  await runner?.queue.stop({ abandon: true });
  runner = undefined;
});

async function begin(options: Omit<MoveOptions, 'power'>): Promise<void> {
  now = new Date('2030-01-31T12:00:00.000Z');
  world = await createMigrationWorld(database.pool, { power: 'on', ...options });
  const context = { ...world.context, now: () => now };
  const workflow = createMigrationWorkflow(context);
  runner = createRunner({
    pool: database.pool,
    workflows: [workflow],
    log: createRecordedLog(),
    owner: 'test',
    backoff: { baseSeconds: 0.001, capSeconds: 0.001 },
  });
  behaviour = createMigrationBehaviour({ ...context, runner }, workflow);
  await behaviour.reconcile?.(await stored());
}

async function stored(): Promise<StoredResource<MigrationSpec, MigrationStatus>> {
  const found = await world.store.getByUid<MigrationSpec, MigrationStatus>(world.uids.migration);
  if (found === undefined) throw new Error('the migration is gone');
  return found;
}

async function drive(turns: number): Promise<MigrationStatus> {
  const [run] = (await runner?.list({ subject: `instance/${world.uids.instance}`, live: true })) ?? [];
  for (let turn = 0; turn < turns && run !== undefined; turn += 1) {
    if ((await runner?.get(run.id))?.endedAt !== undefined) break;
    world.sites.tick();
    await runner?.queue.work(`run/${run.id}`);
  }
  return (await stored()).status;
}

async function ask(cutover?: Cutover): Promise<void> {
  const body: CutoverRequest = cutover === undefined ? {} : { cutover };
  const resource = await stored();
  await world.store.transaction(async (tx) => await behaviour.actions?.['cutover']?.(tx, resource, subject, body));
}

describe('a cut-over that waits to be asked', () => {
  it('has the copy go on at a source that runs, and begins when it is asked, once, however often', async () => {
    await begin({ mode: 'warm', cutover: { when: 'asked' } });
    world.sites.writeAt('alpha', 'little');
    expect(await drive(30)).toMatchObject({
      phase: 'waiting',
      cutover: { state: 'waiting', intent: { when: 'asked' }, waitsFor: 'being asked to cut over' },
      convergence: { verdict: 'converged', predictedPauseMs: expect.any(Number) },
    });
    const passes = world.sites.furtherPassesAt('alpha');
    await drive(5);
    expect(world.sites.furtherPassesAt('alpha')).toBe(passes + 5);
    expect(await world.store.progressOf(world.uids.migration)).toMatchObject({
      phase: 'waiting',
      waitsFor: 'being asked to cut over',
      dirtyBytes: 500_000,
      predictedPauseMs: expect.any(Number),
    });
    expect(await world.snapshot()).toMatchObject({ sites: [{ guests: [{ activity: 'running' }] }, { guests: [] }] });
    await ask();
    const asked = (await stored()).status.cutover;
    expect(asked).toMatchObject({ state: 'queued', askedBy: 'ada' });
    now = new Date(now.getTime() + 60_000);
    await ask();
    expect((await stored()).status.cutover).toEqual(asked);
    expect(await drive(60)).toMatchObject({ phase: 'done', cutover: { state: 'ordered', askedBy: 'ada' } });
    await ask();
    expect((await stored()).status.cutover?.state).toBe('ordered');
    expect(world.sites.violations).toEqual([]);
  });

  it('may be asked for before anything was copied, and then waits for the copy alone', async () => {
    await begin({ mode: 'warm', cutover: { when: 'asked' } });
    await drive(2);
    await ask();
    expect((await stored()).status.cutover).toMatchObject({ state: 'queued' });
    expect(await drive(60)).toMatchObject({ phase: 'done' });
  });

  it.each(['live', 'cold'] as const)('leaves the guest running until then in a %s move, too', async (mode) => {
    await begin({ mode, cutover: { when: 'asked' } });
    expect(await drive(30)).toMatchObject({ phase: 'waiting', cutover: { state: 'waiting' } });
    expect(await world.snapshot()).toMatchObject({ sites: [{ guests: [{ activity: 'running' }] }, {}] });
    await ask();
    expect(await drive(60)).toMatchObject({ phase: 'done' });
    expect(world.sites.violations).toEqual([]);
  });

  it('is called off like any other, and cannot be asked for then', async () => {
    await begin({ mode: 'warm', cutover: { when: 'asked' } });
    await drive(30);
    const before = await stored();
    await world.store.transaction(async (tx) => await behaviour.actions?.['cancel']?.(tx, before, subject, {}));
    await drive(60);
    await behaviour.reconcile?.(await stored());
    expect((await stored()).status.phase).toBe('returned');
    await expect(ask()).rejects.toMatchObject({ kind: 'conflict', message: expect.stringContaining('nothing to cut over') });
    expect(await world.snapshot()).toMatchObject({
      violations: [],
      sites: [{ guests: [{ activity: 'running' }] }, { guests: [], volumes: [] }],
    });
  });
});

describe('a cut-over within a window', () => {
  it('begins when that opens', async () => {
    await begin({ mode: 'warm', cutover: evening });
    expect((await drive(30)).cutover).toMatchObject({ state: 'waiting', waitsFor: `its window, from ${evening.from}` });
    now = new Date('2030-01-31T22:00:01.000Z');
    expect(await drive(60)).toMatchObject({ phase: 'done' });
  });

  it('is told to be missed when the copy did not converge by then, forces no pause, and is asked for anew', async () => {
    await begin({ mode: 'warm', cutover: evening });
    world.sites.writeAt('alpha', 'fast');
    now = new Date('2030-01-31T23:00:00.000Z');
    expect(await drive(30)).toMatchObject({
      cutover: { state: 'queued' },
      convergence: { verdict: 'not-converging', advice: expect.stringContaining('50 MB/s are carried') },
    });
    now = new Date('2030-02-01T04:00:00.000Z');
    expect((await drive(3)).cutover).toMatchObject({ state: 'missed', waitsFor: expect.stringContaining('asked anew') });
    // Neither a clock that goes back nor a guest that is quiet again opens it once more.
    now = new Date('2030-01-31T23:30:00.000Z');
    world.sites.writeAt('alpha', 'little');
    expect((await drive(5)).cutover).toMatchObject({ state: 'missed' });
    now = new Date('2030-02-01T05:00:00.000Z');
    await expect(ask(evening)).rejects.toMatchObject({ kind: 'validation' });
    await ask();
    expect(await drive(60)).toMatchObject({ phase: 'done' });
  });
});

describe('a guest that writes faster than the copy', () => {
  it('is told of, is never stopped without consent, and is stopped for the pause that was consented to', async () => {
    await begin({ mode: 'warm' });
    world.sites.writeAt('alpha', 'fast');
    const { convergence, phase } = await drive(30);
    expect(phase).toBe('passes');
    expect(convergence).toMatchObject({ verdict: 'not-converging', bytesPerSecond: 50_000_000, dirtyBytesPerSecond: 100_000_000 });
    await ask();
    expect(await drive(5)).toMatchObject({ phase: 'passes', cutover: { state: 'queued' } });
    await ask({ when: 'pause-below', milliseconds: 1000 });
    expect(await drive(5)).toMatchObject({ phase: 'passes', cutover: { state: 'waiting' } });
    await ask({ when: 'pause-below', milliseconds: 120_000 });
    expect(await drive(60)).toMatchObject({ phase: 'done', cutover: { state: 'ordered' } });
  });
});

describe('what a copy tells of itself', () => {
  it('is judged after two passes, by what they carried and what was changed meanwhile', () => {
    expect(convergenceOf([], false)).toEqual({ verdict: 'measuring' });
    const fast = passesOf('fast') ?? [];
    // The pause that it would take: 4 GB at 50 MB/s.
    expect(convergenceOf(fast, false)).toMatchObject({ verdict: 'not-converging', predictedPauseMs: 80_100 });
    expect(convergenceOf(fast.slice(0, 1), false)).toMatchObject({ verdict: 'not-converging' });
    const little = passesOf('little') ?? [];
    expect(convergenceOf(little, false)).toMatchObject({ verdict: 'converging', predictedPauseMs: 300 });
    expect(convergenceOf([...little, ...little.slice(1), ...little.slice(1)], true)).toMatchObject({
      verdict: 'converged',
      predictedPauseMs: 105,
    });
    expect(convergenceOf([{ pass: 0, workBytes: 0, ms: 1, dirtyBytes: 0 }], true)).toMatchObject({ predictedPauseMs: 100 });
  });

  it('is no pause that is foreseen where the source does not tell', () => {
    const question = { intent: { when: 'pause-below', milliseconds: 300 }, shown: undefined, converged: true, now: new Date() } as const;
    expect(cutoverDue({ ...question, predictedPauseMs: 'untold' })).toMatchObject({ due: false });
    expect(cutoverDue({ ...question, predictedPauseMs: undefined })).toMatchObject({ due: false });
    expect(cutoverDue({ ...question, predictedPauseMs: 301 })).toMatchObject({ due: false });
    expect(cutoverDue({ ...question, predictedPauseMs: 300 })).toEqual({ due: true });
  });

  it.each([
    ['live', { when: 'pause-below', milliseconds: 300 }, /not foreseen/],
    ['cold', { when: 'pause-below', milliseconds: 300 }, /from beginning to end/],
    ['warm', { ...evening, until: evening.from }, /before it begins/],
    ['warm', { ...evening, from: 'tomorrow at ten o’clock' }, /are times/],
    ['warm', { ...evening, from: '2020-01-01T00:00:00Z', until: '2020-01-02T00:00:00Z' }, /ended at/],
  ] as const)('cannot be wanted of a %s move as %j', (mode, cutover, fault) => {
    expect(cutoverFault(cutover, mode, new Date('2030-01-01T00:00:00Z'))).toMatch(fault);
  });
});

describe('a move that waits, under attack', () => {
  it.each(['warm', 'live', 'cold'] as const)(
    'withstands faults while it waits and right after (%s)',
    async (mode) => {
      const report = await expectTorture({
        pool: database.pool,
        points: ['converged', 'cutover-due', 'cutover'],
        world: async () => {
          const made = await createMigrationWorld(database.pool, { mode, power: 'on', cutover: { when: 'asked' } });
          let turns = 0;
          return {
            ...made,
            // Asked for after a while, as by its owner.
            async proceed() {
              await made.proceed?.();
              turns += 1;
              if (turns !== 12) return;
              await made.store.transaction(async (tx) => {
                const held = await tx.lock<unknown, MigrationStatus>(made.uids.migration);
                if (held === undefined) throw new Problem('internal', 'the migration is gone');
                const cutover = { state: 'queued', intent: { when: 'asked' }, askedAt: '2030-01-01T00:00:00.000Z', askedBy: 'ada' };
                if (held.status.cutover?.state !== 'ordered') await tx.setStatus(held.uid, { cutover });
              });
            },
          };
        },
      });
      expect(report.points.map(({ name }) => name)).toContain('cutover-due');
      expect(report.scenarios).toBeGreaterThan(20);
    },
    120_000,
  );
});
