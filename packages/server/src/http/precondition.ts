import { Problem } from '@virt8ra/contract';
import type { StoredResource } from '../resources/stored-resource.js';

const header = 'if-unmodified-since';

/**
 * SECA's optimistic lock: the header carries the `resourceVersion` that was read, as a whole number and not a date. 0 means that the
 * resource must not exist yet. Raises `invalid-request` for anything else.
 */
export function versionOfHeader(value: string | string[] | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'string' && /^\d{1,15}$/.test(value)) return Number(value);
  throw new Problem('invalid-request', `${header} must be the resourceVersion that was read, a whole number`, {
    sources: [{ parameter: header }],
  });
}

/** Raises `precondition-failed` when the resource is at another version than the caller has read. */
export function assertVersion(wanted: number | undefined, resource: StoredResource | undefined): void {
  const actual = resource?.resourceVersion ?? 0;
  if (wanted === undefined || wanted === actual) return;
  const why = resource === undefined ? 'it does not exist' : `it is at ${actual}`;
  throw new Problem('precondition-failed', `the resource is not at version ${wanted}: ${why}; read it again`, {
    sources: [{ parameter: header }],
    facts: { resourceVersion: actual },
  });
}
