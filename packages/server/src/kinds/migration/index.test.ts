import { host, type MigrationSpec, migration, site } from '@virt8ra/contract';
import { createRunner, engineMigrations, type Runner } from '@virt8ra/engine';
import { createRecordedLog, startTestPostgres, type TestDatabase, type TestPostgres } from '@virt8ra/engine/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { capacityMigrations } from '../../capacity/claims.js';
import { resourceMigrations } from '../../resources/migrations.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { Admission, KindBehaviour } from '../behaviour.js';
import { instanceMigrations } from '../instance/index.js';
import { createMigrationBehaviour, type MigrationStatus } from './index.js';
import { createMigrationWorld, type MigrationWorld, type MoveOptions } from './testing/migration-world.js';

let postgres: TestPostgres;
let database: TestDatabase;
let world: MigrationWorld;
let runner: Runner;
let behaviour: KindBehaviour<MigrationSpec, MigrationStatus>;

const subject = { name: 'ada', operator: false, tenants: 'all', remote: '127.0.0.1' } as const;
const place = { tenant: 'acme', workspace: 'prod' };

beforeAll(async () => {
  postgres = await startTestPostgres();
  database = await postgres.createDatabase([...engineMigrations, ...resourceMigrations, ...capacityMigrations, ...instanceMigrations]);
});
afterAll(async () => await postgres?.stop());
beforeEach(async () => await setUp({ mode: 'warm', power: 'on' }));
afterEach(async () => await runner.queue.stop({ abandon: true }));

async function setUp(options: MoveOptions): Promise<void> {
  world = await createMigrationWorld(database.pool, options);
  runner = createRunner({
    pool: database.pool,
    workflows: [world.workflow],
    log: createRecordedLog(),
    owner: 'test',
    backoff: { baseSeconds: 0.001, capSeconds: 0.001 },
  });
  behaviour = createMigrationBehaviour({ ...world.context, runner }, world.workflow);
  await world.store.transaction(async (tx) => {
    const active = { state: 'active', conditions: [{ state: 'active' }] } as const;
    await tx.put({
      kind: site,
      address: { name: 'beta' },
      spec: { accountRef: 'accounts/agents', country: 'ES', tier: 'edge' },
      ...active,
    });
  });
}

async function stored(): Promise<StoredResource<MigrationSpec, MigrationStatus>> {
  const found = await world.store.getByUid<MigrationSpec, MigrationStatus>(world.uids.migration);
  if (found === undefined) throw new Error('the migration is gone');
  return found;
}

async function forgetFirstMigration(): Promise<void> {
  await world.store.transaction(async (tx) => await tx.remove(world.uids.migration));
}

async function admit(spec: MigrationSpec, activity = 'running'): Promise<Admission<MigrationStatus> | undefined> {
  return await world.store.transaction(async (tx) => {
    await tx.setStatus(world.uids.instance, { activity: { value: activity, source: 'agent/alpha-1', observedAt: '2026-01-01T00:00:00Z' } });
    return await behaviour.admitPut?.(tx, { address: { ...place, name: 'm' }, next: { spec }, previous: undefined, subject });
  });
}

/** Lets the run go as far as it can, one step of the sites before each turn. */
async function drive(turns: number): Promise<void> {
  const [run] = await runner.list({ subject: `instance/${world.uids.instance}`, live: true });
  for (let turn = 0; turn < turns && run !== undefined; turn += 1) {
    if ((await runner.get(run.id))?.endedAt !== undefined) return;
    world.sites.tick();
    await runner.queue.work(`run/${run.id}`);
  }
}

