import { Problem } from '@virt8ra/contract';
import type { BlockStoragesFacet, Capabilities, DisksFacet, InstancesFacet } from '@virt8ra/driver';
import type { KindContext } from '../context.js';

export { call, lastStatusOf, removeByKey, removed, statusOf, write } from '../site-calls.js';

/** What a site must offer so that instances can come and go. */
export interface SiteFacets {
  readonly instances: InstancesFacet;
  readonly blockStorages: BlockStoragesFacet;
  readonly disks: DisksFacet;
  readonly capabilities: Capabilities;
}

/** Raises `unsupported` for a site that disks cannot be copied to or from. */
export async function facetsAt(context: KindContext, site: string): Promise<SiteFacets> {
  const { instances, blockStorages, disks, capabilities } = await context.sites.connectionOf(site);
  if (instances === undefined || blockStorages === undefined || disks === undefined)
    throw new Problem('unsupported', `instances cannot be moved to or from site ${site}: it cannot copy disks`);
  return { instances, blockStorages, disks, capabilities };
}
