import { type Id, type InstanceSpec, network as networkKind, type SubnetSpec } from '@virt8ra/contract';
import type { Requirement } from '../../placement/placement.js';
import type { StoreReader } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import { networkRoutes, subnetsOf } from '../network/index.js';
import { nicsForInstance, type PublicIpOfNic } from '../nic/index.js';

/** The group that the instance itself names; it holds for each of its NICs. */
export async function instanceGroup(reader: StoreReader, uid: Id<'resource'>): Promise<Id<'resource'> | undefined> {
  return (await reader.referencesOf(uid)).find(({ pointer }) => pointer === '/spec/securityGroupRef')?.uid;
}

/** Public IPs of its NICs, of whatever site. */
export async function publicIpsOfInstance(reader: StoreReader, nicUids: readonly Id<'resource'>[]): Promise<readonly PublicIpOfNic[]> {
  return (await nicsForInstance(reader, nicUids)).flatMap(({ publicIps }) => publicIps);
}

/** What a host at that site must be able to do for its NICs. */
export async function networkingNeeds(
  reader: StoreReader,
  { uid }: Pick<StoredResource<InstanceSpec>, 'uid'>,
  nicUids: readonly Id<'resource'>[],
  site: string,
): Promise<Requirement['networking']> {
  const nics = await nicsForInstance(reader, nicUids);
  const isGrouped =
    nics.some(({ groupUids }) => groupUids.length > 0) || (nics.length > 0 && (await instanceGroup(reader, uid)) !== undefined);
  const networks = await reader.getManyByUid([...new Set(nics.map(({ networkUid }) => networkUid))]);
  const subnets = await Promise.all(networks.map(async (network) => await routedSubnets(reader, network)));
  const routes = await Promise.all(networks.map(async ({ uid: of }, index) => await networkRoutes(reader, of, subnets[index] ?? [])));
  const leavesBySix = routes.flat().some(({ destination, via }) => via.type === 'internet' && destination.includes(':'));
  const isPublic = nics.some(({ publicIps, waysIn }) => publicIps.some((ip) => ip.site === site && waysIn.has(ip.version)));
  return [
    ...(isGrouped ? (['security-groups'] as const) : []),
    ...(subnets.flat().length > 0 ? (['routes'] as const) : []),
    ...(leavesBySix ? (['ipv6-routes'] as const) : []),
    ...(isPublic ? (['public-addresses'] as const) : []),
  ];
}

async function routedSubnets(reader: StoreReader, { kind, address }: StoredResource): Promise<readonly StoredResource<SubnetSpec>[]> {
  if (kind !== networkKind.kind) return [];
  const { name, ...within } = address;
  return (await subnetsOf(reader, { ...within, network: name })).filter(({ spec }) => spec.routeTableRef !== undefined);
}
