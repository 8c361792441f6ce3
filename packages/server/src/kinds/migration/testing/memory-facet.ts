import { Problem } from '@virt8ra/contract';
import type { Facet, Handle, Observation } from '@virt8ra/driver';

/** What is kept of one object of a site in memory. */
export interface Kept<Spec> {
  readonly key: string;
  spec: Spec;
  going: boolean;
}

/** Time in all that a site in memory says. */
export const at = '2026-01-01T00:00:00.000Z';

export function handleOf(key: string): Handle {
  return { driver: 'memory', version: 1, value: key };
}

export function seen<Spec, Object extends Kept<Spec>, Status>(
  host: string,
  object: Object | undefined,
  status: (object: Object) => Status,
  trouble?: Problem,
): Observation<Status> {
  const source = `memory/${host}`;
  if (object === undefined) return { type: 'absent', at, source };
  if (trouble !== undefined && !object.going) return { type: 'broken', at, source, status: status(object), problem: trouble };
  return object.going
    ? { type: 'changing', at, source, status: status(object), retryAfterSeconds: 1 }
    : { type: 'present', at, source, status: status(object) };
}

export function facetOf<Spec, Object extends Kept<Spec>, Status>(
  host: string,
  objects: Map<string, Object>,
  make: (spec: Spec, key: string) => Object,
  status: (object: Object) => Status,
  assertChangeable: (from: Spec, to: Spec) => void,
): Facet<Spec, Status> {
  return {
    async create(spec, key) {
      if (!objects.has(key)) objects.set(key, make(spec, key));
      return handleOf(key);
    },
    find: async (key) => (objects.has(key) ? handleOf(key) : undefined),
    observe: async ({ value }) => seen<Spec, Object, Status>(host, objects.get(value), status),
    async update({ value }, spec) {
      const object = objects.get(value);
      if (object === undefined || object.going) throw new Problem('not-found', `${host} has no ${value}`);
      assertChangeable(object.spec, spec);
      object.spec = spec;
    },
    async remove({ value }) {
      const object = objects.get(value);
      if (object !== undefined) object.going = true;
    },
    async *list() {
      for (const key of objects.keys()) yield { handle: handleOf(key), key };
    },
  };
}
