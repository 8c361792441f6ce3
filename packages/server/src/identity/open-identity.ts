import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { type LoginIssuer, toProblem } from '@virt8ra/contract';
import type { Log } from '@virt8ra/engine';
import type { Pool } from 'pg';
import { type AuditSigner, openAuditSigner } from '../audit/audit-key.js';
import type { Config } from '../config.js';
import { withFileLock } from '../files/file-lock.js';
import { fileMark, followFile } from '../files/follow-file.js';
import type { Outbound } from '../outbound/outbound.js';
import { createAccounts } from './accounts.js';
import { type AdminToken, ensureAdminToken } from './admin-token.js';
import { type Authenticate, createAuthenticate } from './authenticate.js';
import { type IdentityOptions, type OidcIssuerOptions, readIdentityFile } from './identity-file.js';
import { type Issuer, openIssuer } from './issuer.js';
import { createOidcIssuer, type TokenVerifier } from './oidc-issuer.js';

/** Who is known here, and how. What the identity file says is read anew when it changes. */
export interface OpenIdentity {
  readonly issuer: Issuer;
  readonly adminToken: AdminToken;
  /** Signs where the audit's chain stands. */
  readonly signer: AuditSigner;
  /** Whether there may be such a subject. */
  readonly subjects: Pick<ReadonlySet<string>, 'has'>;
  /** Where the command line may get a token. */
  logins(): readonly LoginIssuer[];
  authenticateWith(pool: Pool): Authenticate;
  /** Follows the file no more. */
  close(): void;
}

export async function openIdentity(
  config: Pick<Config, 'stateDirectory' | 'region' | 'tenants' | 'identity'>,
  { outbound, log, lookMs }: { readonly outbound: Outbound; readonly log: Log; readonly lookMs?: number },
): Promise<OpenIdentity> {
  const { file } = config.identity;
  const verifiers = new Map<string, TokenVerifier>();
  let taken: IdentityOptions = {};
  let subjects: ReadonlySet<string> | undefined;

  /** An issuer that says the same as before keeps what it has learned; one that is gone, or says something else, is believed nothing of before. */
  const take = (next: IdentityOptions): void => {
    const before = new Map<string, OidcIssuerOptions>((taken.issuers ?? []).map((each) => [each.issuer, each]));
    const after = new Set((next.issuers ?? []).map(({ issuer }) => issuer));
    for (const url of verifiers.keys()) if (!after.has(url)) verifiers.delete(url);
    for (const options of next.issuers ?? [])
      if (!isDeepStrictEqual(before.get(options.issuer), options))
        verifiers.set(options.issuer, createOidcIssuer(options, { outbound, log }));
    subjects = next.subjects === undefined ? undefined : new Set(next.subjects);
    taken = next;
  };

  const mark = file === undefined ? '' : await fileMark(file);
  take(await readIdentityFile(file, config.tenants));
  // Servers that start together on a new state directory must agree on one key.
  const { issuer, adminToken, signer } = await withFileLock(join(config.stateDirectory, 'identity.lock'), async () => {
    const opened = await openIssuer(config);
    return { issuer: opened, adminToken: await ensureAdminToken(config.stateDirectory, opened), signer: await openAuditSigner(config) };
  });
  const readAnew = async (): Promise<void> => {
    try {
      take(await readIdentityFile(file, config.tenants));
      log.info('the identity file was read anew', {
        file,
        issuers: (taken.issuers ?? []).map(({ name }) => name),
        subjects: subjects?.size,
      });
    } catch (error) {
      log.error('the identity file is wrong: what it said before still holds', { file, problem: toProblem(error).message });
    }
  };
  const close = file === undefined ? (): void => {} : followFile(file, mark, readAnew, lookMs);
  return {
    issuer,
    adminToken,
    signer,
    subjects: { has: (subject) => subjects === undefined || subjects.has(subject) },
    logins: () =>
      (taken.issuers ?? []).flatMap(({ name, issuer: url, clientId, scopes = ['openid', 'offline_access'] }) =>
        clientId === undefined ? [] : [{ name, issuer: url, clientId, scopes }],
      ),
    authenticateWith: (pool) =>
      createAuthenticate({ local: issuer, issuers: verifiers, accounts: createAccounts(pool), tenants: config.tenants }),
    close,
  };
}
