import { type Id, type InstanceSpec, instance } from '@virt8ra/contract';
import type { Queryable } from '@virt8ra/engine';
import type { AccessTarget } from '../../access/forwarder.js';
import type { KindContext } from '../context.js';
import { currentPermit } from './permits.js';

/**
 * Where a guest port is reached right now, for the access endpoints: at the host that holds the run permit, be it the place of the instance
 * or, while a move is being proven, the one it comes to. Undefined while it is nowhere.
 */
export async function accessTarget(
  context: Pick<KindContext, 'store' | 'sites'> & { readonly database: Queryable },
  uid: Id<'resource'>,
  port: number,
): Promise<AccessTarget | undefined> {
  const resource = await context.store.getByUid<InstanceSpec>(uid);
  if (resource === undefined || resource.kind !== instance.kind) return undefined;
  const permit = await currentPermit(context.database, uid);
  if (permit === undefined || permit.surrendered !== undefined) return undefined;
  const realizations = await context.store.ledger.ofResource(uid);
  const running = realizations.find(({ facet, host, handle }) => facet === 'instances' && host === permit.holder && handle !== undefined);
  if (running?.handle === undefined) return undefined;
  const { instances } = await context.sites.connectionOf(running.site);
  const seen = await instances?.observe(running.handle);
  if (seen === undefined || (seen.type !== 'present' && seen.type !== 'changing')) return undefined;
  const found = seen.status.access.find((access) => access.port === port);
  return found === undefined ? undefined : { address: found.address, port: found.hostPort };
}
