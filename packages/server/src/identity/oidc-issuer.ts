import { Problem } from '@virt8ra/contract';
import type { Log } from '@virt8ra/engine';
import { type JWTPayload, jwtVerify } from 'jose';
import type { Outbound } from '../outbound/outbound.js';
import { clockToleranceSeconds, type Identity, isTexts } from './identity.js';
import type { OidcIssuerOptions } from './identity-file.js';
import { createKeySet } from './key-set.js';
import { createTokenCache } from './token-cache.js';

/** Verifies the tokens of one issuer. Raises `unauthorized`, or `unavailable` while its keys cannot be read. */
export interface TokenVerifier {
  verify(token: string): Promise<Identity>;
}

/** A key that its issuer takes back ends at the latest then, also for tokens that were verified before. */
const longestKeptMs = 5 * 60_000;
const longestName = 128;

export function createOidcIssuer(
  options: OidcIssuerOptions,
  { outbound, log, now = Date.now }: { readonly outbound: Outbound; readonly log: Log; readonly now?: () => number },
): TokenVerifier {
  const { issuer, audience, algorithms = ['RS256', 'ES256'] } = options;
  const keys = createKeySet({ issuer, outbound, log, now });
  const cache = createTokenCache(now);
  return {
    async verify(token) {
      const known = cache.find(token);
      if (known !== undefined) return known;
      let payload: JWTPayload;
      try {
        ({ payload } = await jwtVerify(token, keys, {
          algorithms,
          issuer,
          audience,
          requiredClaims: ['exp'],
          clockTolerance: clockToleranceSeconds,
          currentDate: new Date(now()),
        }));
      } catch (cause) {
        if (cause instanceof Problem) throw cause;
        const code = (cause as { code?: string }).code;
        throw new Problem(
          'unauthorized',
          code === 'ERR_JWT_EXPIRED' ? 'the token has run out; log in again' : whyNot(cause, options.name),
          { cause },
        );
      }
      const identity = identityFrom(payload, options);
      const expiresAtMs = (Number(payload.exp) + clockToleranceSeconds) * 1000;
      cache.keep(token, identity, { expiresAtMs, forgetAtMs: Math.min(expiresAtMs, now() + longestKeptMs) });
      return identity;
    },
  };
}

function whyNot(cause: unknown, name: string): string {
  const { code, claim } = cause as { code?: string; claim?: string };
  return code === 'ERR_JWT_CLAIM_VALIDATION_FAILED' && claim !== undefined
    ? `the token of ${name} is not for this control plane: its ${claim} is another`
    : `the token is not one that ${name} signed`;
}

function identityFrom(payload: JWTPayload, { name, claims = {}, tenants, operatorGroups = [] }: OidcIssuerOptions): Identity {
  const subject = claimOf(payload, claims.subject ?? 'sub');
  if (typeof subject !== 'string' || subject === '' || !isName(subject)) {
    throw new Problem('unauthorized', `the token of ${name} does not say whom it speaks for, in ${claims.subject ?? 'sub'}`);
  }
  const groups = textsOf(claimOf(payload, claims.groups ?? 'groups')).filter(isName);
  const named = claims.tenants === undefined ? tenants : textsOf(claimOf(payload, claims.tenants));
  return {
    name: `${name}:${subject}`,
    operator: groups.some((group) => operatorGroups.includes(group)),
    tenants: named.filter((tenant) => tenants.includes(tenant)),
    subs: groups.map((group) => `${name}:groups/${group}`),
  };
}

function claimOf(payload: JWTPayload, path: string): unknown {
  // A claim may have dots in its own name, such as those that are URLs.
  if (Object.hasOwn(payload, path)) return payload[path];
  let value: unknown = payload;
  for (const part of path.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Readonly<Record<string, unknown>>)[part];
  }
  return value;
}

function textsOf(value: unknown): readonly string[] {
  if (typeof value === 'string') return value === '' ? [] : [value];
  return isTexts(value) ? value : [];
}

/** What cannot be named in an assignment, or would disturb a log, is not taken over. */
function isName(text: string): boolean {
  return text.length <= longestName && /^[^\p{C}]+$/u.test(text);
}
