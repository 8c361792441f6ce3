import { Problem, type ProblemSource } from '@virt8ra/contract';
import { isStorableText } from '../resources/storable-text.js';
import { jsonFault } from './json-fault.js';

/** Deeper than any kind is; bounds every recursion over a body. */
const deepest = 32;

/**
 * The JSON of a request body. Raises `invalid-request` for what is not JSON (with its place) or nested too deeply, `validation` for values
 * that cannot be kept: U+0000, half surrogate pairs, numbers out of range, members named `__proto__`.
 */
export function parseJsonBody(octets: Uint8Array): unknown {
  const text = textFromOctets(octets);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    const fault = jsonFault(text);
    const place = fault === undefined ? '' : ` at line ${fault.line}, column ${fault.column}`;
    throw new Problem('invalid-request', `the body is not JSON: wrong${place}`, {
      cause,
      ...(fault === undefined ? {} : { facts: { ...fault } }),
    });
  }
  assertStorable(value);
  return value;
}

function textFromOctets(octets: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(octets);
  } catch (cause) {
    throw new Problem('invalid-request', 'the body is not UTF-8', { cause });
  }
}

function assertStorable(root: unknown): void {
  const sources: ProblemSource[] = [];
  const open: { readonly value: unknown; readonly pointer: string; readonly depth: number }[] = [{ value: root, pointer: '', depth: 0 }];
  for (let next = open.pop(); next !== undefined && sources.length < 50; next = open.pop()) {
    const { value, pointer, depth } = next;
    if (depth > deepest)
      throw new Problem('invalid-request', `the body is nested deeper than ${deepest} levels`, { sources: [{ pointer }] });
    if (typeof value === 'string' && !isStorableText(value)) sources.push({ pointer });
    if (typeof value === 'number' && !Number.isFinite(value)) sources.push({ pointer });
    if (typeof value !== 'object' || value === null) continue;
    for (const [key, member] of Object.entries(value)) {
      const at = `${pointer}/${pointerToken(key)}`;
      if (key === '__proto__' || !isStorableText(key)) sources.push({ pointer: isStorableText(key) ? at : pointer });
      open.push({ value: member, pointer: at, depth: depth + 1 });
    }
  }
  if (sources.length === 0) return;
  throw new Problem(
    'validation',
    `${sources.map(({ pointer }) => pointer || 'the body').join(', ')}: holds what cannot be kept (U+0000, half a surrogate pair, a number out of range, or a member named __proto__)`,
    { sources },
  );
}

/** A member's name as RFC 6901 writes it. */
export function pointerToken(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1');
}
