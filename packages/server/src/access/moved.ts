import type { Queryable } from '@virt8ra/engine';

/** Channel of the access endpoints: an instance that is somewhere else now, or nothing when the list of endpoints has changed. */
export const accessChannel = 'virt8ra_access';

/**
 * Tells the endpoints of every replica, at the commit of the caller's transaction, that an instance is somewhere else now or nowhere:
 * connections that lead to where it was end, and new ones look anew.
 */
export async function tellMoved(client: Queryable, instance: string): Promise<void> {
  await client.query('select pg_notify($1, $2)', [accessChannel, instance]);
}

/** The same for endpoints that came or went. */
export async function tellChanged(client: Queryable): Promise<void> {
  await client.query('select pg_notify($1, $2)', [accessChannel, '']);
}
