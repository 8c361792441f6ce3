import type { Id } from '@virt8ra/contract';
import type { NetworkNeighbour } from '@virt8ra/driver';
import type { Queryable } from '@virt8ra/engine';
import { networkPointer } from './network-pointer.js';

/** Every address of a network that an instance has by one of its NICs, with the MAC that has it, in order. Both stay wherever the instance goes. */
export async function networkNeighbours(client: Queryable, networkUid: Id<'resource'>): Promise<readonly NetworkNeighbour[]> {
  const { rows } = await client.query<NetworkNeighbour>(
    `select distinct address, nic.status ->> 'macAddress' as mac
       from resource_reference as in_network
       join resource as nic on nic.uid = in_network.uid and nic.kind = 'nic'
       join resource_reference as of_instance on of_instance.target_uid = nic.uid
       join resource as instance on instance.uid = of_instance.uid and instance.kind = 'instance'
       cross join lateral jsonb_array_elements_text(nic.status -> 'addresses') as address
      where in_network.target_uid = $1 and in_network.pointer = $2 and nic.status ->> 'macAddress' is not null
      order by address, mac`,
    [networkUid, networkPointer],
  );
  return rows;
}
