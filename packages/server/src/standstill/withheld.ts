import type { Id } from '@virt8ra/contract';
import type { ReconcileHandler } from '@virt8ra/engine';
import type { Pool, PoolClient } from 'pg';
import type { Store } from '../resources/store.js';

const kindsWithheld: readonly string[] = ['instance', 'block-storage', 'snapshot'];

/**
 * Leaves alone what differed after a restore and only its owner can decide on: it is shown why, and reconciled again once it was written anew, acted on
 * or deleted.
 */
export function withholding(
  handlers: Readonly<Record<string, ReconcileHandler>>,
  { pool, store }: { readonly pool: Pool; readonly store: Store },
): Readonly<Record<string, ReconcileHandler>> {
  return Object.fromEntries(
    Object.entries(handlers).map(([kind, handle]): [string, ReconcileHandler] => {
      if (!kindsWithheld.includes(kind)) return [kind, handle];
      return [
        kind,
        async (id, work) => {
          const message = await withheldMessage(pool, id as Id<'resource'>);
          if (message === undefined) return await handle(id, work);
          await store.transaction(async (tx) => {
            const held = await tx.lock(id as Id<'resource'>);
            if (held === undefined || held.deletedAt !== undefined) return;
            await tx.setStatus(
              held.uid,
              {},
              {
                state: 'error',
                type: 'Restored',
                reason: 'Withheld',
                message: `${message}. Nothing is done about it until it is put anew or deleted`,
              },
            );
          });
          return { done: true, reason: message };
        },
      ];
    }),
  );
}

async function withheldMessage(pool: Pool, uid: Id<'resource'>): Promise<string | undefined> {
  const { rows } = await pool.query<{ message: string }>(
    `select message from withheld join resource using (uid)
      where uid = $1 and resource.resource_version = withheld.resource_version and resource.deleted_at is null`,
    [uid],
  );
  return rows[0]?.message;
}

/** Its owner has decided. */
export async function endWithholding(client: Pick<PoolClient, 'query'>, uid: Id<'resource'>): Promise<void> {
  await client.query('delete from withheld where uid = $1', [uid]);
}
