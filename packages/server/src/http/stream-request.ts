import { instance, Problem, type StreamTarget, scrollbackMostBytes } from '@virt8ra/contract';
import { collectionRoute, type PathParameters } from './request-address.js';

/** A stream as its URL asks for it. */
export interface StreamAddress {
  readonly parameters: PathParameters;
  /** Path without the query: what a ticket is for. */
  readonly path: string;
  readonly query: URLSearchParams;
  /** Last parts of the path, such as `console` or `ports/80`; for the audit too. */
  readonly place: string;
}

export const streamPlaces = ['console', 'vnc', 'ports/:port'] as const;

const pattern = new RegExp(
  `^${collectionRoute(instance).replaceAll(/:(\w+)/g, '(?<$1>[^/]{1,128})')}/(?<name>[^/]{1,128})/(?<place>console|vnc|ports/[^/]{1,16})$`,
);
export const defaultScrollbackBytes = 16 * 1024;

/** Raises `not-found` for a URL that is of no stream. */
export function streamAddressOf(url: string): StreamAddress {
  const [path = '', query = ''] = url.split('?', 2);
  const found = pattern.exec(path)?.groups;
  if (found === undefined) throw new Problem('not-found', `there is no stream at ${path.slice(0, 300)}`);
  return { parameters: found, path, query: new URLSearchParams(query), place: found['place'] ?? '' };
}

/** Raises `invalid-request` that names the parameter at fault. */
export function streamTargetOf({ place, query }: Pick<StreamAddress, 'place' | 'query'>): StreamTarget {
  if (place === 'vnc') return { type: 'vnc' };
  if (place !== 'console') return { type: 'port', port: numberOf('port', place.slice('ports/'.length), 1, 65535) };
  const write = query.get('write') ?? 'free';
  if (write !== 'no' && write !== 'free' && write !== 'take') {
    throw new Problem('invalid-request', 'write is one of no, free and take', { sources: [{ parameter: 'write' }] });
  }
  const scrollbackBytes = numberOf('scrollback', query.get('scrollback') ?? String(defaultScrollbackBytes), 0, scrollbackMostBytes);
  return { type: 'console', write, scrollbackBytes };
}

function numberOf(parameter: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (/^\d{1,9}$/.test(text) && value >= least && value <= most) return value;
  throw new Problem('invalid-request', `${parameter} is a number from ${least} to ${most}, not ${JSON.stringify(text.slice(0, 32))}`, {
    sources: [{ parameter }],
  });
}
