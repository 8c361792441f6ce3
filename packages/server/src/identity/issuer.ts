import { chmod, mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { newId, Problem, RoleScope } from '@virt8ra/contract';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, type JWK, jwtVerify, SignJWT } from 'jose';
import { Check } from 'typebox/value';
import { readText, writeFileAtomic } from '../files/atomic-file.js';
import { clockToleranceSeconds, type Identity, isTexts } from './identity.js';
import { createTokenCache } from './token-cache.js';

export interface TokenRequest extends Identity {
  readonly lifetimeSeconds: number;
}

/** The local issuer: ES256, its key in the state directory. */
export interface Issuer {
  issueToken(request: TokenRequest): Promise<string>;
  /** Raises `unauthorized` for whatever is not a token this issuer signed for this control plane, or has run out. Verified once, then cached. */
  verify(token: string): Promise<Identity>;
}

export interface IssuerOptions {
  readonly stateDirectory: string;
  readonly region: string;
  readonly now?: () => number;
  /** Tokens kept as verified. */
  readonly cacheSize?: number;
}

const algorithm = 'ES256';
/** Ours have about 500 bytes; whatever is much longer is not worth a signature check. */
const longestToken = 4096;

/** What stands in the tokens of this issuer as theirs. */
export function localIssuer(region: string): string {
  return `virt8ra/${region}`;
}

export async function openIssuer(options: IssuerOptions): Promise<Issuer> {
  const { stateDirectory, region } = options;
  const now = options.now ?? Date.now;
  const cacheSize = options.cacheSize ?? 10_000;
  const jwk = await loadKey(stateDirectory);
  const { d: _secret, ...publicJwk } = jwk;
  const privateKey = await importJWK(jwk, algorithm);
  const publicKey = await importJWK(publicJwk, algorithm);
  const kid = jwk.kid ?? '';
  const issuer = localIssuer(region);
  const audience = `virt8ra-api/${region}`;
  const cache = createTokenCache(now, cacheSize);

  return {
    async issueToken({ name, operator, tenants, roles, within, account, lifetimeSeconds }) {
      const issuedAt = Math.floor(now() / 1000);
      return await new SignJWT({
        tenants,
        operator,
        ...(roles === undefined ? {} : { roles }),
        ...(within === undefined ? {} : { scope: within }),
        ...(account === undefined ? {} : { account }),
      })
        .setProtectedHeader({ alg: algorithm, kid, typ: 'JWT' })
        .setIssuer(issuer)
        .setAudience(audience)
        .setSubject(name)
        .setJti(newId('token', now()))
        .setIssuedAt(issuedAt)
        .setExpirationTime(issuedAt + lifetimeSeconds)
        .sign(privateKey);
    },
    async verify(token) {
      if (token.length > longestToken) throw new Problem('unauthorized', 'the token is not one of this control plane');
      const known = cache.find(token);
      if (known !== undefined) return known;
      let payload: Record<string, unknown>;
      try {
        ({ payload } = await jwtVerify(token, publicKey, {
          algorithms: [algorithm],
          issuer,
          audience,
          requiredClaims: ['sub', 'exp', 'iat'],
          clockTolerance: clockToleranceSeconds,
          currentDate: new Date(now()),
        }));
      } catch (cause) {
        const expired = (cause as { code?: string }).code === 'ERR_JWT_EXPIRED';
        throw new Problem(
          'unauthorized',
          expired ? 'the token has run out; ask the operator for a new one' : 'the token is not one of this control plane',
          { cause },
        );
      }
      const identity = identityFrom(payload);
      cache.keep(token, identity, { expiresAtMs: (Number(payload['exp']) + clockToleranceSeconds) * 1000 });
      return identity;
    },
  };
}

function identityFrom(claims: Record<string, unknown>): Identity {
  const { sub, tenants, operator, roles, scope, account } = claims;
  const list = isTexts(tenants) ? tenants : undefined;
  if (typeof sub !== 'string' || sub === '' || (tenants !== 'all' && list === undefined)) {
    throw new Problem('unauthorized', 'the token does not say whom it speaks for');
  }
  // What is meant to narrow a token must never be passed over.
  if (scope !== undefined && !Check(RoleScope, scope)) throw new Problem('unauthorized', 'the token has a scope that is none');
  const within = { ...(scope === undefined ? {} : { within: scope }), ...(typeof account === 'string' ? { account } : {}) };
  if (operator === true) return { name: sub, operator: true, tenants: list ?? 'all', ...within };
  return { name: sub, operator: false, tenants: list ?? 'all', roles: isTexts(roles) ? roles : rolesBefore, ...within };
}

/** Of tokens that were made before there were roles: they were for everything in their tenants. */
const rolesBefore: readonly string[] = ['seca.admin'];

async function loadKey(stateDirectory: string): Promise<JWK> {
  const directory = join(stateDirectory, 'identity');
  const path = join(directory, 'issuer.jwk');
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const text = await readText(path);
  if (text === undefined) {
    const { privateKey, publicKey } = await generateKeyPair(algorithm, { extractable: true });
    const jwk = {
      ...(await exportJWK(privateKey)),
      alg: algorithm,
      use: 'sig',
      kid: await calculateJwkThumbprint(await exportJWK(publicKey)),
    };
    await writeFileAtomic(path, JSON.stringify(jwk));
    return jwk;
  }
  // A restored backup may have lost the mode.
  if (((await stat(path)).mode & 0o077) !== 0) await chmod(path, 0o600);
  try {
    return JSON.parse(text) as JWK;
  } catch (cause) {
    throw new Problem('internal', `${path} is damaged. Restore it from a backup, or move it away: all tokens issued so far end then`, {
      cause,
    });
  }
}
