import { host, type MigrationPlan, type MigrationSpec, type PathLook, site } from '@virt8ra/contract';
import { createRunner, engineMigrations, type Runner } from '@virt8ra/engine';
import { createRecordedLog, startTestPostgres, type TestDatabase, type TestPostgres } from '@virt8ra/engine/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { capacityMigrations } from '../../capacity/claims.js';
import { resourceMigrations } from '../../resources/migrations.js';
import type { KindContext } from '../context.js';
import { instanceMigrations } from '../instance/index.js';
import type { EarlierMove, MoveMeasures } from '../move-measures.js';
import { createMigrationBehaviour } from './index.js';
import { planMigration } from './plan-migration.js';
import type { MigrationStatus } from './subjects.js';
import { createMigrationWorld, type MigrationWorld } from './testing/migration-world.js';
import { createMigrationWorkflow } from './workflow.js';

let postgres: TestPostgres;
let database: TestDatabase;
let world: MigrationWorld;
let runner: Runner;
let workflow: ReturnType<typeof createMigrationWorkflow>;
let context: KindContext;
let looks: PathLook[];
let measured: string[];
let writes: number;
let earlier: EarlierMove[];

const place = { tenant: 'acme', workspace: 'prod' };
const spec: MigrationSpec = { instanceRef: 'instances/guest', toSite: 'beta', mode: 'warm', minPasses: 1 };
const at = (): string => new Date().toISOString();

/** What was measured, as this test has it. */
const measures: MoveMeasures = {
  path: async () => looks,
  async measurePath(from, to) {
    measured.push(`${from} ${to}`);
    looks = [{ at: at(), source: 'probe', bytesPerSecond: 40e6, rttMs: 3 }, ...looks];
    return undefined;
  },
  mostCarried: async () => undefined,
  async guest(_host, key) {
    const [disk] = await world.store.ledger.ofResource(world.uids.volumes[0] ?? world.uids.instance);
    const changes = {
      at: at(),
      disks: [{ key: disk?.key ?? '', looks: [10, 20].map((seconds) => ({ seconds, bytes: writes * seconds })) }],
    };
    return { key, at: at(), cpu: 0, steal: 0, memoryBytes: 64e6, changes };
  },
  clockOffsets: async () => new Map([['beta-1', 42]]),
  earlier: async () => earlier,
};

beforeAll(async () => {
  postgres = await startTestPostgres();
  database = await postgres.createDatabase([...engineMigrations, ...resourceMigrations, ...capacityMigrations, ...instanceMigrations]);
});
afterAll(async () => await postgres?.stop());
beforeEach(async () => {
  world = await createMigrationWorld(database.pool, { mode: 'warm', power: 'on' });
  looks = [{ at: at(), source: 'transfer', bytesPerSecond: 50e6 }];
  measured = [];
  writes = 0;
  earlier = [];
  context = {
    ...world.context,
    measures,
    get runner() {
      return runner;
    },
  };
  workflow = createMigrationWorkflow(context);
  runner = createRunner({
    pool: database.pool,
    workflows: [workflow],
    log: createRecordedLog(),
    owner: 'test',
    backoff: { baseSeconds: 0.001, capSeconds: 0.001 },
  });
  await world.store.transaction(async (tx) => {
    const active = { state: 'active', conditions: [{ state: 'active' }] } as const;
    await tx.put({
      kind: site,
      address: { name: 'beta' },
      spec: { accountRef: 'accounts/agents', country: 'ES', tier: 'edge' },
      ...active,
    });
    await tx.put({ kind: host, address: { name: 'beta-1' }, spec: { siteRef: 'sites/beta' }, ...active });
    await tx.setStatus(world.uids.instance, { activity: { value: 'running', source: 'agent/alpha-1', observedAt: at() } });
  });
});
afterEach(async () => await runner.queue.stop({ abandon: true }));

const plan = async (change: Partial<MigrationSpec> = {}, measure = false): Promise<MigrationPlan> =>
  await planMigration(context, { address: { ...place, name: 'plan' }, spec: { ...spec, ...change }, measure, maySee: async () => true });
const codes = ({ findings }: MigrationPlan, severity: string): readonly string[] =>
  findings.filter((each) => each.severity === severity).map(({ code }) => code);
const forgetFirstMigration = async (): Promise<void> => await world.store.transaction(async (tx) => await tx.remove(world.uids.migration));

