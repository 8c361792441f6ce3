import { type InstanceSpec, instance, type MigrationSpec, Problem, type ReturnRequest, site } from '@virt8ra/contract';
import { createRunner, engineMigrations, type Runner } from '@virt8ra/engine';
import { createRecordedLog, startTestPostgres, type TestDatabase, type TestPostgres } from '@virt8ra/engine/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { capacityMigrations } from '../../../capacity/claims.js';
import { resourceMigrations } from '../../../resources/migrations.js';
import type { StoredResource } from '../../../resources/stored-resource.js';
import type { KindContext } from '../../context.js';
import { instanceMigrations } from '../../instance/index.js';
import { assertNotMoving, assertNoWayBack } from '../../moving.js';
import { createMigrationBehaviour, createWayBackWorkflows } from '../index.js';
import type { MigrationStatus } from '../subjects.js';
import { createMigrationWorld } from '../testing/migration-world.js';

let postgres: TestPostgres;
let database: TestDatabase;

beforeAll(async () => {
  postgres = await startTestPostgres();
  database = await postgres.createDatabase([...engineMigrations, ...resourceMigrations, ...capacityMigrations, ...instanceMigrations]);
});
afterAll(async () => await postgres?.stop());

const subject = { name: 'ada', operator: false, tenants: 'all', remote: '127.0.0.1' } as const;
const place = { tenant: 'acme', workspace: 'prod' };
const dayMs = 24 * 3_600_000;

/** A control plane over a world, whose clock is set by hand and which may be killed at any turn. */
async function createPlane(options: { readonly hours?: number; readonly mode?: MigrationSpec['mode'] } = {}) {
  const { hours = 24, mode = 'warm' } = options;
  const world = await createMigrationWorld(database.pool, { mode, power: 'on', wayBack: { hours } });
  let aheadMs = 0;
  const base: KindContext = { ...world.context, now: () => new Date(Date.now() + aheadMs) };
  let runner: Runner;
  const start = () => {
    const moves = createWayBackWorkflows(base);
    const behaviour = (on: Runner) => createMigrationBehaviour({ ...base, runner: on }, world.workflow, moves);
    runner = createRunner({
      pool: database.pool,
      workflows: [world.workflow, moves.flow, moves.release],
      log: createRecordedLog(),
      owner: `plane ${Math.random()}`,
      backoff: { baseSeconds: 0.001, capSeconds: 0.001 },
    });
    return behaviour(runner);
  };
  let behaviour = start();
  await world.store.transaction(async (tx) => {
    await tx.setStatus(world.uids.instance, { activity: { value: 'running', source: 'agent/beta-1', observedAt: '2026-01-01T00:00:00Z' } });
    const active = { state: 'active', conditions: [{ state: 'active' }] } as const;
    for (const name of ['alpha', 'beta'])
      await tx.put({ kind: site, address: { name }, spec: { accountRef: 'accounts/a', country: 'ES', tier: 'edge' }, ...active });
  });

  const stored = async (): Promise<StoredResource<MigrationSpec, MigrationStatus>> => {
    const found = await world.store.getByUid<MigrationSpec, MigrationStatus>(world.uids.migration);
    if (found === undefined) throw new Error('the migration is gone');
    return found;
  };
  const kill = async () => {
    await runner.queue.stop({ abandon: true });
    behaviour = start();
  };
  return {
    world,
    stored,
    kill,
    get runner() {
      return runner;
    },
    passTime: (ms: number) => {
      aheadMs += ms;
    },
    /** Lets everything go on until the migration is so; each turn is one look, one step of every run, and one of the sites. */
    async until(what: string, reached: (status: MigrationStatus) => boolean, { dyingAt }: { readonly dyingAt?: number } = {}) {
      for (let turn = 0; turn < 150; turn += 1) {
        const resource = await stored();
        if (reached(resource.status)) return resource;
        if (dyingAt !== undefined && turn % dyingAt === dyingAt - 1) await kill();
        await behaviour.reconcile?.(resource);
        for (const { id } of await runner.list({ live: true })) {
          await runner.queue.expire(`run/${id}`);
          await runner.queue.work(`run/${id}`);
        }
        world.sites.tick();
      }
      throw new Error(`it was never ${what}: ${JSON.stringify((await stored()).status)}`);
    },
    async act(action: 'return' | 'release' | 'cancel', body: ReturnRequest = {}) {
      const resource = await stored();
      await world.store.transaction(async (tx) => await behaviour.actions?.[action]?.(tx, resource, subject, body));
    },
    async admit(spec: MigrationSpec) {
      return await world.store.transaction(
        async (tx) =>
          await behaviour.admitPut?.(tx, { address: { ...place, name: 'other' }, next: { spec }, previous: undefined, subject }),
      );
    },
    admitDelete: async () => await world.store.transaction(async (tx) => await behaviour.admitDelete?.(tx, await stored(), subject)),
    async claims() {
      return ((await world.snapshot()) as { readonly claims: readonly string[] }).claims;
    },
    async end() {
      await runner.queue.stop({ abandon: true });
    },
  };
}

