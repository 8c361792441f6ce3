import { Problem, toProblem } from '@virt8ra/contract';
import type { Observation } from '@virt8ra/driver';
import type { CloudClient } from './client.js';
import type { CloudObject } from './handle.js';

/** Remembers what was seen last of each object, so that it can be told with its time while the cloud is away. */
export interface Sight<Status> {
  /** Raises only for what is our own mistake, and when the connection is closed. */
  observe(object: CloudObject, look: () => Promise<Seen<Status>>): Promise<Observation<Status>>;
}

export type Seen<Status> =
  | { readonly type: 'absent' }
  | { readonly type: 'present'; readonly status: Status }
  | { readonly type: 'changing'; readonly status: Status }
  | { readonly type: 'broken'; readonly status: Status; readonly problem: Problem }
  | { readonly type: 'unknown'; readonly reason: string };

const remembered = 10_000;
const retryAfterSeconds = 3;

export function createSight<Status>(client: CloudClient, source: string): Sight<Status> {
  const last = new Map<string, { readonly at: string; readonly status: Status }>();
  const unknown = (id: string, reason: string): Observation<Status> => {
    const lastSeen = last.get(id);
    return { type: 'unknown', reason, source, ...(lastSeen === undefined ? {} : { lastSeen }) };
  };
  return {
    async observe({ id, project }, look) {
      client.assertOpen();
      try {
        const own = await client.identity.project();
        // Not to be found there says nothing: it is in another project.
        if (own !== project) return unknown(id, `it is in project ${project}, and the account is for project ${own} now`);
        const seen = await look();
        const at = new Date().toISOString();
        if (seen.type === 'unknown') return unknown(id, seen.reason);
        last.delete(id);
        if (seen.type === 'absent') return { type: 'absent', at, source };
        last.set(id, { at, status: seen.status });
        if (last.size > remembered) last.delete(last.keys().next().value ?? '');
        return seen.type === 'changing' ? { ...seen, at, source, retryAfterSeconds } : { ...seen, at, source };
      } catch (thrown) {
        const problem = toProblem(thrown);
        if (problem.kind === 'cancelled' || problem.kind === 'internal') throw problem;
        return unknown(id, problem.message);
      }
    },
  };
}

/** A 404 is "not there" only in the service's own words: a proxy's page is not the right place to ask. */
export function assertOwnWords(service: string, text: string): void {
  try {
    if (typeof JSON.parse(text) === 'object') return;
  } catch {
    if (/no image found|could not be found|itemNotFound/i.test(text)) return;
  }
  throw new Problem('unavailable', `${service} answered 404 in words that are not its own; something before it may be wrong`);
}