describe('a new migration', () => {
  const spec: MigrationSpec = { instanceRef: 'instances/guest', toSite: 'beta', mode: 'warm' };

  it('is admitted with where it starts from', async () => {
    await forgetFirstMigration();
    expect(await admit(spec)).toMatchObject({
      outcome: 'creating',
      references: [{ pointer: '/spec/instanceRef', uid: world.uids.instance }],
      status: { phase: 'plan', from: { site: 'alpha', host: 'alpha-1' }, to: { site: 'beta' } },
    });
  });

  it('is refused while another one moves the instance', async () => {
    await expect(admit(spec)).rejects.toMatchObject({ kind: 'conflict', message: expect.stringContaining('migration move') });
  });

  it('is admitted while the run of a move that is done has yet to end, and begins after it', async () => {
    const subjectOfRun = `instance/${world.uids.instance}`;
    const input = { migration: world.uids.migration, instance: world.uids.instance };
    const earlier = await runner.start(world.workflow, { subject: subjectOfRun, input, idempotencyKey: 'the move before' });
    expect(await behaviour.reconcile?.(await stored())).toMatchObject({
      waitSeconds: expect.any(Number),
      reason: expect.stringContaining(earlier),
    });
    expect((await stored()).status.phase).not.toBe('failed');
    await forgetFirstMigration();
    expect(await admit(spec)).toMatchObject({ outcome: 'creating' });
  });

  it('is refused to nowhere, and to where the instance is', async () => {
    await forgetFirstMigration();
    const pointer = [{ pointer: '/spec/toSite' }];
    await expect(admit({ ...spec, toSite: 'nowhere' })).rejects.toMatchObject({ kind: 'validation', sources: pointer });
    await world.store.transaction(async (tx) => {
      const condition = { state: 'active' } as const;
      await tx.put({
        kind: site,
        address: { name: 'alpha' },
        spec: { accountRef: 'accounts/agents', country: 'ES', tier: 'edge' },
        state: 'active',
        conditions: [condition],
      });
    });
    await expect(admit({ ...spec, toSite: 'alpha' })).rejects.toMatchObject({ kind: 'validation', sources: pointer });
  });

  it('is admitted to another host of its own site, and refused to the one it is on or to none', async () => {
    await forgetFirstMigration();
    await world.store.transaction(async (tx) => {
      const active = { state: 'active', conditions: [{ state: 'active' }] } as const;
      await tx.put({ kind: site, address: { name: 'alpha' }, spec: { accountRef: 'accounts/a', country: 'ES', tier: 'edge' }, ...active });
      for (const name of ['alpha-1', 'alpha-2'])
        await tx.put({ kind: host, address: { name }, spec: { siteRef: 'sites/alpha' }, ...active });
    });
    const within = { ...spec, toSite: 'alpha' };
    const pointer = [{ pointer: '/spec/toHost' }];
    await expect(admit({ ...within, toHost: 'alpha-1' })).rejects.toMatchObject({ kind: 'validation', sources: pointer });
    await expect(admit({ ...within, toHost: 'nowhere' })).rejects.toMatchObject({ kind: 'validation', sources: pointer });
    expect(await admit({ ...within, toHost: 'alpha-2' })).toMatchObject({ status: { to: { site: 'alpha', host: 'alpha-2' } } });
  });

  it('is refused warm for an instance that is off, and names the way', async () => {
    await forgetFirstMigration();
    await expect(admit(spec, 'stopped')).rejects.toMatchObject({ kind: 'conflict', message: expect.stringContaining('use cold') });
    expect(await admit({ ...spec, mode: 'cold' }, 'stopped')).toMatchObject({ outcome: 'creating' });
  });
});

