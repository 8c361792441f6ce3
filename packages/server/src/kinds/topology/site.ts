import { account, host, type Observed, Problem, publicIp, type SiteSpec, site } from '@virt8ra/contract';
import type { Driver, HostObservation } from '@virt8ra/driver';
import type { Pool } from 'pg';
import type { Static } from 'typebox';
import type { SiteHealths } from '../../accounts/site-health.js';
import { claimedOn } from '../../capacity/claims.js';
import type { DeviceOffer } from '../../placement/devices.js';
import type { Capacity, Claimed } from '../../placement/placement.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { KindBehaviour } from '../behaviour.js';
import { blockStorageBoundTo } from '../block-storage/index.js';
import type { KindContext } from '../context.js';
import { devicesOf } from '../instance/index.js';
import { addressesTaken, assertPool, lockPool, poolOf, sitesWithPool } from '../public-ip/index.js';
import { assertVendorData } from './vendor-data.js';

type AccountSpec = Static<typeof account.spec>;

/** What few hosts have, and how much of it is free; absent where none has any. */
type SetApart = { readonly [Field in Rare | `${Rare}Free`]?: number };
type Rare = 'dedicatedCPU' | 'huge2Mi' | 'huge1Gi';

export interface SiteStatus {
  reachable?: Observed<boolean>;
  hosts?: number;
  capacity?: {
    readonly vCPU: number;
    readonly vCPUFree: number;
    readonly memoryMiB: number;
    readonly memoryMiBFree: number;
    readonly storageGB: number;
    readonly storageGBFree: number;
  } & SetApart;
  architectures?: readonly string[];
  /** PCI devices that hosts offer to guests; absent where there are none. */
  pciDevices?: readonly (DeviceOffer & { readonly free: number })[];
  publicAddressesTaken?: number;
}

/** SECA's bound on a zone's name. */
const longestName = 32;

/** Site: a place, which is a zone. It goes only when it has no hosts and nothing is realized there. */
export function createSiteBehaviour(
  context: Pick<KindContext, 'sites' | 'now' | 'log'>,
  parts: {
    readonly pool: Pick<Pool, 'query'>;
    readonly drivers: readonly Pick<Driver<unknown>, 'name' | 'access'>[];
    readonly healths: SiteHealths;
  },
): KindBehaviour<SiteSpec, SiteStatus> {
  const { pool, drivers, healths } = parts;
  return {
    kind: site,
    async admitPut(tx, { address, next }) {
      const { name } = address;
      const sources = [{ parameter: 'name' }];
      if (name.length > longestName)
        throw new Problem('validation', `a site is a zone, whose name has at most ${longestName} characters`, { sources });
      if (name === 'any') throw new Problem('validation', 'the zone any is no site; it lets the control plane choose one', { sources });
      assertVendorData(next.spec.vendorData);
      const { reference, target } = await tx.resolve<AccountSpec>(account, next.spec.accountRef, {}, '/spec/accountRef');
      const { settings } = next.spec;
      const access = drivers.find((driver) => driver.name === target.spec.driver)?.access;
      if (access !== undefined) access.checkSite(settings ?? {});
      else if (settings !== undefined) {
        const pointer = '/spec/settings';
        throw new Problem('validation', `${pointer}: sites of driver ${target.spec.driver} have none`, { sources: [{ pointer }] });
      }
      const pool = poolOf(next.spec);
      // Sites that take the same addresses at the same moment wait for each other.
      await lockPool(tx.client, '');
      await lockPool(tx.client, name);
      await assertPool(
        tx.client,
        name,
        pool,
        (await sitesWithPool(tx)).filter((other) => other.name !== name),
      );
      return { references: [reference], outcome: 'active' };
    },
    async admitDelete(tx, { uid, address }) {
      const [user] = await tx.usersOf(uid, host);
      if (user !== undefined)
        throw new Problem('conflict', `site ${address.name} still has host ${user.address.name}; delete its hosts first`);
      const realized = await tx.ledger.atSite(address.name);
      if (realized.length > 0) {
        throw new Problem('conflict', `${realized.length} objects are still realized at site ${address.name}; move or delete them first`);
      }
      const [held] = await tx.usersOf(uid, publicIp);
      if (held !== undefined)
        throw new Problem('conflict', `public IP ${held.address.name} holds an address of site ${address.name}; delete it first`);
      const bound = await blockStorageBoundTo(tx.client, address.name);
      if (bound !== undefined)
        throw new Problem('conflict', `block storage ${bound} is bound to site ${address.name}; bind it to another one or delete it first`);
    },
    async present(_reader, resources) {
      const offering = resources.filter(({ spec }) => (spec.publicAddresses ?? []).length > 0).map(({ address }) => address.name);
      const taken = offering.length === 0 ? new Map<string, number>() : await addressesTaken(pool, offering);
      return await Promise.all(
        resources.map(async (each) => {
          const { name } = each.address;
          const shown = await presentSite(context, { pool, healths }, each);
          return offering.includes(name) ? { ...shown, publicAddressesTaken: taken.get(name) ?? 0 } : shown;
        }),
      );
    },
  };
}

