import { Problem } from '@virt8ra/contract';
import type { Subject } from '../kinds/behaviour.js';
import type { Issuer } from './issuer.js';

/** Who asks, by the bearer token of a request, with those of its tenants that exist. Raises `unauthorized`. */
export function createAuthenticate(
  issuer: Issuer,
  existing: readonly string[],
): (credentials: { readonly authorization: string | undefined; readonly remote: string }) => Promise<Subject> {
  return async ({ authorization, remote }) => {
    const token = /^Bearer +([\w.~+/=-]+) *$/i.exec(authorization ?? '')?.[1];
    if (token === undefined) throw new Problem('unauthorized', 'this needs a token: Authorization: Bearer TOKEN');
    const identity = await issuer.verify(token);
    const { tenants } = identity;
    return { ...identity, tenants: tenants === 'all' ? existing : existing.filter((tenant) => tenants.includes(tenant)), remote };
  };
}