describe('a migration under way', () => {
  it('has one run, however often it is looked at, and is done when that is', async () => {
    await behaviour.reconcile?.(await stored());
    await behaviour.reconcile?.(await stored());
    expect(await runner.list({ subject: `instance/${world.uids.instance}` })).toHaveLength(1);
    await drive(60);
    expect(await stored()).toMatchObject({ state: 'active', status: { phase: 'done', permitEpoch: 2 } });
    expect(await behaviour.reconcile?.(await stored())).toEqual({ done: true });
  });

  it('has returned with the target’s own words when its disk filled up', async () => {
    world.sites.fillAt('beta', 'copying');
    await behaviour.reconcile?.(await stored());
    await drive(60);
    await behaviour.reconcile?.(await stored());
    const message = expect.stringContaining('up to 2.0 MiB more are needed');
    expect(await stored()).toMatchObject({
      state: 'error',
      conditions: [{ state: 'error', reason: 'Returned', message }, {}],
      status: { phase: 'returned', problem: message, problemCode: 'exhausted' },
    });
  });

  it('goes on warm when its live copy failed and its owner consented, and says so', async () => {
    await runner.queue.stop({ abandon: true });
    await setUp({ mode: 'live', fallback: 'warm', power: 'on' });
    world.sites.fillAt('beta', 'copying');
    await behaviour.reconcile?.(await stored());
    await drive(60);
    world.sites.fillAt('beta', undefined);
    const { run } = (await stored()).status;
    // However often it is looked at: one more run.
    const undone = await stored();
    await behaviour.reconcile?.(undone);
    await behaviour.reconcile?.(undone);
    expect(await runner.list({ subject: `instance/${world.uids.instance}` })).toHaveLength(2);
    expect((await stored()).status.run).not.toBe(run);
    await drive(60);
    await behaviour.reconcile?.(await stored());
    expect((await stored()).status).toMatchObject({
      phase: 'done',
      mode: 'warm',
      fallbackReason: expect.stringMatching(/its live copy failed: .*more are needed/),
      permitEpoch: 2,
    });
    expect(world.sites.violations).toEqual([]);
  });

  it.each([
    ['nobody consented', {}],
    ['it was called off', { fallback: 'warm' }],
  ] as const)('does not go on warm when %s', async (_why, consent) => {
    await runner.queue.stop({ abandon: true });
    await setUp({ mode: 'live', power: 'on', ...consent });
    if (!('fallback' in consent)) world.sites.fillAt('beta', 'copying');
    await behaviour.reconcile?.(await stored());
    await drive(4);
    if ('fallback' in consent) await runner.cancel((await stored()).status.run ?? '', 'a change of mind');
    await drive(60);
    await behaviour.reconcile?.(await stored());
    expect((await stored()).status).toMatchObject({ phase: 'returned', mode: 'live' });
    expect(await runner.list({ subject: `instance/${world.uids.instance}` })).toHaveLength(1);
  });

  it('is over for good when its run is not kept any more, and begins no other', async () => {
    await behaviour.reconcile?.(await stored());
    await drive(60);
    expect((await stored()).status).toMatchObject({ phase: 'done', run: expect.stringMatching(/^run_/) });
    expect(await runner.prune(0)).toBeGreaterThan(0);
    const done = await stored();
    await expect(world.store.transaction(async (tx) => await behaviour.actions?.['cancel']?.(tx, done, subject, {}))).rejects.toMatchObject(
      { kind: 'conflict', message: 'migration move is done; there is nothing to cancel' },
    );
    expect(await behaviour.reconcile?.(done)).toEqual({ done: true });
    expect(await runner.list({ subject: `instance/${world.uids.instance}` })).toEqual([]);
  });

  it('says that its end is not known when its run went before anyone has looked, and begins no other', async () => {
    await behaviour.reconcile?.(await stored());
    await drive(5);
    const { run = '' } = (await stored()).status;
    await runner.cancel(run, 'a change of mind');
    await drive(60);
    expect(await runner.prune(0)).toBeGreaterThan(0);
    await expect(
      world.store.transaction(async (tx) => await behaviour.actions?.['cancel']?.(tx, await stored(), subject, {})),
    ).rejects.toMatchObject({ kind: 'not-found' });
    expect(await behaviour.reconcile?.(await stored())).toEqual({ done: true });
    expect((await stored()).status).toMatchObject({
      phase: 'failed',
      problem: expect.stringContaining('not kept any more'),
      problemCode: 'not-found',
    });
    expect(await runner.list({ subject: `instance/${world.uids.instance}` })).toEqual([]);
  });

  it('cannot be deleted, and returns to the source when it is cancelled', async () => {
    await behaviour.reconcile?.(await stored());
    await drive(5);
    const before = await stored();
    await expect(world.store.transaction(async (tx) => await behaviour.admitDelete?.(tx, before, subject))).rejects.toMatchObject({
      kind: 'conflict',
      message: expect.stringContaining('virt8ra cancel move'),
    });
    await world.store.transaction(async (tx) => await behaviour.actions?.['cancel']?.(tx, before, subject, {}));
    await drive(60);
    await behaviour.reconcile?.(await stored());
    const after = await stored();
    expect(after).toMatchObject({ state: 'error', status: { phase: 'returned', problem: expect.stringContaining('cancelled by ada') } });
    expect(await world.store.progressOf(after.uid)).toBeUndefined();

    await world.store.transaction(async (tx) => {
      await behaviour.admitDelete?.(tx, after, subject);
      await tx.markDeleted(after.uid);
    });
    expect(await behaviour.reconcile?.(await stored())).toEqual({ gone: true });
    expect(await world.store.get(migration, after.address)).toBeUndefined();
  });
});
