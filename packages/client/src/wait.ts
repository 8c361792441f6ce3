import { type Address, type Kind, Problem, type ResourceOf, type State } from '@virt8ra/contract';
import type { FollowOptions, Sighting } from './follow.js';

/** A state, `deleted`, or a question of one's own; the resource is undefined while it does not exist. */
export type Wanted<K extends Kind> = State | 'deleted' | ((resource: ResourceOf<K> | undefined) => boolean);

export interface WaitOptions<K extends Kind> extends FollowOptions {
  /** Absent: without a limit. */
  readonly timeoutSeconds?: number | undefined;
  /** Why it can never be reached any more; that is raised at once. State `error` alone is no such reason: the control plane goes on trying. */
  readonly lost?: (resource: ResourceOf<K> | undefined) => Problem | undefined;
  readonly onSighting?: (sighting: Sighting<ResourceOf<K>>) => void;
}

/**
 * Waits until a resource is as it is wanted, and answers it; undefined when it is wanted to be gone. Raises `unavailable` with the fact
 * `waitedSeconds` at the time limit, saying how far it came, `not-found` when a state is wanted of what is gone, and what `lost` says.
 */
export async function waitForResource<K extends Kind>(
  follow: (options: FollowOptions) => AsyncIterable<Sighting<ResourceOf<K>>>,
  kind: K,
  address: Address,
  wanted: Wanted<K>,
  { timeoutSeconds, lost, onSighting, ...options }: WaitOptions<K> = {},
): Promise<ResourceOf<K> | undefined> {
  const limit = timeoutSeconds === undefined ? undefined : AbortSignal.timeout(timeoutSeconds * 1000);
  const signals = [options.signal, limit].filter((signal) => signal !== undefined);
  const title = `${kind.kind} ${address.name}`;
  const reached = (resource: ResourceOf<K> | undefined): boolean => {
    if (typeof wanted === 'function') return wanted(resource);
    return wanted === 'deleted' ? resource === undefined : stateOf(resource) === wanted;
  };
  let last: ResourceOf<K> | undefined;
  try {
    for await (const sighting of follow({ ...options, signal: signals.length === 0 ? undefined : AbortSignal.any(signals) })) {
      last = sighting.resource;
      onSighting?.(sighting);
      if (reached(last)) return last;
      const gone = last === undefined && typeof wanted === 'string' && wanted !== 'deleted';
      const never = lost?.(last) ?? (gone ? new Problem('not-found', `${title} does not exist (any more)`) : undefined);
      if (never !== undefined) throw never;
    }
  } catch (error) {
    if (limit?.aborted !== true || options.signal?.aborted === true) throw error;
    const now = last === undefined ? 'it does not exist' : `it is ${stateOf(last) ?? 'without a state'}`;
    throw new Problem('unavailable', `${title} did not come to it within ${timeoutSeconds} s: ${now}`, {
      facts: { waitedSeconds: timeoutSeconds },
      cause: error,
    });
  }
  throw new Problem('cancelled', 'interrupted');
}

function stateOf(resource: { readonly status?: unknown } | undefined): string | undefined {
  return (resource?.status as { readonly state?: string } | undefined)?.state;
}
