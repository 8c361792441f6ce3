import {
  blockStorage,
  type HostDrain,
  type HostSpec,
  host,
  type Id,
  type InstanceSpec,
  instance,
  instanceSku,
  type MigrationSpec,
  migration,
  site,
} from '@virt8ra/contract';
import type { Connection, Handle, InstancesFacet } from '@virt8ra/driver';
import { engineMigrations, type Runner } from '@virt8ra/engine';
import {
  createRecordedLog,
  expectTorture,
  startTestPostgres,
  type TestDatabase,
  type TestPostgres,
  type TortureWorld,
} from '@virt8ra/engine/testing';
import type { Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { capacityMigrations } from '../../../capacity/claims.js';
import { createStore } from '../../../resources/create-store.js';
import { resourceMigrations } from '../../../resources/migrations.js';
import type { Store } from '../../../resources/store.js';
import { emptyTables } from '../../../testing/empty-tables.js';
import { memoryCapabilities, smallInventory } from '../../../testing/site-facts.js';
import type { KindContext } from '../../context.js';
import { type InstanceStatus, instanceMigrations } from '../../instance/index.js';
import { isOver, type MigrationStatus } from '../../migration/index.js';
import { drainMigrations, movesOfRun } from './moves.js';
import { wishOf } from './survey.js';
import { createDrainWorkflow, type DrainEnd, type DrainInput } from './workflow.js';

/** Hosts alpha-1 (to be emptied) and alpha-2 of one site; what a migration does is played by `proceed`, one step at a time. */
interface DrainWorld extends TortureWorld<DrainInput, DrainEnd> {
  readonly store: Store;
  readonly drained: Id<'resource'>;
  readonly instances: readonly Id<'resource'>[];
}

const place = { tenant: 'acme', workspace: 'prod' };
const active = { state: 'active', conditions: [{ state: 'active' }] } as const;
const seenAt = '2026-01-01T00:00:00.000Z';

const inventory = smallInventory('h', {
  hypervisor: { qemuVersion: '8.2', accelerator: 'tcg', reason: '', machines: ['pc-1'], cpuModels: ['old-v1'] },
});
/** As much of a site as is looked at before a move. The third guest uses a processor that neither host offers in full. */
const twoHosts: Connection = {
  hosts: {
    list: async () =>
      ['alpha-1', 'alpha-2'].map((name) => ({
        host: name,
        connected: true,
        observedAt: seenAt,
        inventory,
        networking: [],
        features: ['live'],
      })),
  },
  instances: {
    observe: async ({ value }: Handle) => ({
      type: 'present',
      at: seenAt,
      source: 'memory',
      status: { activity: 'running', machine: 'pc-1', cpuModel: value === 'i2' ? 'new-v1' : 'old-v1', accelerator: 'tcg', access: [] },
    }),
  } as unknown as InstancesFacet,
  capabilities: memoryCapabilities,
  probe: async () => ({ healthy: true }),
  close: async () => undefined,
};

async function createDrainWorld(pool: Pool, activities: readonly ('running' | 'stopped')[]): Promise<DrainWorld> {
  await emptyTables(pool, [
    'drain_move',
    'progress',
    'realization',
    'resource_label',
    'resource_reference',
    'resource',
    'workspace_load',
    'audit',
    'feed',
  ]);
  const store = createStore({ pool, queue: { nudge: async () => undefined } });
  const context: KindContext = {
    store,
    sites: { connectionOf: async () => twoHosts, close: async () => undefined },
    runner: { list: async () => [] } as unknown as Runner,
    now: () => new Date(seenAt),
    log: createRecordedLog(),
  };
  const { drained, instances } = await store.transaction(async (tx) => {
    const sku = await tx.put({ kind: instanceSku, address: { tenant: 'acme', name: 'S' }, spec: { vCPU: 1, ram: 1 }, ...active });
    await tx.put({ kind: site, address: { name: 'alpha' }, spec: { accountRef: 'accounts/a', country: 'ES', tier: 'edge' }, ...active });
    const spec = { siteRef: 'sites/alpha' };
    const [emptied] = [
      await tx.put({ kind: host, address: { name: 'alpha-1' }, spec, ...active }),
      await tx.put({ kind: host, address: { name: 'alpha-2' }, spec, ...active }),
    ];
    const uids: Id<'resource'>[] = [];
    for (const [index, activity] of activities.entries()) {
      const disk = await tx.put({
        kind: blockStorage,
        address: { ...place, name: `d${index}` },
        spec: { sizeGB: 1, skuRef: 'skus/D' },
        ...active,
      });
      const made = await tx.put({
        kind: instance,
        address: { ...place, name: `i${index}` },
        spec: { zone: 'any', skuRef: 'skus/S', bootVolume: { deviceRef: `block-storages/d${index}` } },
        status: {
          placement: { site: 'alpha', host: 'alpha-1', cause: 'placement', reason: 'fits', revision: 1 },
          activity: { value: activity, source: 'agent/alpha-1', observedAt: seenAt },
        },
        references: [
          { pointer: '/spec/skuRef', given: 'skus/S', uid: sku.uid },
          { pointer: '/spec/bootVolume/deviceRef', given: `block-storages/d${index}`, uid: disk.uid },
        ],
        ...active,
      });
      const { id } = await tx.ledger.intend({ resourceUid: made.uid, role: 'primary', facet: 'instances', site: 'alpha', host: 'alpha-1' });
      await tx.ledger.confirm(id, { driver: 'memory', version: 1, value: `i${index}` });
      uids.push(made.uid);
    }
    return { drained: emptied.uid, instances: uids };
  });
  const everyMigration = async () =>
    (await store.list<MigrationSpec, MigrationStatus>(migration, place, { selector: [], limit: 100, after: undefined })).items;

  /** A migration is planned first, then done: its instance is elsewhere. */
  async function proceed(): Promise<void> {
    for (const move of (await everyMigration()).filter((each) => !isOver(each))) {
      await store.transaction(async (tx) => {
        if (move.status.startedAt === undefined) return await tx.setStatus(move.uid, { startedAt: seenAt });
        const [moved] = await tx.referencesOf(move.uid);
        const [realization] = moved === undefined ? [] : await tx.ledger.ofResource(moved.uid);
        if (moved === undefined || realization === undefined) throw new Error('a migration without its instance');
        await tx.ledger.forget(realization.id);
        const [where, on] = [move.spec.toSite, move.spec.toHost ?? ''];
        await tx.ledger.intend({ resourceUid: moved.uid, role: 'primary', facet: 'instances', site: where, host: on });
        const placement = { site: where, host: on, cause: 'migration', reason: 'moved', revision: 2 };
        await tx.setStatus(moved.uid, { placement });
        await tx.setStatus(move.uid, { phase: 'done' }, { state: 'active' });
      });
    }
  }

  return {
    store,
    drained,
    instances,
    workflow: createDrainWorkflow(context),
    input: { uid: drained, host: 'alpha-1', site: 'alpha', wish: wishOf({}), subject: { name: 'ada', remote: '127.0.0.1' } },
    proceed,
    async snapshot() {
      const found = await Promise.all(instances.map(async (uid) => await store.getByUid<InstanceSpec, InstanceStatus>(uid)));
      const moves = await everyMigration();
      const { rows } = await pool.query<{ outcome: string | null }>('select outcome from drain_move order by migration_uid');
      const emptied = await store.getByUid<HostSpec, { drain?: HostDrain }>(drained);
      return {
        placements: found.map((each) => each?.status.placement?.host),
        // One migration for each instance, whatever happened on the way.
        moves: moves.map(({ spec: { instanceRef, toHost, mode }, status: { phase } }) => ({ instanceRef, toHost, mode, phase })),
        noted: rows,
        drain: emptied?.status.drain,
        progress: await store.progressOf(drained),
      };
    },
  };
}

let postgres: TestPostgres;
let database: TestDatabase;

beforeAll(async () => {
  postgres = await startTestPostgres();
  database = await postgres.createDatabase([
    ...engineMigrations,
    ...resourceMigrations,
    ...capacityMigrations,
    ...instanceMigrations,
    ...drainMigrations,
  ]);
});
afterAll(async () => await postgres?.stop());

describe('a drain under attack', () => {
  it('withstands every fault at every point, and moves each instance once, as gently as the hosts allow', async () => {
    const report = await expectTorture({
      pool: database.pool,
      world: async () => await createDrainWorld(database.pool, ['running', 'stopped', 'running']),
    });
    expect(report.points.map(({ name }) => name)).toEqual(['begun', 'emptied', 'finish']);
    const { rows } = await database.pool.query<{ run: string }>('select distinct run from drain_move');
    const modes = (await movesOfRun(database.pool, rows[0]?.run ?? '')).map(({ mode }) => mode);
    expect(modes).toEqual(['live', 'cold', 'warm']);
  }, 300_000);
});
