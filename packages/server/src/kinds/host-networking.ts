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

/**
 * Raises `conflict` when an instance is on a host that cannot do what its NICs are now to need. A site that cannot be asked refuses nothing: the
 * instance's conditions tell then.
 */
export async function assertHostNetworking(
  { sites }: Pick<KindContext, 'sites'>,
  tx: StoreTransaction,
  instance: Pick<StoredResource, 'address'> & { readonly uid: Id<'resource'> },
  needed: HostNetworking,
  pointer: string,
): Promise<void> {
  const realizations = await tx.ledger.ofResource(instance.uid);
  const { site, host } = realizations.find(({ role, facet }) => role === 'primary' && facet === 'instances') ?? {};
  if (site === undefined || host === undefined) return;
  const hosts = await sites
    .connectionOf(site)
    .then(async (connection) => (await connection.hosts?.list()) ?? [])
    .catch(() => []);
  const found = hosts.find((each) => each.host === host);
  if (found === undefined || found.networking.includes(needed)) return;
  const { name } = instance.address;
  throw new Problem(
    'conflict',
    `instance ${name} is on host ${host}, which cannot ${cannot[needed]}; nothing was changed. Move it to a host that can (virt8ra migrate ${name} --to SITE), or run the agent there as root with nftables`,
    { sources: [{ pointer }] },
  );
}
