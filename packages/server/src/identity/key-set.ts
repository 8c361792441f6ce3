import { Problem } from '@virt8ra/contract';
import type { Log } from '@virt8ra/engine';
import { createLocalJWKSet, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose';
import { type Outbound, readBody } from '../outbound/outbound.js';

export interface KeySetOptions {
  /** The issuer's own URL. */
  readonly issuer: string;
  readonly outbound: Outbound;
  readonly log: Log;
  readonly now: () => number;
}

interface Held {
  readonly keys: JWTVerifyGetKey;
  readonly at: number;
}

/** A key that is not known leads to a look at the issuer, but not more often than this, whatever callers send. */
const restMs = 30_000;
/** Keys are read anew after this, so that one that was taken back ends. */
const freshMs = 10 * 60_000;
/** Keys of an issuer that does not answer are trusted this long. */
const longestMs = 60 * 60_000;
const timeoutMs = 5000;
const mostBytes = 512 * 1024;

/** The keys of an OIDC issuer, found by discovery (OpenID Connect Discovery 1.0, RFC 7517). Raises `unavailable` while there are none. */
export function createKeySet({ issuer, outbound, log, now }: KeySetOptions): JWTVerifyGetKey {
  let held: Held | undefined;
  let askedAt = Number.NEGATIVE_INFINITY;
  let asking: Promise<void> | undefined;
  let failure = '';

  async function ask(): Promise<void> {
    try {
      const discovered = await readJson(outbound, `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`);
      if (discovered['issuer'] !== issuer) throw new Error(`it calls itself ${String(discovered['issuer']).slice(0, 200)}`);
      const keys = await readJson(outbound, String(discovered['jwks_uri']));
      held = { keys: createLocalJWKSet(keys as unknown as JSONWebKeySet), at: now() };
      failure = '';
    } catch (error) {
      failure = error instanceof Error ? error.message : String(error);
      log.warn('the keys of an issuer could not be read', { issuer, error: failure });
    }
  }

  async function refresh(): Promise<void> {
    if (asking === undefined) {
      if (now() - askedAt < restMs) return;
      askedAt = now();
      asking = ask().finally(() => {
        asking = undefined;
      });
    }
    await asking;
  }

  return async (header, token) => {
    if (held === undefined || now() - held.at >= freshMs) await refresh();
    const current = usable();
    try {
      return await current.keys(header, token);
    } catch (error) {
      if ((error as { code?: string }).code !== 'ERR_JWKS_NO_MATCHING_KEY') throw error;
      await refresh();
      const next = usable();
      if (next === current) throw error;
      return await next.keys(header, token);
    }
  };

  function usable(): Held {
    if (held !== undefined && now() - held.at < longestMs) return held;
    throw new Problem('unavailable', `the keys of ${issuer} cannot be read${failure === '' ? '' : `: ${failure}`}`, {
      retryAfterSeconds: 30,
    });
  }
}

async function readJson(outbound: Outbound, text: string): Promise<Readonly<Record<string, unknown>>> {
  const url = text.slice(0, 200);
  if (!isSafe(text)) throw new Error(`${url} is no https URL`);
  const response = await outbound.send(new URL(text), { signal: AbortSignal.timeout(timeoutMs), headers: { accept: 'application/json' } });
  const { statusCode = 0 } = response;
  if (statusCode < 200 || statusCode > 299) {
    response.destroy();
    throw new Error(`${url} answers ${statusCode}`);
  }
  const document: unknown = JSON.parse((await readBody(response, mostBytes)).toString('utf8'));
  if (typeof document !== 'object' || document === null || Array.isArray(document)) throw new Error(`${url} answers no object`);
  return document as Readonly<Record<string, unknown>>;
}

/** Keys that came in the clear could be anybody's, save on this machine. */
export function isSafe(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  return url?.protocol === 'https:' || (url?.protocol === 'http:' && /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(url.hostname));
}
