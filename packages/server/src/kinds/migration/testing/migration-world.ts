import { blockStorage, type Id, instance, instanceSku, type MigrationSpec, migration, type Permit, Problem } from '@virt8ra/contract';
import type { Runner } from '@virt8ra/engine';
import type { TortureWorld } from '@virt8ra/engine/testing';
import type { Pool } from 'pg';
import { claimOnHost } from '../../../capacity/claims.js';
import { createStore } from '../../../resources/create-store.js';
import type { Store, StoreTransaction } from '../../../resources/store.js';
import type { StoredResource } from '../../../resources/stored-resource.js';
import { emptyTables } from '../../../testing/empty-tables.js';
import type { KindContext } from '../../context.js';
import { currentPermit, grantPermit, recordSurrender, setInstancePower } from '../../instance/index.js';
import type { MoveInput } from '../plan.js';
import type { MigrationStatus } from '../subjects.js';
import { createMigrationWorkflow } from '../workflow.js';
import { createMemorySites, type MemorySites } from './memory-site.js';

/** An instance with two disks that stands at `alpha`, and a migration of it to `beta`. */
export interface MigrationWorld extends TortureWorld<MoveInput, null> {
  readonly context: KindContext;
  readonly sites: MemorySites;
  readonly store: Store;
  readonly uids: { readonly instance: Id<'resource'>; readonly migration: Id<'resource'>; readonly volumes: readonly Id<'resource'>[] };
  snapshot(): Promise<unknown>;
}

const place = { tenant: 'acme', workspace: 'prod' };
const source: { readonly site: string; readonly host: string } = { site: 'alpha', host: 'alpha-1' };
const settlingTicks = 6;

export interface MoveOptions extends Pick<MigrationSpec, 'mode' | 'fallback' | 'guestChanges' | 'cutover' | 'bootProbe' | 'wayBack'> {
  readonly power: 'on' | 'off';
  /** Where the instance is; elsewhere than at `alpha-1` it came by a move from there. */
  readonly standsAt?: typeof source;
}

export async function createMigrationWorld(pool: Pool, options: MoveOptions): Promise<MigrationWorld> {
  await clear(pool);
  const sites = createMemorySites(['alpha', 'beta']);
  const store = createStore({ pool, queue: { nudge: async () => undefined } });
  const context: KindContext = {
    store,
    sites: { connectionOf: sites.connectionOf, close: async () => undefined },
    runner: withoutRunner(),
    now: () => new Date(),
    log: { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined },
  };
  const uids = await store.transaction(async (tx) => await declare(tx, options));
  await realize(context, uids, options.power, options.standsAt ?? source);
  settle(sites);

  const names = new Map<string, string>([
    [uids.instance, 'instance'],
    [uids.migration, 'migration'],
    ...uids.volumes.map((uid, index) => [uid, `disk-${index}`] as const),
  ]);
  const nameOf = (key: string): string => names.get(key.split('-')[0] ?? '') ?? `unknown ${key}`;

  return {
    context,
    sites,
    store,
    uids,
    workflow: createMigrationWorkflow(context),
    input: { migration: uids.migration, instance: uids.instance },
    proceed: () => sites.tick(),
    async snapshot() {
      settle(sites);
      const { instance: uid } = uids;
      const permit = await store.transaction(async (tx) => await currentPermit(tx.client, uid));
      const ledger = await store.ledger.ofResources([...names.keys()] as Id<'resource'>[]);
      const claims = await pool.query<{ resource_uid: string; role: string; host: string }>('select resource_uid, role, host from claim');
      const found = await Promise.all([uid, ...uids.volumes].map(async (each) => await store.getByUid<unknown, Placed>(each)));
      const moved = await store.getByUid<unknown, MigrationStatus>(uids.migration);
      const seen = {
        sites: sites.snapshot(nameOf),
        violations: sites.violations,
        permit: { holder: permit?.holder, surrendered: permit?.surrendered !== undefined },
        ledger: ledger
          .map(({ resourceUid, role, facet, host, state }) => `${nameOf(resourceUid)} ${role} ${facet} ${host} ${state}`)
          .toSorted(),
        claims: claims.rows.map(({ resource_uid, role, host }) => `${nameOf(resource_uid)} ${role} ${host}`).toSorted(),
        placements: found.map((each) => each?.status.placement),
        progress: await store.progressOf(uids.migration),
        ...(isOver(moved?.status) ? { done: outcome(moved, permit?.epoch) } : {}),
      };
      // Keys are made of ids, which no two worlds share.
      return JSON.parse(JSON.stringify(seen).replaceAll(/res_[0-9a-z]{26}/g, nameOf)) as unknown;
    },
    close: async () => await clear(pool),
  };
}

interface Placed {
  readonly placement?: { readonly site: string; readonly host?: string; readonly revision: number };
}

/** A window in which nothing was tried yet counts as the end of the move. */
function isOver({ phase, wayBack }: MigrationStatus = {}): boolean {
  return phase === 'done' || phase === 'brought-back' || (phase === 'kept' && wayBack?.attempt === 0);
}

/** Without instants and ids of runs, which no two worlds share. */
function outcome(moved: StoredResource<unknown, MigrationStatus> | undefined, epoch: number | undefined): unknown {
  if (moved === undefined) return undefined;
  const { startedAt: _, finishedAt, forecast: __, actual: ___, bootProbe, ...measured } = moved.status;
  const isInstant = (member: string): boolean => /At$|^until$|^at$|^run$/.test(member);
  const { state } = moved;
  const probed = bootProbe === undefined ? {} : { bootProbe: { state: bootProbe.state, observed: bootProbe.observed } };
  const shown = { state, epoch, finished: finishedAt !== undefined, ...measured, ...probed };
  return JSON.parse(JSON.stringify(shown, (member, value: unknown) => (isInstant(member) && typeof value === 'string' ? '' : value)));
}

