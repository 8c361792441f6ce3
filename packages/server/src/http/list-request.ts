import { Problem } from '@virt8ra/contract';
import { parseSelector } from '../resources/label-selector.js';
import type { ListQuery } from '../resources/store.js';

const defaultLimit = 1000;
const highestLimit = 10_000;

/** Query and headers of a list. Raises `invalid-request` that names the parameter. Unknown parameters are ignored. */
export function listQueryOf(query: Readonly<Record<string, unknown>>, accept: string | undefined, place: string): ListQuery {
  const single = (name: string): string | undefined => {
    const value = query[name];
    if (value === undefined || typeof value === 'string') return value;
    throw wrong(name, `${name} may be given once`);
  };
  const limit = single('limit');
  if (limit !== undefined && !(/^\d{1,5}$/.test(limit) && Number(limit) >= 1 && Number(limit) <= highestLimit)) {
    throw wrong('limit', `limit must be a whole number from 1 to ${highestLimit}`);
  }
  const skipToken = single('skipToken');
  return {
    selector: parseSelector(single('labels') ?? ''),
    limit: limit === undefined ? defaultLimit : Number(limit),
    after: skipToken === undefined || skipToken === '' ? undefined : positionFromToken(skipToken, place),
    deleted: deletedOf(accept),
  };
}

/** Opaque to clients; bound to the list it was given out for. */
export function tokenFromPosition(position: string, place: string): string {
  return Buffer.from(JSON.stringify([1, place, position])).toString('base64url');
}

function positionFromToken(token: string, place: string): string {
  let fields: unknown;
  try {
    fields = token.length > 2048 ? undefined : JSON.parse(Buffer.from(token, 'base64url').toString('utf8'));
  } catch {
    fields = undefined;
  }
  if (Array.isArray(fields) && fields[0] === 1 && fields[1] === place && typeof fields[2] === 'string') return fields[2];
  throw wrong('skipToken', 'skipToken is not one this list has given out; start the list again without it');
}

/** SECA: `Accept: application/json; deleted=true|only`. */
function deletedOf(accept: string | undefined): NonNullable<ListQuery['deleted']> {
  const [, value] = /;\s*deleted\s*=\s*"?(\w+)"?/i.exec(accept ?? '') ?? [];
  if (value === undefined || value === 'false') return 'without';
  if (value === 'true') return 'with';
  if (value === 'only') return 'only';
  throw wrong('accept', 'the parameter deleted of the Accept header must be true or only');
}

function wrong(parameter: string, message: string): Problem {
  return new Problem('invalid-request', message, { sources: [{ parameter }] });
}
