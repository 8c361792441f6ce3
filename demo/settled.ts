import { type Client, type ResourceOf, rest } from '@virt8ra/client';
import { type Address, type Kind, Problem } from '@virt8ra/contract';

export interface Waiting {
  readonly signal: AbortSignal;
  readonly withinSeconds?: number;
}

const lookMs = 200;

/** Waits until a resource is as wanted. Raises `unavailable` at the time limit with what the control plane says of it. */
export async function settled<K extends Kind>(
  client: Client,
  kind: K,
  address: Address,
  reached: (resource: ResourceOf<K>) => boolean,
  { signal, withinSeconds = 60, what }: Waiting & { readonly what: string },
): Promise<ResourceOf<K>> {
  const deadline = performance.now() + withinSeconds * 1000;
  for (;;) {
    const resource = await client.get(kind, address, signal);
    if (reached(resource)) return resource;
    const reason = reasonOf(resource.status);
    if (finished(resource.status)) throw new Problem('internal', `never came: ${what}. ${reason}`);
    if (performance.now() > deadline) throw new Problem('unavailable', `not within ${withinSeconds} s: ${what}. ${reason}`);
    await rest(lookMs, signal);
  }
}

/** Waits until a resource is gone. */
export async function gone(client: Client, kind: Kind, address: Address, { signal, withinSeconds = 60 }: Waiting): Promise<void> {
  const deadline = performance.now() + withinSeconds * 1000;
  for (;;) {
    const resource = await client.find(kind, address, signal);
    if (resource === undefined) return;
    if (performance.now() > deadline) {
      throw new Problem('unavailable', `${kind.kind} ${address.name} was not gone within ${withinSeconds} s. ${reasonOf(resource.status)}`);
    }
    await rest(lookMs, signal);
  }
}

/** In one line: state, and the newest condition. */
export function reasonOf(status: unknown): string {
  const { state, phase, problem, conditions } = (status ?? {}) as {
    state?: string;
    phase?: string;
    problem?: string;
    conditions?: readonly { type?: string; reason?: string; message?: string }[];
  };
  const newest = conditions?.[0];
  const words = [problem, newest?.reason, newest?.message].filter((word) => word !== undefined && word !== '');
  return `It is ${phase ?? state ?? 'without a state'}${words.length > 0 ? ` (${words.join(': ')})` : ''}.`;
}

function finished(status: unknown): boolean {
  const { phase } = (status ?? {}) as { phase?: string };
  return phase !== undefined && ['failed', 'returned', 'refused'].includes(phase);
}
