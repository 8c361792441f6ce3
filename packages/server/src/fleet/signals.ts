import type { ServerStream } from '@virt8ra/contract';
import type { Queryable } from '@virt8ra/engine';

/**
 * The one channel of the fleet. The payload is a host: something about it changed; what, the database says. Or it is JSON: a stream that the
 * replica with the host's link is to ask for. Nothing else carries that one; when it is lost, its caller hears so and asks again.
 */
export const fleetChannel = 'virt8ra_fleet';

/** Tells every replica when the transaction commits. */
export async function tellFleet(client: Queryable, host: string): Promise<void> {
  await client.query('select pg_notify($1, $2)', [fleetChannel, host]);
}

/** A stream for a host whose link another replica holds. */
export interface StreamSignal {
  readonly host: string;
  readonly request: ServerStream;
}

export async function tellStream(client: Queryable, host: string, request: ServerStream): Promise<void> {
  await client.query('select pg_notify($1, $2)', [fleetChannel, JSON.stringify({ host, request } satisfies StreamSignal)]);
}

/** Undefined for a payload that names a host. */
export function streamFromSignal(payload: string): StreamSignal | undefined {
  return payload.startsWith('{') ? (JSON.parse(payload) as StreamSignal) : undefined;
}
