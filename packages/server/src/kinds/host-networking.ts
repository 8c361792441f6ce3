import { type Id, Problem } from '@virt8ra/contract';
import type { HostNetworking } from '@virt8ra/driver';
import type { StoreTransaction } from '../resources/store.js';
import type { StoredResource } from '../resources/stored-resource.js';
import type { KindContext } from './context.js';

const cannot: Readonly<Record<HostNetworking, string>> = {
  'security-groups': 'filter by security groups',
  routes: 'route out of networks',
  'ipv6-routes': 'route IPv6 to the internet',
  'public-addresses': 'lead public IPs to instances',
};

/** What a host can do; undefined where nobody can be asked. */
async function networkingOf(
  { sites }: Pick<KindContext, 'sites'>,
  { site, host }: { readonly site: string; readonly host?: string | undefined },
): Promise<readonly HostNetworking[] | undefined> {
  const hosts = await sites
    .connectionOf(site)
    .then(async (connection) => (await connection.hosts?.list()) ?? [])
    .catch(() => []);
  return hosts.find((each) => each.host === host)?.networking;
}

const mend = 'run the agent there as root with iproute2 and nftables';

/**
 * Raises `conflict` when an instance is on a host that cannot do what its NICs are now to need. A site that cannot be asked refuses nothing: the
 * instance's conditions tell then.
 */
export async function assertHostNetworking(
  context: Pick<KindContext, 'sites'>,
  tx: StoreTransaction,
  instance: Pick<StoredResource, 'address'> & { readonly uid: Id<'resource'> },
  needed: HostNetworking,
  pointer: string,
): Promise<void> {
  const realizations = await tx.ledger.ofResource(instance.uid);
  const { site, host } = realizations.find(({ role, facet }) => role === 'primary' && facet === 'instances') ?? {};
  if (site === undefined || host === undefined) return;
  const can = await networkingOf(context, { site, host });
  if (can === undefined || can.includes(needed)) return;
  const { name } = instance.address;
  throw new Problem(
    'conflict',
    `instance ${name} is on host ${host}, which cannot ${cannot[needed]}; nothing was changed. Move it to a host that can (virt8ra migrate ${name} --to SITE), or ${mend}`,
    { sources: [{ pointer }] },
  );
}

/** Raises `conflict` when a network is on a host that cannot do what its routes are now to need. */
export async function assertNetworkServed(
  context: Pick<KindContext, 'sites'>,
  tx: StoreTransaction,
  network: Pick<StoredResource, 'address'> & { readonly uid: Id<'resource'> },
  needed: readonly HostNetworking[],
  pointer: string,
): Promise<void> {
  if (needed.length === 0) return;
  const refusal = await networkRefusal(context, await tx.ledger.ofResource(network.uid), needed);
  if (refusal === undefined) return;
  throw new Problem('conflict', `network ${network.address.name} is on a host that cannot serve it; nothing was changed: ${refusal}`, {
    sources: [{ pointer }],
  });
}

/** Why a network's routes are not in force on a host that has it, and how to mend it; undefined: all of them can, as far as they are heard. */
export async function networkRefusal(
  context: Pick<KindContext, 'sites'>,
  realizations: readonly { readonly site: string; readonly host?: string | undefined; readonly state: string }[],
  needed: readonly HostNetworking[],
): Promise<string | undefined> {
  const refusals: string[] = [];
  for (const realization of realizations) {
    if (realization.host === undefined || realization.state === 'removing') continue;
    const can = await networkingOf(context, realization);
    const lacking = can === undefined ? [] : needed.filter((each) => !can.includes(each));
    if (lacking.length > 0) refusals.push(`host ${realization.host} cannot ${lacking.map((each) => cannot[each]).join(' and ')}`);
  }
  if (refusals.length === 0) return undefined;
  return `${refusals.join('; ')}. Move the instances of the network away from there (virt8ra migrate INSTANCE --to SITE), or ${mend}`;
}

/** Why an instance's public IPs do not lead to it; undefined: its host can do that, or nobody can be asked. */
export async function publicIpRefusal(
  context: Pick<KindContext, 'sites'>,
  instance: string,
  at: { readonly site: string; readonly host: string },
): Promise<string | undefined> {
  const can = await networkingOf(context, at);
  if (can === undefined || can.includes('public-addresses')) return undefined;
  return `instance ${instance} is on host ${at.host}, which cannot ${cannot['public-addresses']}. Move it to a host that can (virt8ra migrate ${instance} --to SITE), or ${mend}`;
}

/** Shows on a resource that a host cannot serve it, for as long as that is so. */
export async function showServed(tx: StoreTransaction, uid: Id<'resource'>, refusal: string | undefined): Promise<void> {
  const held = await tx.lock(uid);
  if (held === undefined || held.deletedAt !== undefined) return;
  if (refusal !== undefined) await tx.setStatus(uid, {}, { state: 'error', type: 'Applied', reason: 'Refused', message: refusal });
  else if (held.conditions[0]?.reason === 'Refused')
    await tx.setStatus(uid, {}, { state: 'active', type: 'Applied', reason: 'Everywhere' });
}