type Plane = Awaited<ReturnType<typeof createPlane>>;
const isKept = ({ phase }: MigrationStatus): boolean => phase === 'kept';
const isCurrent = (status: MigrationStatus): boolean => isKept(status) && status.wayBack?.reverse.state === 'current';
const isOver = ({ phase }: MigrationStatus): boolean => phase === 'brought-back' || phase === 'done';

const atHome = {
  violations: [],
  permit: { holder: 'alpha-1', surrendered: false },
  ledger: [
    'disk-0 primary blockStorages alpha-1 present',
    'disk-1 primary blockStorages alpha-1 present',
    'instance primary instances alpha-1 present',
  ],
  claims: ['disk-0 primary alpha-1', 'disk-1 primary alpha-1', 'instance primary alpha-1'],
  sites: [
    { guests: [{ activity: 'running' }], volumes: [{ state: 'ready' }, { state: 'ready' }], transfers: [] },
    { guests: [], volumes: [], transfers: [] },
  ],
};
const atTarget = { ...atHome, permit: { holder: 'beta-1' }, sites: [atHome.sites[1], atHome.sites[0]] };

async function withPlane(options: Parameters<typeof createPlane>[0], work: (plane: Plane) => Promise<void>): Promise<void> {
  const plane = await createPlane(options);
  try {
    await work(plane);
  } finally {
    await plane.end();
  }
}

