import { type Id, instance, migration, Problem } from '@virt8ra/contract';
import type { StoreReader, StoreTransaction } from '../resources/store.js';
import type { StoredResource } from '../resources/stored-resource.js';
import type { KindContext } from './context.js';

const over = ['done', 'brought-back', 'returned', 'failed'];

type Move = StoredResource<
  unknown,
  { readonly phase?: string; readonly wayBack?: { readonly until: string; readonly at: { readonly host: string } } }
>;

/** What is to be said of a migration that only keeps a way back; undefined for any other. `then` says what its end would allow. */
export function wordOnWindow({ address, status }: Pick<Move, 'address' | 'status'>, then: string): string | undefined {
  if (status.phase !== 'kept' || status.wayBack === undefined) return undefined;
  const { until, at } = status.wayBack;
  return `migration ${address.name} keeps a way back to host ${at.host} until ${until}; to ${then}, give it up first: virt8ra migration release ${address.name}`;
}

/** Raises `conflict` for a migration that only keeps a way back. */
export function assertWindowClosed(move: Pick<Move, 'address' | 'status'>, then: string): void {
  const word = wordOnWindow(move, then);
  if (word !== undefined) throw new Problem('conflict', word);
}

/** Migrations that keep disks on a host. */
export async function waysBackTo(reader: StoreReader, host: string): Promise<readonly Move[]> {
  const kept = (await reader.ledger.onHost(host)).flatMap(({ facts }) =>
    typeof facts['keptBy'] === 'string' ? [facts['keptBy'] as Id<'resource'>] : [],
  );
  return (await reader.getManyByUid([...new Set(kept)])) as readonly Move[];
}

/** The same for all migrations of an instance. */
export async function assertNoWayBack(tx: StoreTransaction, uid: Id<'resource'>, then: string): Promise<void> {
  for (const move of (await tx.usersOf(uid, migration)) as readonly Move[])
    if (move.deletedAt === undefined) assertWindowClosed(move, then);
}

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
  const moves = (await tx.usersOf(uid, migration)) as readonly Move[];
  const move = moves.find(({ deletedAt, status }) => deletedAt === undefined && !over.includes(status.phase ?? ''));
  if (move !== undefined) {
    assertWindowClosed(move, then);
    throw new Problem('conflict', `instance ${name} is being moved by migration ${move.address.name}; ${then} afterwards`);
  }
  const runs = await context.runner.list({ subject: `${instance.kind}/${uid}`, live: true, limit: 1 });
  if (runs.length > 0) throw new Problem('conflict', `instance ${name} is being moved; ${then} afterwards`);
}
