import { Problem } from '@virt8ra/contract';
import { decodeJwt } from 'jose';
import type { Subject } from '../kinds/behaviour.js';
import type { Accounts } from './accounts.js';
import { type Identity, longestToken } from './identity.js';
import type { TokenVerifier } from './oidc-issuer.js';

export interface AuthenticateOptions {
  readonly local: TokenVerifier;
  /** By what stands in tokens as their issuer; all others are the local one's to judge. */
  readonly issuers: ReadonlyMap<string, TokenVerifier>;
  readonly accounts: Accounts;
  /** Tenants that exist. */
  readonly tenants: readonly string[];
}

export type Authenticate = (credentials: { readonly authorization: string | undefined; readonly remote: string }) => Promise<Subject>;

/** Who asks, by the bearer token of a request, with those of its tenants that exist. Raises `unauthorized`. */
export function createAuthenticate({ local, issuers, accounts, tenants: existing }: AuthenticateOptions): Authenticate {
  const verify = async (token: string): Promise<Identity> => {
    if (token.length > longestToken) throw new Problem('unauthorized', 'the token is too long to be one of ours');
    return await (verifierOf(token) ?? local).verify(token);
  };
  const verifierOf = (token: string): TokenVerifier | undefined => {
    if (issuers.size === 0) return undefined;
    try {
      return issuers.get(decodeJwt(token).iss ?? '');
    } catch {
      return undefined;
    }
  };
  return async ({ authorization, remote }) => {
    const token = /^Bearer +([\w.~+/=-]+) *$/i.exec(authorization ?? '')?.[1];
    if (token === undefined) throw new Problem('unauthorized', 'this needs a token: Authorization: Bearer TOKEN');
    const { account, ...identity } = await verify(token);
    if (account !== undefined && !(await accounts.stands(account)))
      throw new Problem('unauthorized', `${identity.name} is no service account any more`);
    const { tenants } = identity;
    return { ...identity, tenants: tenants === 'all' ? existing : existing.filter((tenant) => tenants.includes(tenant)), remote };
  };
}