describe('a window', () => {
  it('keeps the disks and the room of the source, has what is written flow back, and refuses what would end it', async () => {
    await withPlane({}, async (plane) => {
      const { world } = plane;
      const opened = await plane.until('kept', isKept);
      expect(opened).toMatchObject({
        state: 'active',
        status: {
          phase: 'kept',
          pauseMs: 5,
          digests: [{ equal: true }, { equal: true }],
          wayBack: { at: { site: 'alpha', host: 'alpha-1' }, retainedBytes: 2e9, attempt: 0 },
        },
      });
      const { until = '', openedAt = '' } = opened.status.wayBack ?? {};
      expect(Date.parse(until) - Date.parse(openedAt)).toBe(dayMs);
      expect(await plane.claims()).toEqual([
        'disk-0 primary beta-1',
        'disk-0 retained alpha-1',
        'disk-1 primary beta-1',
        'disk-1 retained alpha-1',
        'instance primary beta-1',
        'instance retained alpha-1',
      ]);

      const flowing = await plane.until('current', isCurrent);
      expect(flowing.status.wayBack?.reverse).toMatchObject({ state: 'current', passes: 2, bytes: 4096 });
      // Its new disks have room of their own; that of the instance was held already.
      expect(await plane.claims()).toEqual(
        expect.arrayContaining(['disk-0 incoming alpha-1', 'disk-0 retained alpha-1', 'instance incoming alpha-1']),
      );
      // The instance is nobody's run: its owner may stop and start it.
      expect(await plane.runner.list({ subject: `instance/${world.uids.instance}`, live: true })).toEqual([]);

      const refusal = { kind: 'conflict', message: expect.stringMatching(/give it up first: virt8ra migration release move$/) };
      await expect(plane.admit({ instanceRef: 'instances/guest', toSite: 'alpha', mode: 'warm' })).rejects.toMatchObject(refusal);
      await expect(plane.admitDelete()).rejects.toMatchObject(refusal);
      const inside = async (work: (tx: Parameters<typeof assertNoWayBack>[0]) => Promise<void>) => await world.store.transaction(work);
      await expect(inside(async (tx) => await assertNoWayBack(tx, world.uids.instance, 'delete it'))).rejects.toMatchObject(refusal);
      const context = { runner: plane.runner };
      const snapshotted = inside(async (tx) => await assertNotMoving(context, tx, world.uids.instance, 'take a snapshot of it'));
      await expect(snapshotted).rejects.toMatchObject({ message: expect.stringContaining('to take a snapshot of it, give it up') });
      await expect(plane.act('cancel')).rejects.toMatchObject({
        kind: 'conflict',
        message: expect.stringContaining('migration return|release'),
      });
    });
  });

  it.each(['warm', 'cold', 'live'] as const)('brings the instance back %s, and tells both journeys', async (mode) => {
    await withPlane({}, async (plane) => {
      await plane.until('current', isCurrent);
      await plane.act('return', { mode });
      await plane.act('return', { mode });
      const over = await plane.until('over', isOver);
      expect(over.status).toMatchObject({
        phase: 'brought-back',
        from: { host: 'alpha-1' },
        to: { host: 'beta-1' },
        permitEpoch: 2,
        return: { mode, askedBy: 'ada', permitEpoch: 3, digests: [{ equal: true }, { equal: true }] },
        wayBack: { ended: 'returned' },
      });
      expect(over.status.wayBack?.asked).toBeUndefined();
      expect(await plane.world.snapshot()).toMatchObject(atHome);
      await expect(plane.act('return')).rejects.toMatchObject({
        kind: 'conflict',
        message: expect.stringContaining('has ended: returned'),
      });
    });
  });

  it.each(['released', 'expired'] as const)('leaves nothing at the source when it is %s', async (how) => {
    await withPlane({ hours: 1 }, async (plane) => {
      await plane.until('current', isCurrent);
      if (how === 'released') await plane.act('release');
      else plane.passTime(dayMs);
      const over = await plane.until('over', isOver);
      expect(over.status).toMatchObject({ phase: 'done', wayBack: { ended: how } });
      expect(await plane.world.snapshot()).toMatchObject({
        ...atTarget,
        ledger: expect.arrayContaining(['instance primary instances beta-1 present']),
        claims: ['disk-0 primary beta-1', 'disk-1 primary beta-1', 'instance primary beta-1'],
      });
      await expect(plane.act('return')).rejects.toMatchObject({ kind: 'conflict', message: expect.stringContaining(`has ended: ${how}`) });
    });
  });

  it('stops what flows when the source’s disk is full, touches nothing that is retained, and tries again', async () => {
    await withPlane({}, async (plane) => {
      plane.world.sites.fillAt('alpha', 'copying');
      const stopped = await plane.until('stopped', ({ wayBack }) => wayBack?.reverse.retryAt !== undefined);
      expect(stopped).toMatchObject({
        state: 'active',
        status: { phase: 'kept', wayBack: { reverse: { state: 'stopped', reason: expect.stringContaining('the disk is full') } } },
      });
      expect(stopped.conditions[0]).toMatchObject({ type: 'WayBack', reason: 'FlowStopped' });
      // The half-copied disks gave their room back, so that the guest’s host has it; the retained ones stand.
      expect(await plane.claims()).toEqual(expect.arrayContaining(['disk-0 retained alpha-1', 'instance retained alpha-1']));
      expect(await plane.claims()).not.toContain('disk-0 incoming alpha-1');
      plane.world.sites.fillAt('alpha', undefined);
      plane.passTime(3_600_000);
      await plane.until('current', isCurrent);
      await plane.act('return');
      await plane.until('over', isOver);
      expect(await plane.world.snapshot()).toMatchObject(atHome);
    });
  });

  it('is as open as before when a return is undone, and the next one succeeds', async () => {
    await withPlane({}, async (plane) => {
      await plane.until('current', isCurrent);
      plane.world.sites.damageNextCopy();
      await plane.act('return');
      const undone = await plane.until('undone', (status) => isKept(status) && status.return?.problem !== undefined);
      expect(undone).toMatchObject({
        state: 'active',
        status: { wayBack: { reverse: { state: 'stopped' } }, return: { problem: expect.stringContaining('is not at the target') } },
      });
      expect(undone.status.wayBack?.asked).toBeUndefined();
      expect(await plane.world.snapshot()).toMatchObject({ violations: [], permit: { holder: 'beta-1', surrendered: false } });
      await plane.until('current', isCurrent);
      await plane.act('return');
      await plane.act('cancel');
      await plane.until('current again', isCurrent);
      // What a return that was called off at once had taken over is taken away whole.
      await plane.act('return');
      await plane.until('handed over', ({ return: journey }) => journey?.run !== undefined);
      await plane.act('cancel');
      await plane.until('current anew', isCurrent);
      await plane.act('return');
      await plane.until('over', isOver);
      expect(await plane.world.snapshot()).toMatchObject(atHome);
    });
  });

  it('survives a server that is killed again and again, there and back', async () => {
    for (const dyingAt of [1, 3]) {
      await withPlane({}, async (plane) => {
        await plane.until('current', isCurrent, { dyingAt });
        await plane.act('return');
        await plane.until('over', isOver, { dyingAt });
        expect(await plane.world.snapshot()).toMatchObject(atHome);
      });
    }
  }, 60_000);
});

it('is known to the instance by its own name only while it is open', async () => {
  await withPlane({}, async ({ world, until, act }) => {
    await until('kept', isKept);
    await act('release');
    await until('over', isOver);
    const [found] = await world.store.getManyByUid<InstanceSpec>([world.uids.instance]);
    if (found === undefined || found.kind !== instance.kind) throw new Problem('internal', 'no instance');
    await world.store.transaction(async (tx) => await assertNoWayBack(tx, found.uid, 'delete it'));
  });
});
