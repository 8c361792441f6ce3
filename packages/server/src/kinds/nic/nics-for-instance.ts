import { type Id, Problem, type SubnetSpec } from '@virt8ra/contract';
import type { InstanceRealizationSpec } from '@virt8ra/driver';
import type { StoreReader } from '../../resources/store.js';
import { gatewayOf, parseAddress, rangesOf } from '../network/index.js';
import { type NicStatus, networkPointer, subnetPointer } from './nic-behaviour.js';

/** A NIC as a site is asked for it, but for the network, which each host has its own of. */
export type NicOfInstance = Omit<InstanceRealizationSpec['nics'][number], 'network'> & { readonly networkUid: Id<'resource'> };

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
    const ranges = rangesOf(subnet.spec.cidr, '/spec/cidr');
    const rangeOf = (text: string) => ranges.find(({ family }) => family === parseAddress(text)?.family);
    // A family the NIC has no address of has no use for a way out.
    const [way4, way6] = ([4, 6] as const).map((family) => addresses.map(rangeOf).find((range) => range?.family === family));
    found.push({
      key: uid,
      mac: macAddress,
      addresses: addresses.map((text) => `${text}/${rangeOf(text)?.prefix ?? ''}`),
      ...(way4 === undefined ? {} : { gateway4: gatewayOf(way4) }),
      ...(way6 === undefined ? {} : { gateway6: gatewayOf(way6) }),
      nameservers: [],
      networkUid,
    });
  }
  return found;
}
