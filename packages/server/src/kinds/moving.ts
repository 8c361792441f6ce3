import { type Id, instance, migration, Problem } from '@virt8ra/contract';
import type { StoreTransaction } from '../resources/store.js';
import type { StoredResource } from '../resources/stored-resource.js';
import type { KindContext } from './context.js';

const over = ['done', 'returned', 'failed'];

/**
 * Raises `conflict` while an instance is being moved or is about to be; `then` says what to do afterwards. Its row is locked, so that a move that
 * is asked for at the same moment waits and sees what is stored now.
 */
export async function assertNotMoving(
  context: Pick<KindContext, 'runner'>,
  tx: StoreTransaction,
  uid: Id<'resource'>,
  then: string,
): Promise<void> {
  const held = await tx.lock(uid);
  if (held === undefined) return;
  const { name } = held.address;
  const moves = (await tx.usersOf(uid, migration)) as readonly StoredResource<unknown, { readonly phase?: string }>[];
  const move = moves.find(({ deletedAt, status }) => deletedAt === undefined && !over.includes(status.phase ?? ''));
  if (move !== undefined)
    throw new Problem('conflict', `instance ${name} is being moved by migration ${move.address.name}; ${then} afterwards`);
  const runs = await context.runner.list({ subject: `${instance.kind}/${uid}`, live: true, limit: 1 });
  if (runs.length > 0) throw new Problem('conflict', `instance ${name} is being moved; ${then} afterwards`);
}
