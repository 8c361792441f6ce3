import { Problem } from '@virt8ra/contract';
import type { InstancesFacet } from '@virt8ra/driver';
import type { KindContext } from '../context.js';

/** What runs instances at a site. Raises `unsupported` when nothing does. */
export async function instancesFacet(context: Pick<KindContext, 'sites'>, site: string): Promise<InstancesFacet> {
  const { instances } = await context.sites.connectionOf(site);
  if (instances === undefined) throw new Problem('unsupported', `site ${site} cannot run instances`);
  return instances;
}
