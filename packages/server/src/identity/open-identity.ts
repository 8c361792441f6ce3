import { join } from 'node:path';
import type { LoginIssuer } from '@virt8ra/contract';
import type { Log } from '@virt8ra/engine';
import type { Pool } from 'pg';
import { type AuditSigner, openAuditSigner } from '../audit/audit-key.js';
import type { Config } from '../config.js';
import { withFileLock } from '../files/file-lock.js';
import type { Outbound } from '../outbound/outbound.js';
import { createAccounts } from './accounts.js';
import { type AdminToken, ensureAdminToken } from './admin-token.js';
import { type Authenticate, createAuthenticate } from './authenticate.js';
import { readIdentityFile } from './identity-file.js';
import { type Issuer, openIssuer } from './issuer.js';
import { createOidcIssuer } from './oidc-issuer.js';

/** Who is known here, and how. */
export interface OpenIdentity {
  readonly issuer: Issuer;
  readonly adminToken: AdminToken;
  /** Signs where the audit's chain stands. */
  readonly signer: AuditSigner;
  /** All subjects there are; undefined: nobody knows them all. */
  readonly subjects: ReadonlySet<string> | undefined;
  /** Where the command line may get a token. */
  readonly logins: readonly LoginIssuer[];
  authenticateWith(pool: Pool): Authenticate;
}

export async function openIdentity(
  config: Pick<Config, 'stateDirectory' | 'region' | 'tenants' | 'identity'>,
  { outbound, log }: { readonly outbound: Outbound; readonly log: Log },
): Promise<OpenIdentity> {
  const { issuers = [], subjects } = await readIdentityFile(config.identity.file, config.tenants);
  // Servers that start together on a new state directory must agree on one key.
  const { issuer, adminToken, signer } = await withFileLock(join(config.stateDirectory, 'identity.lock'), async () => {
    const opened = await openIssuer(config);
    return { issuer: opened, adminToken: await ensureAdminToken(config.stateDirectory, opened), signer: await openAuditSigner(config) };
  });
  const verifiers = new Map(issuers.map((options) => [options.issuer, createOidcIssuer(options, { outbound, log })]));
  return {
    issuer,
    adminToken,
    signer,
    subjects: subjects === undefined ? undefined : new Set(subjects),
    logins: issuers.flatMap(({ name, issuer: url, clientId, scopes = ['openid', 'offline_access'] }) =>
      clientId === undefined ? [] : [{ name, issuer: url, clientId, scopes }],
    ),
    authenticateWith: (pool) =>
      createAuthenticate({ local: issuer, issuers: verifiers, accounts: createAccounts(pool), tenants: config.tenants }),
  };
}
