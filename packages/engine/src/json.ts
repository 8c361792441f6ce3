import { Problem } from '@virt8ra/contract';

/**
 * The value as it will come back from the journal, so that the first pass and every replay see the same. `undefined` stays `undefined`.
 * Raises `internal` naming the place of the first thing that JSON cannot carry (dates, maps, class instances, NaN, functions, bigints).
 */
export function asJson(value: unknown, what: string): unknown {
  if (value === undefined) return undefined;
  assertJson(value, what, []);
  return JSON.parse(JSON.stringify(value));
}

function assertJson(value: unknown, path: string, above: readonly object[]): void {
  switch (typeof value) {
    case 'string':
    case 'boolean':
    case 'undefined':
      return;
    case 'number':
      if (Number.isFinite(value)) return;
      break;
    case 'object': {
      if (value === null) return;
      if (above.includes(value)) break;
      const within = [...above, value];
      if (Array.isArray(value)) {
        value.forEach((item, index) => {
          assertJson(item, `${path}[${index}]`, within);
        });
        return;
      }
      const prototype: unknown = Object.getPrototypeOf(value);
      if (prototype !== Object.prototype && prototype !== null) break;
      for (const [name, member] of Object.entries(value)) assertJson(member, `${path}.${name}`, within);
      return;
    }
    default:
      break;
  }
  throw new Problem('internal', `${path} is not plain JSON`);
}