describe('a plan', () => {
  beforeEach(forgetFirstMigration);

  it('says where it would go, how, what it would take, and what to know, and changes nothing', async () => {
    const before = await world.snapshot();
    const shown = await plan();
    expect(shown).toMatchObject({
      instance: 'guest',
      verdict: 'ready',
      from: { site: 'alpha', host: 'alpha-1' },
      to: { site: 'beta', host: 'beta-1' },
      mode: 'warm',
      rungs: [
        { mode: 'live', possible: true },
        { mode: 'warm', possible: true },
        { mode: 'cold', possible: true },
      ],
      ranking: [{ host: 'beta-1', fits: true, reason: expect.stringContaining('fits') }],
      forecast: { mode: 'warm', bytes: 2e9, convergence: { verdict: 'converges', carriedBytesPerSecond: 50e6 } },
    });
    expect(codes(shown, 'blocks')).toEqual([]);
    expect(codes(shown, 'warns')).toEqual(['clock']);
    expect(codes(shown, 'info')).toEqual(['identity-kept', 'guest-not-inspected']);
    for (const { what, where, mend } of shown.findings) for (const text of [what, where, mend]) expect(text).not.toBe('');
    expect(await world.snapshot()).toEqual(before);
    const { rows } = await database.pool.query(`select 1 from resource where kind = 'migration'`);
    expect(rows).toEqual([]);
  });

  it('tells beforehand that it would never come to an end', async () => {
    writes = 30e6;
    const slow = [{ at: at(), source: 'transfer' as const, bytesPerSecond: 3e6 }];
    looks = slow;
    const shown = await plan();
    expect(shown.forecast).toMatchObject({ convergence: { verdict: 'never', carriedBytesPerSecond: 3e6 } });
    expect(shown.forecast).not.toHaveProperty('durationSeconds');
    expect(codes(shown, 'warns')).toContain('does-not-converge');
    expect((await plan({ mode: 'cold' })).forecast).toMatchObject({
      convergence: { verdict: 'not-needed' },
      durationSeconds: expect.any(Number),
    });
  });

  it('has the link measured when that is asked for and its figure is old, and tells when that cannot be', async () => {
    looks = [{ at: new Date(Date.now() - 3600_000).toISOString(), source: 'transfer', bytesPerSecond: 50e6 }];
    expect((await plan()).forecast?.convergence.carriedBytesPerSecond).toBe(50e6);
    expect(measured).toEqual([]);
    expect((await plan({}, true)).forecast?.convergence.carriedBytesPerSecond).toBe(40e6);
    expect(measured).toEqual(['alpha-1 beta-1']);
    await plan({}, true);
    expect(measured).toHaveLength(1);
    looks = [];
    context = { ...context, measures: { ...measures, measurePath: async () => 'beta-1 is away' } };
    const blind = await plan({}, true);
    expect(blind.findings).toContainEqual(
      expect.objectContaining({ code: 'link-not-measured', severity: 'warns', what: expect.stringContaining('beta-1 is away') }),
    );
    expect(blind.forecast).toMatchObject({ convergence: { verdict: 'unknown' }, confidence: { level: 'low' } });
  });

  it('tells everything at once that a migration would be refused for, in the words of the refusal', async () => {
    await world.store.transaction(async (tx) => {
      await tx.setStatus(world.uids.instance, {
        activity: { value: 'stopped', source: 'agent/alpha-1', observedAt: at() },
        rescue: { imageRef: 'images/r', phase: 'running', since: at() },
      });
    });
    const shown = await plan({ toHost: 'beta-1', fallback: 'warm' });
    expect(shown.verdict).toBe('blocked');
    expect(codes(shown, 'blocks')).toEqual(expect.arrayContaining(['in-rescue', 'not-running', 'fallback-not-live']));
    const behaviour = createMigrationBehaviour(context);
    const refused = world.store.transaction(
      async (tx) =>
        await behaviour.admitPut?.(tx, {
          address: { ...place, name: 'm' },
          next: { labels: {}, annotations: {}, extensions: {}, spec: { ...spec, fallback: 'warm' } },
          previous: undefined,
          subject: { name: 'ada', operator: false, tenants: 'all', remote: '' },
        }),
    );
    await expect(refused).rejects.toMatchObject({ message: shown.findings[0]?.what });
    expect(await plan({ toSite: 'nowhere' })).toMatchObject({ verdict: 'blocked', findings: [{ code: 'no-site', where: 'site/nowhere' }] });
    await expect(plan({ instanceRef: 'instances/none' })).rejects.toMatchObject({ kind: 'validation' });
  });

  it('looks inside the guest where that is asked for, and says why where it cannot', async () => {
    const asked = { address: { ...place, name: 'plan' }, spec, measure: false, inspect: true, maySee: async () => true };
    expect((await planMigration(context, asked)).findings).toContainEqual(
      expect.objectContaining({ code: 'guest-not-inspected', what: expect.stringContaining('cannot look into the disks') }),
    );
  });

  it('is none for an instance that the caller does not see', async () => {
    const unseen = planMigration(context, { address: { ...place, name: 'plan' }, spec, measure: false, maySee: async () => false });
    await expect(unseen).rejects.toMatchObject({ kind: 'not-found' });
  });
});

describe('a migration', () => {
  it('begins with its forecast and ends with what it took, which corrects the next', async () => {
    expect(codes(await plan(), 'blocks')).toEqual(['being-moved']);
    const id = await runner.start(workflow, { subject: `instance/${world.uids.instance}`, input: world.input });
    for (let turn = 0; turn < 60 && (await runner.get(id))?.endedAt === undefined; turn += 1) {
      await runner.queue.work(`run/${id}`);
      world.sites.tick();
    }
    const moved = await world.store.getByUid<MigrationSpec, MigrationStatus>(world.uids.migration);
    const { forecast, findings, actual } = moved?.status ?? {};
    expect(moved?.status.phase).toBe('done');
    expect(findings?.map(({ code }) => code)).toEqual(['clock', 'identity-kept']);
    expect(forecast).toMatchObject({ mode: 'warm', bytes: 2e9, correction: { moves: 0, duration: 1 } });
    expect(actual).toMatchObject({ pauseMs: 5, bytes: 4096, durationSeconds: expect.any(Number) });
    if (forecast === undefined || actual === undefined) throw new Error('there is nothing to correct by');
    earlier = [{ forecast, actual: { ...actual, durationSeconds: (forecast.durationSeconds ?? 0) * 4 } }];
    // It is at beta now: what it would take back is corrected by what it took there.
    await world.store.transaction(async (tx) => {
      await tx.put({
        kind: site,
        address: { name: 'alpha' },
        spec: { accountRef: 'accounts/agents', country: 'ES', tier: 'edge' },
        state: 'active',
        conditions: [{ state: 'active' }],
      });
    });
    const back = await plan({ toSite: 'alpha' });
    expect(back.forecast?.correction).toMatchObject({ moves: 1, duration: 2 });
  });
});
