import type { IncomingMessage } from 'node:http';
import { Problem } from '@virt8ra/contract';
import type { Egress } from '../outbound/egress.js';
import type { Outbound } from '../outbound/outbound.js';

export interface Fetched {
  /** Where the content begins: the offset asked for, or 0 when the source does not resume. */
  readonly offset: number;
  /** Of the whole file; undefined when the source does not say. */
  readonly totalBytes: number | undefined;
  /** What the source calls this version of it; undefined: it does not say. */
  readonly validator: string | undefined;
  readonly content: IncomingMessage;
}

export interface SourceOptions {
  readonly outbound: Outbound;
  readonly egress: Egress;
  readonly offset: number;
  /** Of the version that what has come is of: another one begins anew. */
  readonly validator?: string | undefined;
  readonly signal: AbortSignal;
}

const maxRedirects = 5;

/**
 * Opens an http(s) URL of a stranger, from `offset` on. Every hop is checked against the egress rules again, at the address that is
 * really connected to. Raises `validation` when the source cannot be one, `unavailable` when it may be later.
 */
export async function openUrl(url: string, options: SourceOptions): Promise<Fetched> {
  let target = parseSource(url);
  for (let hop = 0; hop <= maxRedirects; hop += 1) {
    const response = await send(target, options);
    const status = response.statusCode ?? 0;
    const { location } = response.headers;
    if (status >= 300 && status < 400 && location !== undefined) {
      response.destroy();
      const next = parseSource(new URL(location, target).href);
      if (target.protocol === 'https:' && next.protocol !== 'https:')
        throw new Problem('validation', `${target.host} redirects from https to http; refused`);
      target = next;
      continue;
    }
    if (status === 416 && options.offset > 0) {
      // The source has become shorter, or all of it was here already: from the start, so that the digest decides.
      response.destroy();
      return await openUrl(url, { ...options, offset: 0 });
    }
    const fetched = fetchedFrom(response, status, options.offset, target);
    if (fetched.offset > 0 && options.validator !== undefined && fetched.validator !== options.validator) {
      // A source that goes on with another version, whatever it was asked.
      response.destroy();
      return await openUrl(url, { ...options, offset: 0 });
    }
    return fetched;
  }
  throw new Problem('validation', `the source redirects more than ${maxRedirects} times`);
}

function parseSource(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:'))
    throw new Problem('validation', 'the source is no http or https URL');
  if (url.username !== '' || url.password !== '')
    throw new Problem('validation', 'the source must not hold a user or a password: it is stored and shown');
  return url;
}

async function send(url: URL, { outbound, egress, offset, validator, signal }: SourceOptions): Promise<IncomingMessage> {
  const range = { range: `bytes=${offset}-`, ...(validator === undefined ? {} : { 'if-range': validator }) };
  return await outbound.send(url, { egress, signal, ...(offset === 0 ? {} : { headers: range }) });
}

function fetchedFrom(response: IncomingMessage, status: number, offset: number, url: URL): Fetched {
  const validator = validatorOf(response);
  if (status === 200) return { offset: 0, totalBytes: length(response.headers['content-length']), validator, content: response };
  if (status === 206) {
    const [, start, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(response.headers['content-range'] ?? '') ?? [];
    if (Number(start) === offset) return { offset, totalBytes: length(total), validator, content: response };
  }
  response.destroy();
  const later = status >= 500 || status === 408 || status === 429;
  throw new Problem(later ? 'unavailable' : 'validation', `${url.host} answered ${status} instead of the image`, {
    facts: { status },
    ...(later ? { retryAfterSeconds: 10 } : {}),
  });
}

/** A weak entity tag says nothing of octets (RFC 9110, 8.8.1). */
function validatorOf({ headers: { etag, 'last-modified': changed } }: IncomingMessage): string | undefined {
  return etag !== undefined && !etag.startsWith('W/') && etag.length <= 256 ? etag : changed?.slice(0, 256);
}

function length(text: string | undefined): number | undefined {
  const value = Number(text);
  return text !== undefined && Number.isSafeInteger(value) ? value : undefined;
}
