import type { Id } from '@virt8ra/contract';
import type { ReconcileHandler } from '@virt8ra/engine';
import type { Pool } from 'pg';
import type { KindBehaviour } from '../kinds/behaviour.js';
import type { StoreReader } from './store.js';

/** What the work queue does for each kind that reconciles: reads the resource anew and hands it to its kind. */
export function reconcileHandlers(store: StoreReader, behaviours: readonly KindBehaviour[]): Readonly<Record<string, ReconcileHandler>> {
  const handlers: Record<string, ReconcileHandler> = {};
  for (const behaviour of behaviours) {
    if (behaviour.reconcile === undefined) continue;
    handlers[behaviour.kind.kind] = async (id) => {
      const resource = await store.getByUid(id as Id<'resource'>);
      return resource === undefined ? { gone: true } : ((await behaviour.reconcile?.(resource)) ?? { done: true });
    };
  }
  return handlers;
}

/** Work queue keys (`<kind>/<uid>`) of the resources that are realized under these provider keys. */
export async function workKeysOfRealizations(pool: Pool, keys: readonly string[]): Promise<readonly string[]> {
  const { rows } = await pool.query<{ key: string }>(
    `select distinct resource.kind || '/' || resource.uid as key
       from realization join resource on resource.uid = realization.resource_uid where realization.key = any($1)`,
    [keys],
  );
  return rows.map(({ key }) => key);
}

/** Work queue keys of what is realized on a host. */
export async function workKeysOnHost(pool: Pool, host: string): Promise<readonly string[]> {
  const { rows } = await pool.query<{ key: string }>(
    `select distinct resource.kind || '/' || resource.uid as key
       from realization join resource on resource.uid = realization.resource_uid where realization.host = $1`,
    [host],
  );
  return rows.map(({ key }) => key);
}
