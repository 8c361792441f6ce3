import { type Id, instance, network } from '@virt8ra/contract';
import type { StoreTransaction } from '../../resources/store.js';
import { networkPointer } from './network-pointer.js';

/** Wakes what depends on the ways out of and into a network: the network itself, and the instances in it that have a public IP. */
export async function routesChanged(tx: Pick<StoreTransaction, 'client' | 'nudge'>, networkUid: Id<'resource'>): Promise<void> {
  await tx.nudge(network.kind, networkUid);
  const { rows } = await tx.client.query<{ uid: Id<'resource'> }>(
    `select distinct instance.uid
       from resource_reference as in_network
       join resource_reference as of_ip on of_ip.uid = in_network.uid and of_ip.pointer like '/spec/publicIpRefs/%'
       join resource_reference as of_instance on of_instance.target_uid = in_network.uid
       join resource as instance on instance.uid = of_instance.uid and instance.kind = $3
      where in_network.target_uid = $1 and in_network.pointer = $2`,
    [networkUid, networkPointer, instance.kind],
  );
  for (const { uid } of rows) await tx.nudge(instance.kind, uid);
}