async function presentSite(
  context: Pick<KindContext, 'sites' | 'now' | 'log'>,
  { pool, healths }: { readonly pool: Pick<Pool, 'query'>; readonly healths: SiteHealths },
  { address: { name } }: StoredResource,
): Promise<Partial<SiteStatus>> {
  const observed = (value: boolean): Observed<boolean> => ({
    value,
    source: `site/${name}`,
    observedAt: context.now().toISOString(),
  });
  try {
    const connection = await context.sites.connectionOf(name);
    if (connection.hosts === undefined) {
      // It shows no hosts: whether it can be reached is what a look at it says.
      const health = (await healths.of([name])).get(name);
      return health === undefined ? {} : { reachable: { ...observed(health.healthy), observedAt: health.observedAt } };
    }
    const hosts = await connection.hosts.list();
    const claimed = await claimedOn(
      pool as Parameters<typeof claimedOn>[0],
      hosts.map((each) => each.host),
    );
    const total = sum(hosts.flatMap(({ inventory }) => (inventory === undefined ? [] : [inventory.capacity])));
    const taken = sum([...claimed.values()]);
    const pciDevices = devicesAt(hosts, claimed);
    return {
      reachable: observed(hosts.some(({ connected }) => connected)),
      hosts: hosts.length,
      capacity: {
        vCPU: total.vCPU,
        vCPUFree: total.vCPU - taken.vCPU,
        memoryMiB: total.memoryMiB,
        memoryMiBFree: total.memoryMiB - taken.memoryMiB,
        storageGB: Math.floor(total.storageBytes / bytesPerGB),
        storageGBFree: Math.floor((total.storageBytes - taken.storageBytes) / bytesPerGB),
        ...setApart('dedicatedCPU', total, taken),
        ...setApart('huge2Mi', total, taken),
        ...setApart('huge1Gi', total, taken),
      },
      architectures: [...new Set(hosts.flatMap(({ inventory }) => (inventory === undefined ? [] : [inventory.architecture])))].sort(),
      ...(pciDevices.length === 0 ? {} : { pciDevices }),
    };
  } catch (error) {
    context.log.debug('a site cannot be asked', { site: name, error });
    return { reachable: observed(false) };
  }
}

function devicesAt(
  hosts: readonly Pick<HostObservation, 'host' | 'inventory'>[],
  claimed: ReadonlyMap<string, Claimed>,
): NonNullable<SiteStatus['pciDevices']> {
  const found = new Map<string, DeviceOffer & { readonly free: number }>();
  for (const { host: name, inventory } of hosts) {
    for (const { id, count, ...what } of devicesOf(inventory)) {
      const free = Math.max(count - (claimed.get(name)?.deviceCounts?.[id] ?? 0), 0);
      const before = found.get(id);
      found.set(id, { id, ...what, ...before, count: (before?.count ?? 0) + count, free: (before?.free ?? 0) + free });
    }
  }
  return [...found.values()];
}

const bytesPerGB = 1_000_000_000;

function setApart(field: Rare, total: Required<Capacity>, taken: Required<Capacity>): SetApart {
  return total[field] === 0 ? {} : { [field]: total[field], [`${field}Free`]: total[field] - taken[field] };
}

function sum(sizes: readonly Capacity[]): Required<Capacity> {
  const of = (field: keyof Capacity) => sizes.reduce((total, each) => total + (each[field] ?? 0), 0);
  return {
    vCPU: of('vCPU'),
    memoryMiB: of('memoryMiB'),
    storageBytes: of('storageBytes'),
    dedicatedCPU: of('dedicatedCPU'),
    huge2Mi: of('huge2Mi'),
    huge1Gi: of('huge1Gi'),
  };
}