function settle(sites: MemorySites): void {
  for (let tick = 0; tick < settlingTicks; tick += 1) sites.tick();
}

async function declare(tx: StoreTransaction, { power: _, standsAt = source, ...asked }: MoveOptions): Promise<MigrationWorld['uids']> {
  const active = { state: 'active', conditions: [{ state: 'active' }] } as const;
  const sku = await tx.put({ kind: instanceSku, address: { tenant: 'acme', name: 'S' }, spec: { vCPU: 1, ram: 1 }, ...active });
  const placed = { placement: { ...standsAt, cause: 'placement', reason: 'fits', revision: 1 } };
  const volumes: StoredResource[] = [];
  for (const name of ['boot', 'data']) {
    volumes.push(
      await tx.put({ kind: blockStorage, address: { ...place, name }, spec: { sizeGB: 1, skuRef: 'skus/D' }, status: placed, ...active }),
    );
  }
  const [boot, data] = volumes;
  if (boot === undefined || data === undefined) throw new Problem('internal', 'no disks');
  const spec = {
    zone: 'any',
    skuRef: 'skus/S',
    bootVolume: { deviceRef: 'block-storages/boot' },
    dataVolumes: [{ deviceRef: 'block-storages/data' }],
  };
  const guest = await tx.put({
    kind: instance,
    address: { ...place, name: 'guest' },
    spec,
    status: placed,
    references: [
      { pointer: '/spec/skuRef', given: spec.skuRef, uid: sku.uid },
      { pointer: '/spec/bootVolume/deviceRef', given: spec.bootVolume.deviceRef, uid: boot.uid },
      { pointer: '/spec/dataVolumes/0/deviceRef', given: 'block-storages/data', uid: data.uid },
    ],
    ...active,
  });
  const move = await tx.put({
    kind: migration,
    address: { ...place, name: 'move' },
    spec: {
      instanceRef: 'instances/guest',
      toSite: 'beta',
      ...asked,
    },
    references: [{ pointer: '/spec/instanceRef', given: 'instances/guest', uid: guest.uid }],
    state: 'creating',
    conditions: [{ state: 'creating' }],
  });
  return { instance: guest.uid, migration: move.uid, volumes: [boot.uid, data.uid] };
}

async function realize(context: KindContext, uids: MigrationWorld['uids'], power: 'on' | 'off', place: typeof source): Promise<void> {
  const { instances, blockStorages } = await context.sites.connectionOf(place.site);
  if (instances === undefined || blockStorages === undefined) throw new Problem('internal', 'a site without facets');
  await context.store.transaction(async (tx) => {
    const at = { role: 'primary', ...place } as const;
    const capacity = { vCPU: 8, memoryMiB: 16_384, storageBytes: 1e12 };
    const nothing = { vCPU: 0, memoryMiB: 0, storageBytes: 0 };
    await claimOnHost(tx.client, place.host, capacity, [
      { ...at, ...nothing, resourceUid: uids.instance, vCPU: 1, memoryMiB: 1024 },
      ...uids.volumes.map((resourceUid) => ({ ...at, ...nothing, resourceUid, storageBytes: 1e9 })),
    ]);
    const volumes = [];
    for (const resourceUid of uids.volumes) {
      const { id, key } = await tx.ledger.intend({ ...at, resourceUid, facet: 'blockStorages' });
      const spec = { sizeBytes: 1e9, host: place.host, source: { type: 'blank' }, settle: false } as const;
      const handle = await blockStorages.create(spec, key);
      await tx.ledger.confirm(id, handle);
      volumes.push(handle);
    }
    const permit = await permitAt(tx.client, uids.instance, place.host);
    await setInstancePower(tx.client, uids.instance, power);
    const { id, key } = await tx.ledger.intend({ ...at, resourceUid: uids.instance, facet: 'instances' });
    const handle = await instances.create(
      {
        instance: uids.instance,
        name: 'guest',
        host: place.host,
        architecture: 'amd64',
        firmware: 'BIOS',
        vCPU: 1,
        memoryMiB: 1024,
        power,
        restarts: 0,
        volumes,
        nics: [],
        seed: { instanceId: uids.instance, hostname: 'guest', sshKeys: [] },
        exposedPorts: [],
        permit,
      },
      key,
    );
    await tx.ledger.confirm(id, handle);
  });
}

/** Epoch 1, or, where the instance came by a move, epoch 2 on the source’s word. */
async function permitAt(client: StoreTransaction['client'], instanceUid: Id<'resource'>, host: string): Promise<Permit> {
  const first = await grantPermit(client, { instanceUid, holder: source.host });
  if (host === source.host) return first;
  const said = { statement: 'released', instance: instanceUid, epoch: 1, host: source.host, at: '2026-01-01T00:00:00.000Z' } as const;
  const evidence = { ...said, signature: 'alpha-1 1', certificate: '' };
  await recordSurrender(client, evidence);
  return await grantPermit(client, { instanceUid, holder: host, evidence });
}

function withoutRunner(): Runner {
  return new Proxy({} as Runner, {
    get() {
      throw new Problem('internal', 'the steps of a run need no runner');
    },
  });
}

async function clear(pool: Pool): Promise<void> {
  await emptyTables(pool, [
    'claim',
    'run_permit',
    'instance_power',
    'progress',
    'realization',
    'resource_label',
    'resource_reference',
    'resource',
    'workspace_load',
    'tombstone',
    'audit',
    'feed',
  ]);
}
