import {
  type Address,
  instance,
  type Kind,
  network,
  networkSku,
  nic,
  Problem,
  type Resource,
  storageSku,
  subnet,
  workspace,
} from '@virt8ra/contract';
import type { Runner } from '@virt8ra/engine';
import { createRecordedLog, startTestPostgres } from '@virt8ra/engine/testing';
import type { Pool } from 'pg';
import { capacityMigrations } from '../capacity/claims.js';
import { deleteResource } from '../http/delete-resource.js';
import { createPutResource } from '../http/put-resource.js';
import type { KindBehaviour, Subject } from '../kinds/behaviour.js';
import { createBlockStorageBehaviour } from '../kinds/block-storage/index.js';
import type { KindContext } from '../kinds/context.js';
import { internetGatewayBehaviour } from '../kinds/internet-gateway/index.js';
import { createNetworkBehaviour, networkMigrations } from '../kinds/network/index.js';
import { createNicBehaviour, nicMigrations } from '../kinds/nic/index.js';
import { publicIpBehaviour, publicIpMigrations } from '../kinds/public-ip/index.js';
import { createRouteTableBehaviour } from '../kinds/route-table/index.js';
import { createSecurityGroupBehaviour, securityGroupRuleBehaviour } from '../kinds/security-group/index.js';
import { createSubnetBehaviour } from '../kinds/subnet/index.js';
import { workspaceBehaviour } from '../kinds/workspace/index.js';
import { createStore } from '../resources/create-store.js';
import { resourceMigrations } from '../resources/migrations.js';
import type { Store } from '../resources/store.js';
import type { StoredResource } from '../resources/stored-resource.js';
import { createMemorySite, type MemorySite } from './memory-site.js';

export const within = { tenant: 'acme', workspace: 'prod' } as const;
const subject: Subject = { name: 'ann', operator: true, tenants: ['acme'], remote: '127.0.0.1' };

/** The kinds of storage and network on a real PostgreSQL and a site in memory, asked as the API asks them. */
export interface KindWorld {
  readonly store: Store;
  readonly pool: Pool;
  readonly context: KindContext;
  readonly site: MemorySite;
  put(kind: Kind, address: Address, spec: unknown, extensions?: Resource['extensions']): Promise<StoredResource>;
  remove(kind: Kind, address: Address): Promise<void>;
  reconcile(resource: Pick<StoredResource, 'uid'>): ReturnType<NonNullable<KindBehaviour['reconcile']>>;
  read<Status>(kind: Kind, address: Address): Promise<StoredResource<unknown, Status>>;
  /** An instance that is realized on a host, with references to these. */
  occupy(name: string, host: string, uids: readonly StoredResource['uid'][]): Promise<StoredResource>;
  /** Takes such an instance away again. */
  vacate(resource: StoredResource): Promise<void>;
  stop(): Promise<void>;
}

