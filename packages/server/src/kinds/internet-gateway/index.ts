/** Internet gateway: a record that routes lead to. What it means is made on the hosts of the networks whose routes do. */
import { type InternetGatewaySpec, internetGateway, network, Problem, routeTable } from '@virt8ra/contract';
import type { StoreTransaction } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { KindBehaviour } from '../behaviour.js';
import { routesChanged } from '../network/index.js';
import { namesOfUsers } from '../users.js';

export const internetGatewayBehaviour: KindBehaviour<InternetGatewaySpec, object> = {
  kind: internetGateway,
  async admitPut(tx, { previous }) {
    if (previous !== undefined) await tellNetworks(tx, previous);
    return { outcome: 'active' };
  },
  async admitDelete(tx, { uid, address }) {
    const users = await tx.usersOf(uid);
    if (users.length > 0)
      throw new Problem(
        'conflict',
        `internet gateway ${address.name} is used by ${namesOfUsers(users)}; take it out of their routes first`,
      );
  },
};

async function tellNetworks(tx: StoreTransaction, gateway: StoredResource): Promise<void> {
  const tables = await tx.usersOf(gateway.uid, routeTable);
  const told = new Set<string>();
  for (const { address } of tables) {
    const { network: name = '', name: _, ...within } = address;
    const found = await tx.get(network, { ...within, name });
    if (found === undefined || told.has(found.uid)) continue;
    told.add(found.uid);
    await routesChanged(tx, found.uid);
  }
}
