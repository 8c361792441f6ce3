import { createHash } from 'node:crypto';
import { type Id, type NetworkSpec, network, networkMtu, Problem, toProblem } from '@virt8ra/contract';
import type { Connection, Handle, NetworkRealizationStatus, NetworksFacet } from '@virt8ra/driver';
import type { PoolClient } from 'pg';
import type { Realization } from '../../resources/ledger-types.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { KindContext } from '../context.js';
import { realizedHandle, type StillThere, withdrawn } from '../realize.js';
import { subnetsOf } from './address-plan.js';
import { gatewaysOf } from './gateways.js';
import { networkNames } from './network-names.js';
import { networkNeighbours } from './network-neighbours.js';
import { networkRoutes } from './network-routes.js';

type Context = Pick<KindContext, 'store' | 'sites' | 'now'>;

/** Also where no tunnel is needed, so that a guest finds the same wherever it goes. */
const mtu = networkMtu;

/** How often a network looks for hosts that do not need it any more and were not let go of. */
export const sweepSeconds = 300;

export type NetworkOnHost =
  | { readonly handle: Handle; readonly ready: boolean; readonly reach: NetworkRealizationStatus['reach'] }
  | { readonly waiting: string };

/**
 * Makes a network on a host, or finds it there, and keeps its gateways, routes and names what they are. Repeatable. Raises `conflict` when the network
 * is going, `unavailable` when the site cannot be asked.
 */
export async function ensureNetworkOnHost(
  context: Context,
  resource: Pick<StoredResource, 'uid'>,
  site: string,
  host: string,
): Promise<NetworkOnHost> {
  const { connection, networks } = await networksAt(context, site);
  const { realization, wanted } = await context.store.transaction(async (tx) => {
    const held = await tx.lock<NetworkSpec>(resource.uid);
    if (held === undefined || held.deletedAt !== undefined) throw new Problem('conflict', 'the network is being deleted');
    const existing = (await tx.ledger.ofResource(held.uid)).find((each) => each.site === site && each.host === host);
    if (existing === undefined) await tx.nudge(network.kind, held.uid, sweepSeconds);
    const { name, ...within } = held.address;
    const subnets = await subnetsOf(tx, { ...within, network: name });
    return {
      realization: existing ?? (await tx.ledger.intend({ resourceUid: held.uid, role: 'primary', facet: 'networks', site, host })),
      wanted: {
        vni: await vniOf(tx.client, held.uid),
        mtu,
        gateways: subnets.flatMap((each) => gatewaysOf(each).map(({ address, range }) => `${address}/${range.prefix}`)),
        routes: await networkRoutes(tx, held.uid, subnets),
        ...(subnets.length > 1 ? { neighbours: await networkNeighbours(tx.client, held.uid) } : {}),
        names: { domain: `${name}.internal`, hosts: await networkNames(tx.client, held.uid) },
      },
    };
  });
  if (realization.state === 'removing') {
    const left = await removeNetworkRealization(context, realization);
    return left === undefined ? await ensureNetworkOnHost(context, resource, site, host) : { waiting: left.reason };
  }
  const spec = { host, ...wanted };
  const handle = await realizedHandle(context, connection, networks, realization, () => spec);
  const told = createHash('sha256').update(JSON.stringify(wanted)).digest('hex');
  if (realization.facts['told'] !== told) {
    await networks.update(handle, spec);
    await context.store.transaction(async (tx) => await tx.ledger.setFacts(realization.id, { told }));
  }
  const seen = await networks.observe(handle);
  switch (seen.type) {
    case 'present':
    case 'changing':
      return { handle, ready: seen.type === 'present' && seen.status.state === 'ready', reach: seen.status.reach };
    case 'broken':
      return { waiting: seen.problem.message };
    case 'unknown':
      return { waiting: seen.reason };
    case 'absent':
      // A network holds nothing that could be lost: making it again under its key is all it takes.
      await networks.create(spec, realization.key);
      return { waiting: `${host} had lost it` };
  }
}

/**
 * Takes a network from a host when no NIC of an instance realized there is in it any more. Repeatable; what cannot be finished now is
 * finished by the network's reconcile.
 */
export async function releaseNetworkOnHost(context: Context, networkUid: Id<'resource'>, host: string): Promise<void> {
  const released = await context.store.transaction(async (tx) => {
    const held = await tx.lock(networkUid);
    const realization = (await tx.ledger.ofResource(networkUid)).find((each) => each.host === host);
    if (held === undefined || realization === undefined) return undefined;
    if (await isUsedOnHost(tx.client, networkUid, realization.site, host)) return undefined;
    await tx.ledger.setRemoving(realization.id);
    // Whatever happens to this process now, the network's own reconcile goes on with it.
    await tx.nudge(network.kind, networkUid, 1);
    return { ...realization, state: 'removing' as const };
  });
  if (released === undefined) return;
  try {
    await removeNetworkRealization(context, released);
  } catch (thrown) {
    if (toProblem(thrown).retry === 'never') throw thrown;
  }
}

/** Undefined once it is gone and forgotten, else what is waited for. */
export async function removeNetworkRealization(context: Context, realization: Realization): Promise<StillThere | undefined> {
  const { connection, networks } = await networksAt(context, realization.site);
  const left = await withdrawn(context, connection, networks, realization);
  if (left === undefined) await context.store.transaction(async (tx) => await tx.ledger.forget(realization.id));
  return left;
}

async function isUsedOnHost(client: PoolClient, networkUid: Id<'resource'>, site: string, host: string): Promise<boolean> {
  const { rowCount } = await client.query(
    `select 1 from realization
       join resource_reference as of_instance on of_instance.uid = realization.resource_uid
       join resource_reference as of_nic on of_nic.uid = of_instance.target_uid and of_nic.target_uid = $1
     where realization.site = $2 and realization.host = $3 and realization.facet = 'instances' limit 1`,
    [networkUid, site, host],
  );
  return rowCount !== 0;
}

async function vniOf(client: PoolClient, uid: Id<'resource'>): Promise<number> {
  await client.query(
    'insert into network_vni (resource_uid) select $1 where not exists (select 1 from network_vni where resource_uid = $1)',
    [uid],
  );
  const { rows } = await client.query<{ vni: number }>('select vni from network_vni where resource_uid = $1', [uid]);
  const vni = rows[0]?.vni;
  if (vni === undefined) throw new Problem('internal', 'a network was given no identifier');
  return vni;
}

async function networksAt(context: Context, site: string): Promise<{ readonly connection: Connection; readonly networks: NetworksFacet }> {
  const connection = await context.sites.connectionOf(site);
  const { networks } = connection;
  if (networks === undefined) throw new Problem('unsupported', `site ${site} cannot make networks`);
  return { connection, networks };
}
