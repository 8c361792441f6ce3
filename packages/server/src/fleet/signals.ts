import type { Queryable } from '@virt8ra/engine';

/** The one channel of the fleet. The payload is a host: something about it changed; what, the database says. */
export const fleetChannel = 'virt8ra_fleet';

/** Tells every replica when the transaction commits. */
export async function tellFleet(client: Queryable, host: string): Promise<void> {
  await client.query('select pg_notify($1, $2)', [fleetChannel, host]);
}
