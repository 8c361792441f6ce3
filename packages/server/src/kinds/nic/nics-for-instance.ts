import { type Id, type InstanceSpec, instance, type networkSku, Problem, routeTable, type SubnetSpec } from '@virt8ra/contract';
import type { NicRealizationSpec } from '@virt8ra/driver';
import type { Static } from 'typebox';
import type { StoreReader } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import { gatewaysOf, networkPointer, parseAddress } from '../network/index.js';
import type { NicStatus } from './nic-behaviour.js';
import { groupsOf } from './nic-groups.js';
import { subnetPointer } from './nic-pointers.js';
import { publicAddressesOf, publicIpsOf, waysIn } from './nic-public-ips.js';

/** A NIC as a site is asked for it, but for the network and the security groups, which each host has its own of. */
export interface NicOfInstance extends Omit<NicRealizationSpec, 'network' | 'securityGroups' | 'publicAddresses'> {
  readonly networkUid: Id<'resource'>;
  readonly groupUids: readonly Id<'resource'>[];
  /** Of every site; those of another than the instance's lead nowhere. */
  readonly publicIps: readonly PublicIpOfNic[];
  /** Whether its subnet has a way in for them, by version. */
  readonly waysIn: ReadonlySet<'IPv4' | 'IPv6'>;
}

export interface PublicIpOfNic {
  readonly uid: Id<'resource'>;
  readonly nicUid: Id<'resource'>;
  readonly name: string;
  readonly version: 'IPv4' | 'IPv6';
  readonly site: string;
  readonly address: string;
  /** The NIC's own that it leads to. */
  readonly to: string;
}

/** In the order given. Raises `internal` when a NIC or what it is in is gone, which their deletion rules out. */
export async function nicsForInstance(reader: StoreReader, nicUids: readonly Id<'resource'>[]): Promise<readonly NicOfInstance[]> {
  const nics = await reader.getManyByUid<unknown, NicStatus>(nicUids);
  if (nics.length !== nicUids.length) throw new Problem('internal', 'a NIC of the instance is gone');
  const found: NicOfInstance[] = [];
  for (const { uid, address, status } of nics) {
    const references = new Map((await reader.referencesOf(uid)).map((reference) => [reference.pointer, reference.uid]));
    const subnetUid = references.get(subnetPointer);
    const networkUid = references.get(networkPointer);
    const subnet = subnetUid === undefined ? undefined : await reader.getByUid<SubnetSpec>(subnetUid);
    const { macAddress, addresses = [] } = status;
    if (subnet === undefined || networkUid === undefined || macAddress === undefined) {
      throw new Problem('internal', `NIC ${address.name} has lost its subnet`);
    }
    const ranges = gatewaysOf(subnet);
    const rangeOf = (text: string) => ranges.find(({ range }) => range.family === parseAddress(text)?.family);
    // A family the NIC has no address of has no use for a way out.
    const [way4, way6] = ([4, 6] as const).map((family) => addresses.map(rangeOf).find((each) => each?.range.family === family));
    const ips = await publicIpsOf(
      reader,
      [...references].map(([pointer, target]) => ({ pointer, uid: target })),
    );
    const leads = publicAddressesOf(ips, addresses);
    found.push({
      key: uid,
      mac: macAddress,
      addresses: addresses.map((text) => `${text}/${rangeOf(text)?.range.prefix ?? ''}`),
      ...(way4 === undefined ? {} : { gateway4: way4.address }),
      ...(way6 === undefined ? {} : { gateway6: way6.address }),
      nameservers: [],
      ...(await rateOf(reader, references.get('/spec/skuRef'), networkUid)),
      ...((await isRouter(reader, uid)) ? { forwards: true } : {}),
      networkUid,
      groupUids: groupsOf([...references].map(([pointer, target]) => ({ pointer, uid: target }))),
      publicIps: leads.flatMap(({ address: outside, to }) => {
        const ip = ips.find((each) => each.status.ipAddress === outside);
        return ip?.status.site === undefined
          ? []
          : [{ uid: ip.uid, nicUid: uid, name: ip.address.name, version: ip.spec.version, site: ip.status.site, address: outside, to }];
      }),
      waysIn: ips.length === 0 ? new Set() : await waysIn(reader, subnet.uid),
    });
  }
  return found;
}

/** Its own size counts, else that of its network. */
async function rateOf(
  reader: StoreReader,
  own: Id<'resource'> | undefined,
  networkUid: Id<'resource'>,
): Promise<Pick<NicRealizationSpec, 'rate'>> {
  const uid = own ?? (await reader.referencesOf(networkUid)).find(({ pointer }) => pointer === '/spec/skuRef')?.uid;
  const sku = uid === undefined ? undefined : await reader.getByUid<Static<typeof networkSku.spec>>(uid);
  return sku === undefined ? {} : { rate: { megabitsPerSecond: sku.spec.bandwidth, packetsPerSecond: sku.spec.packets } };
}

/** A route leads to it or to its instance. */
async function isRouter(reader: StoreReader, uid: Id<'resource'>): Promise<boolean> {
  if ((await reader.usersOf(uid, routeTable)).length > 0) return true;
  const [user] = (await reader.usersOf(uid, instance)) as readonly StoredResource<InstanceSpec>[];
  return user !== undefined && (await reader.usersOf(user.uid, routeTable)).length > 0;
}
