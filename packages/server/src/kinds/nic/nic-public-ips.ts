import {
  type Address,
  addressFromReference,
  type Id,
  type InternetGatewaySpec,
  internetGateway,
  type NicSpec,
  nic,
  Problem,
  type PublicIpSpec,
  publicIp,
  type Reference,
  type RouteTableSpec,
  referenceTo,
} from '@virt8ra/contract';
import type { NicRealizationSpec } from '@virt8ra/driver';
import type { StoreReader, StoreTransaction } from '../../resources/store.js';
import type { ResolvedReference, StoredResource } from '../../resources/stored-resource.js';
import type { AwaitedReference } from '../behaviour.js';
import { parseAddress, routeTablePointer } from '../network/index.js';
import type { PublicIpStatus } from '../public-ip/index.js';
import { resolveAhead } from '../resolve-ahead.js';
import { subnetPointer } from './nic-pointers.js';

const pointer = '/spec/publicIpRefs';

type PublicIp = StoredResource<PublicIpSpec, PublicIpStatus>;

/** Of an instance, as far as it says where it is. */
export interface Placed {
  readonly placement?: { readonly site: string };
}

/**
 * The public IPs that a NIC names, which no other may. Raises `validation` for one that is not there or has no address of the NIC to lead to,
 * `conflict` for one that is attached elsewhere or belongs to another site than the NIC's instance.
 */
export async function takePublicIps(
  tx: StoreTransaction,
  { publicIpRefs = [] }: NicSpec,
  within: Omit<Address, 'name'>,
  holder: {
    readonly previous: StoredResource | undefined;
    readonly user: StoredResource<unknown, Placed> | undefined;
    readonly addresses: readonly string[];
    /** Whether those that are not there are awaited. */
    readonly ahead: boolean;
  },
): Promise<{ readonly references: readonly ResolvedReference[]; readonly awaited: readonly AwaitedReference[] }> {
  const awaited: AwaitedReference[] = [];
  const references: ResolvedReference[] = [];
  const taken: PublicIp[] = [];
  for (const [index, given] of publicIpRefs.entries()) {
    const at = `${pointer}/${index}`;
    const sources = [{ pointer: at }];
    // Locked before it is shared, since two that ask at once would both find it free.
    await tx.lockAt(publicIp, addressFromReference(publicIp, given, within, at));
    const wanted = { kind: publicIp, given, from: within, pointer: at };
    const found = await resolveAhead<PublicIpSpec, PublicIpStatus>(tx, wanted, holder.ahead);
    if ('awaited' in found) {
      awaited.push(found.awaited);
      continue;
    }
    const { target, reference } = found;
    const { name } = target.address;
    if (target.address.workspace !== within.workspace)
      throw new Problem('validation', `public IP ${name} is of another workspace`, { sources });
    if (references.some(({ uid }) => uid === reference.uid))
      throw new Problem('validation', `public IP ${name} is named twice`, { sources });
    const other = (await tx.usersOf(target.uid, nic)).find(({ uid }) => uid !== holder.previous?.uid);
    if (other !== undefined) throw new Problem('conflict', `public IP ${name} is attached to NIC ${other.address.name}`, { sources });
    const known = holder.previous !== undefined && (await tx.referencesOf(holder.previous.uid)).some(({ uid }) => uid === target.uid);
    const place = holder.user?.status.placement?.site;
    if (!known && place !== undefined && place !== target.status.site) {
      throw new Problem(
        'conflict',
        `public IP ${name} belongs to site ${target.status.site ?? 'none'} and instance ${holder.user?.address.name ?? ''} is at ${place}, where it leads nowhere`,
        { sources },
      );
    }
    taken.push(target);
    if (publicAddressesOf(taken, holder.addresses).length < taken.length) {
      throw new Problem('validation', `the NIC has no further ${target.spec.version} address that public IP ${name} could lead to`, {
        sources,
      });
    }
    references.push(reference);
  }
  return { references, awaited };
}

/** Each public address with the one of a NIC's own that it leads to: the first of its version that none before it leads to. */
export function publicAddressesOf(
  ips: readonly PublicIp[],
  addresses: readonly string[],
): NonNullable<NicRealizationSpec['publicAddresses']> {
  const left = [...addresses];
  const found: { readonly address: string; readonly to: string }[] = [];
  for (const { status } of ips) {
    const family = parseAddress(status.ipAddress ?? '')?.family;
    const index = left.findIndex((text) => family !== undefined && parseAddress(text)?.family === family);
    const [to] = index < 0 ? [] : left.splice(index, 1);
    if (to !== undefined && status.ipAddress !== undefined) found.push({ address: status.ipAddress, to });
  }
  return found;
}

/** The public IPs that a NIC names, in that order. */
export async function publicIpsOf(
  reader: StoreReader,
  references: readonly { readonly pointer: string; readonly uid: Id<'resource'> }[],
): Promise<readonly PublicIp[]> {
  const uids = references
    .filter(({ pointer: at }) => at.startsWith(`${pointer}/`))
    .toSorted((one, other) => one.pointer.length - other.pointer.length || (one.pointer < other.pointer ? -1 : 1))
    .map(({ uid }) => uid);
  return uids.length === 0 ? [] : await reader.getManyByUid<PublicIpSpec, PublicIpStatus>(uids);
}

/** Versions whose public IPs are let in: those with a route to a gateway that is not for going out only. */
export async function waysIn(reader: StoreReader, subnetUid: Id<'resource'>): Promise<ReadonlySet<PublicIpSpec['version']>> {
  const ways = new Set<PublicIpSpec['version']>();
  const tableUid = (await reader.referencesOf(subnetUid)).find(({ pointer: at }) => at === routeTablePointer)?.uid;
  const table = tableUid === undefined ? undefined : await reader.getByUid<RouteTableSpec>(tableUid);
  if (table === undefined) return ways;
  const references = new Map((await reader.referencesOf(table.uid)).map(({ pointer: at, uid }) => [at, uid]));
  for (const [index, { destinationCidrBlock }] of table.spec.routes.entries()) {
    const targetUid = references.get(`/spec/routes/${index}/targetRef`);
    const target = targetUid === undefined ? undefined : await reader.getByUid<InternetGatewaySpec>(targetUid);
    if (target?.kind !== internetGateway.kind || target.spec.egressOnly === true) continue;
    ways.add(destinationCidrBlock.includes(':') ? 'IPv6' : 'IPv4');
  }
  return ways;
}

/** Those that lead to a NIC as things are; undefined where it names none. */
export async function leadingPublicIps(
  reader: StoreReader,
  { uid, spec }: StoredResource<NicSpec>,
  user: StoredResource<unknown, Placed> | undefined,
): Promise<readonly Reference[] | undefined> {
  if ((spec.publicIpRefs ?? []).length === 0) return undefined;
  const references = await reader.referencesOf(uid);
  const subnetUid = references.find(({ pointer: at }) => at === subnetPointer)?.uid;
  const ways = subnetUid === undefined ? new Set() : await waysIn(reader, subnetUid);
  const ips = await publicIpsOf(reader, references);
  const place = user?.status.placement?.site;
  return ips.filter((ip) => ip.status.site === place && ways.has(ip.spec.version)).map(({ address }) => referenceTo(publicIp, address));
}
