import type { Id } from '@virt8ra/contract';
import type { NetworkNames } from '@virt8ra/driver';
import type { Queryable } from '@virt8ra/engine';
import { networkPointer } from './network-pointer.js';

/** What is legal as a name in DNS; SECA's names are, but for their length. */
const longestName = 253;

/** Instances with a NIC in a network, by name and with their addresses in it, in order. */
export async function networkNames(client: Queryable, networkUid: Id<'resource'>): Promise<NetworkNames['hosts']> {
  const { rows } = await client.query<{ name: string; addresses: readonly string[] | null }>(
    `select instance.name, nic.status -> 'addresses' as addresses
       from resource_reference as in_network
       join resource as nic on nic.uid = in_network.uid and nic.kind = 'nic'
       join resource_reference as of_instance on of_instance.target_uid = nic.uid
       join resource as instance on instance.uid = of_instance.uid and instance.kind = 'instance'
      where in_network.target_uid = $1 and in_network.pointer = $2
      order by instance.name collate "C", instance.uid, of_instance.pointer collate "C"`,
    [networkUid, networkPointer],
  );
  const names = new Map<string, string[]>();
  for (const { name, addresses } of rows) {
    if (name.length > longestName || addresses === null) continue;
    names.set(name, [...(names.get(name) ?? []), ...addresses]);
  }
  return [...names].map(([name, addresses]) => ({ name, addresses }));
}