export async function startKindWorld(): Promise<KindWorld> {
  const postgres = await startTestPostgres();
  const { pool } = await postgres.createDatabase([
    ...resourceMigrations,
    ...capacityMigrations,
    ...networkMigrations,
    ...nicMigrations,
    ...publicIpMigrations,
  ]);
  const store = createStore({ pool, queue: { nudge: async () => undefined } });
  const site = createMemorySite();
  const runner = { list: async () => [] } as unknown as Runner;
  const context: KindContext = { store, sites: site.sites, runner, now: () => new Date(), log: createRecordedLog() };
  const behaviours = new Map<string, KindBehaviour>(
    (
      [
        workspaceBehaviour,
        createNetworkBehaviour(context, { pool, networkPairs: async () => new Map() }),
        createSubnetBehaviour(context),
        internetGatewayBehaviour,
        createRouteTableBehaviour(context),
        publicIpBehaviour,
        securityGroupRuleBehaviour,
        createSecurityGroupBehaviour(context),
        createNicBehaviour(context),
        createBlockStorageBehaviour(context),
      ] as readonly KindBehaviour[]
    ).map((behaviour) => [behaviour.kind.kind, behaviour]),
  );
  const of = (kind: string): KindBehaviour => {
    const found = behaviours.get(kind);
    if (found === undefined) throw new Error(`${kind} is not in this world`);
    return found;
  };
  const world: KindWorld = {
    store,
    pool,
    context,
    site,
    async put(kind, address, spec, extensions) {
      const put = createPutResource(store, of(kind.kind), { region: 'eu-test', access: { seen: async () => () => true } });
      const body = { spec, ...(extensions === undefined ? {} : { extensions }) };
      return (await put({ address, body, version: undefined, subject })).resource;
    },
    remove: async (kind, address) => await deleteResource(store, of(kind.kind), { address, version: undefined, subject }),
    async reconcile({ uid }) {
      const resource = await store.getByUid(uid);
      if (resource === undefined) throw new Problem('not-found', 'it is gone');
      return (await of(resource.kind).reconcile?.(resource)) ?? { done: true };
    },
    async read<Status>(kind: Kind, address: Address) {
      const found = await store.get<unknown, Status>(kind, address);
      if (found === undefined) throw new Problem('not-found', `${kind.kind} ${address.name} is not there`);
      return found;
    },
    occupy: async (name, host, uids) =>
      await store.transaction(async (tx) => {
        const made = await tx.put({
          kind: instance,
          address: { ...within, name },
          spec: {},
          state: 'active',
          conditions: [{ state: 'active' }],
          references: uids.map((uid, index) => ({
            pointer: index === 0 ? '/spec/primaryNicRef' : `/spec/additionalNicRefs/${index - 1}`,
            given: 'nics/x',
            uid,
          })),
        });
        await tx.ledger.intend({ resourceUid: made.uid, role: 'primary', facet: 'instances', site: 'edge', host });
        return made;
      }),
    async vacate({ uid }) {
      await store.transaction(async (tx) => {
        for (const { id } of await tx.ledger.ofResource(uid)) await tx.ledger.forget(id);
        await tx.remove(uid);
      });
    },
    stop: async () => await postgres.stop(),
  };
  await world.put(workspace, { tenant: 'acme', name: 'prod' }, {});
  await record(store, networkSku, 'N1', { bandwidth: 1000, packets: 1000 });
  await record(store, storageSku, 'RD500', { iops: 500, type: 'local-durable', minVolumeSize: 1 });
  await record(store, storageSku, 'RD20K', { iops: 20000, type: 'local-durable', minVolumeSize: 50 });
  return world;
}

/** Something that only the control plane makes. */
export async function record(
  store: Store,
  kind: Kind,
  name: string,
  spec: unknown,
  rest: { readonly state?: StoredResource['state']; readonly status?: Readonly<Record<string, unknown>> } = {},
): Promise<StoredResource> {
  const { state = 'active', status = {} } = rest;
  return await store.transaction(
    async (tx) => await tx.put({ kind, address: { tenant: 'acme', name }, spec, status, state, conditions: [{ state }] }),
  );
}

export async function putNetwork(world: KindWorld, name: string, cidr: { ipv4?: string; ipv6?: string }): Promise<StoredResource> {
  return await world.put(network, { ...within, name }, { cidr, skuRef: 'skus/N1' });
}

export async function putSubnet(
  world: KindWorld,
  inNetwork: string,
  name: string,
  cidr: { ipv4?: string; ipv6?: string },
  rest: object = {},
): Promise<StoredResource> {
  return await world.put(subnet, { ...within, network: inNetwork, name }, { cidr, ...rest });
}

export async function putNic(
  world: KindWorld,
  name: string,
  subnetRef: string,
  addresses: readonly string[],
  rest: object = {},
): Promise<StoredResource<unknown, { addresses: string[]; macAddress: string }>> {
  return (await world.put(nic, { ...within, name }, { subnetRef, addresses, ...rest })) as StoredResource<
    unknown,
    { addresses: string[]; macAddress: string }
  >;
}
