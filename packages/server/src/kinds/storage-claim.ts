import { type Id, Problem } from '@virt8ra/contract';
import { claimOnHost } from '../capacity/claims.js';
import type { Capacity } from '../placement/placement.js';
import type { StoreTransaction } from '../resources/store.js';
import type { KindContext } from './context.js';

const boundless: Capacity = {
  vCPU: Number.MAX_SAFE_INTEGER,
  memoryMiB: Number.MAX_SAFE_INTEGER,
  storageBytes: Number.MAX_SAFE_INTEGER,
};

/**
 * Claims room for one block storage at the host where it is or will be; a claim that it has there already is replaced. Raises `exhausted` when the
 * host has no room for it, `unavailable` when the host has never told how much it has.
 */
export async function claimStorage(
  context: Pick<KindContext, 'sites'>,
  tx: StoreTransaction,
  resourceUid: Id<'resource'>,
  at: { readonly site: string; readonly host: string },
  storageBytes: number,
): Promise<void> {
  const { site, host } = at;
  const capacity = await capacityOfHost(context, site, host);
  await claimOnHost(tx.client, host, capacity, [{ resourceUid, role: 'primary', site, host, vCPU: 0, memoryMiB: 0, storageBytes }]);
}

/** Where sites have no hosts of their own, their provider says when there is no room. */
async function capacityOfHost(context: Pick<KindContext, 'sites'>, site: string, host: string): Promise<Capacity> {
  const { hosts } = await context.sites.connectionOf(site);
  if (hosts === undefined) return boundless;
  const inventory = (await hosts.list()).find((seen) => seen.host === host)?.inventory;
  if (inventory === undefined)
    throw new Problem('unavailable', `host ${host} at ${site} has not told what room it has; try again once it is connected`);
  return inventory.capacity;
}
