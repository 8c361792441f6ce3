import type { Kind } from '@virt8ra/contract';
import { jsonEqual } from '../resources/json-equal.js';
import { problemOfFaults } from './resource-body.js';

/** What to do instead, where there is something. */
const instead: Readonly<Record<string, string>> = {
  'instance /zone': 'move it with "virt8ra migrate NAME --to SITE" (a migration)',
  'block-storage /sourceImageRef': 'make another block storage',
};

/** Raises `validation` with a pointer for every part that may not change and would. `mutable`: those that may all the same, as `KIND POINTER`. */
export function assertUnchanged(kind: Kind, previous: unknown, next: unknown, mutable: readonly string[] = []): void {
  const faults = kind.immutable
    .filter((pointer) => !mutable.includes(`${kind.kind} ${pointer}`))
    .filter((pointer) => !jsonEqual(valueAt(previous, pointer), valueAt(next, pointer)))
    .map((pointer) => ({
      pointer: `/spec${pointer}`,
      message: `cannot be changed; ${instead[`${kind.kind} ${pointer}`] ?? `delete the ${kind.kind} and make it anew`}`,
    }));
  if (faults.length > 0) throw problemOfFaults(faults);
}

/** A reference as text and the same as object say the same. */
function valueAt(spec: unknown, pointer: string): unknown {
  let value = spec;
  for (const token of pointer.split('/').slice(1)) {
    value =
      typeof value === 'object' && value !== null && Object.hasOwn(value, token) ? (value as Record<string, unknown>)[token] : undefined;
  }
  return pointer.endsWith('Ref') && typeof value === 'string' ? { resource: value } : value;
}
