import type { ServerPathProbe, ServerStream } from '@virt8ra/contract';
import type { Queryable } from '@virt8ra/engine';

/**
 * The one channel of the fleet. The payload is a host: something about it changed; what, the database says. Or it is JSON: what the replica with the
 * host's link is to ask of it. Nothing else carries that one; when it is lost, who wants it hears so, or looks again.
 */
export const fleetChannel = 'virt8ra_fleet';

/** Tells every replica when the transaction commits. */
export async function tellFleet(client: Queryable, host: string): Promise<void> {
  await client.query('select pg_notify($1, $2)', [fleetChannel, host]);
}

/** What a host is asked once, outside its desired state. */
export type HostRequest = ServerStream | ServerPathProbe;

/** A request for a host whose link another replica holds. */
export interface RequestSignal {
  readonly host: string;
  readonly request: HostRequest;
}

export async function tellRequest(client: Queryable, host: string, request: HostRequest): Promise<void> {
  await client.query('select pg_notify($1, $2)', [fleetChannel, JSON.stringify({ host, request } satisfies RequestSignal)]);
}

/** Undefined for a payload that names a host. */
export function requestFromSignal(payload: string): RequestSignal | undefined {
  return payload.startsWith('{') ? (JSON.parse(payload) as RequestSignal) : undefined;
}
