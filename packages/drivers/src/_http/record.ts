import { maskSecrets, secretNames } from '@virt8ra/contract';
import type { HttpMethod } from './way.js';

/** One request as it may be shown: without headers, and with every secret in its body masked. */
export interface Exchange {
  readonly method: HttpMethod;
  /** Host, path and query. */
  readonly url: string;
  readonly attempt: number;
  readonly milliseconds: number;
  /** Absent: there was no answer. */
  readonly status?: number;
  /** The provider's own name of the request, for its support. */
  readonly requestId?: string;
  readonly asked?: unknown;
  readonly problem?: string;
}

/** Bodies longer than this are cut. */
const longest = 4096;

/** A body with secrets masked, by the names they stand under however those are written (`user_data`, `adminPass`) and by what they look like. */
export function redacted(body: unknown, depth = 0): unknown {
  if (typeof body === 'string') return maskSecrets(body.length > longest ? `${body.slice(0, longest)}…` : body);
  if (typeof body !== 'object' || body === null) return body;
  if (depth > 12) return '…';
  if (Array.isArray(body)) return body.map((item) => redacted(item, depth + 1));
  return Object.fromEntries(
    Object.entries(body).map(([name, value]) => [name, isSecret(name, value) ? '[secret]' : redacted(value, depth + 1)]),
  );
}

function isSecret(name: string, value: unknown): boolean {
  const plain = name.replaceAll(/[-_]/g, '');
  if (typeof value === 'object' && value !== null) return false;
  return secretNames.test(plain) || /pass$|secret$|token$|privatekey$/i.test(plain);
}
