import { type Id, type InstanceSpec, instance } from '@virt8ra/contract';
import type { AccessTarget } from '../../access/forwarder.js';
import type { KindContext } from '../context.js';

/** Where a guest port is reached right now, for the access endpoints. Undefined while it is nowhere. */
export async function accessTarget(
  context: Pick<KindContext, 'store' | 'sites'>,
  uid: Id<'resource'>,
  port: number,
): Promise<AccessTarget | undefined> {
  const resource = await context.store.getByUid<InstanceSpec>(uid);
  if (resource === undefined || resource.kind !== instance.kind) return undefined;
  const primary = (await context.store.ledger.ofResource(uid)).find(({ role, facet }) => role === 'primary' && facet === 'instances');
  if (primary?.handle === undefined) return undefined;
  const { instances } = await context.sites.connectionOf(primary.site);
  const seen = await instances?.observe(primary.handle);
  if (seen === undefined || (seen.type !== 'present' && seen.type !== 'changing')) return undefined;
  const found = seen.status.access.find((access) => access.port === port);
  return found === undefined ? undefined : { address: found.address, port: found.hostPort };
}
