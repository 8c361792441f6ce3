import { type InstanceSpec, instance, type OpenedStream, Problem, type StreamTarget } from '@virt8ra/contract';
import type { StreamCaller } from '@virt8ra/driver';
import type { Queryable } from '@virt8ra/engine';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { KindContext } from '../context.js';
import { currentPermit } from './permits.js';

/**
 * A stream to a place in an instance, at the host that holds its run permit: during a move that is where the guest is. Raises `conflict` when it
 * has no place yet, `unavailable` while it moves, `unsupported` where its site has no streams, and what the site raises.
 */
export async function openInstanceStream(
  context: Pick<KindContext, 'store' | 'sites'> & { readonly database: Queryable },
  { uid, address: { name } }: StoredResource<InstanceSpec>,
  target: StreamTarget,
  caller: StreamCaller,
): Promise<OpenedStream> {
  const permit = await currentPermit(context.database, uid);
  if (permit === undefined) throw new Problem('conflict', `${instance.kind} ${name} has not run yet; start it first`);
  if (permit.surrendered !== undefined) {
    throw new Problem('unavailable', `${instance.kind} ${name} is between two hosts at the moment`, { retryAfterSeconds: 1 });
  }
  const realizations = await context.store.ledger.ofResource(uid);
  const there = realizations.find(({ facet, host, handle }) => facet === 'instances' && host === permit.holder && handle !== undefined);
  if (there?.handle === undefined) {
    throw new Problem('unavailable', `${instance.kind} ${name} is not on its host yet`, { retryAfterSeconds: 1 });
  }
  const { streams } = await context.sites.connectionOf(there.site);
  if (streams === undefined) throw new Problem('unsupported', `site ${there.site} has no consoles, screens or port forwarding`);
  return await streams.open(there.handle, target, caller);
}
