import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Finding, found, lifetimeFinding, toProblem } from '@virt8ra/contract';
import type { Config } from '../config.js';
import { errorCode } from '../files/atomic-file.js';
import { readIdentityFile } from '../identity/identity-file.js';

/** Keys and certificates: there, closed to others, belonging together and good for a while. */
export async function checkIdentity({ stateDirectory, api, identity, tenants }: Config): Promise<readonly Finding[]> {
  const at = (...parts: string[]): string => join(stateDirectory, ...parts);
  const secrets = [at('identity', 'issuer.jwk'), at('admin-token'), at('pki', 'ca.key'), at('pg', 'password')];
  const pair = { certificate: at('pki', 'ca.pem'), key: at('pki', 'ca.key') };
  return [
    await checkSecrets(secrets),
    ...(identity.file === undefined ? [] : [await checkIdentityFile(identity.file, tenants)]),
    ...(await checkPair(
      'identity/authority',
      'the CA that every agent trusts',
      pair,
      'restore pki from the backup: another CA means every host is enrolled anew',
    )),
    ...(api.tls === undefined
      ? []
      : await checkPair(
          'identity/api-certificate',
          'the certificate of the API',
          api.tls,
          'renew it, put it where api.tls says, and restart the server',
        )),
  ];
}

/** A server that runs goes on with what the file said before, and says so in its log only. */
async function checkIdentityFile(path: string, tenants: readonly string[]): Promise<Finding> {
  try {
    const { issuers = [], subjects } = await readIdentityFile(path, tenants);
    const known = subjects === undefined ? 'any subject' : `${subjects.length} subjects`;
    return found('identity/file', 'pass', `${path} names ${issuers.length} issuers and ${known}`);
  } catch (error) {
    return found(
      'identity/file',
      'fail',
      toProblem(error).message,
      'mend it: a server that runs takes it within a second and until then goes on with what it said before; none starts with it as it is',
    );
  }
}

async function checkSecrets(paths: readonly string[]): Promise<Finding> {
  const open: string[] = [];
  let seen = 0;
  for (const path of paths) {
    const mode = await stat(path).then(
      (found) => found.mode,
      (error: unknown) => {
        if (errorCode(error) === 'ENOENT') return undefined;
        throw error;
      },
    );
    if (mode === undefined) continue;
    seen += 1;
    if ((mode & 0o077) !== 0) open.push(path);
  }
  if (open.length > 0)
    return found(
      'identity/secrets',
      'fail',
      `others may read ${open.join(', ')}`,
      `chmod 600 ${open.join(' ')}, and make new ones if others were here`,
    );
  return found('identity/secrets', 'pass', seen === 0 ? 'none was made yet' : `${seen} files are closed to others`);
}

async function checkPair(
  check: string,
  what: string,
  files: { readonly certificate: string; readonly key: string },
  mend: string,
): Promise<readonly Finding[]> {
  const read = async (path: string): Promise<string | undefined> =>
    await readFile(path, 'utf8').catch((error: unknown) => {
      if (errorCode(error) === 'ENOENT') return undefined;
      throw error;
    });
  const [certificate, key] = [await read(files.certificate), await read(files.key)];
  if (certificate === undefined && key === undefined && check === 'identity/authority') return [found(check, 'pass', 'none was made yet')];
  if (certificate === undefined || key === undefined)
    return [found(check, 'fail', `${certificate === undefined ? files.certificate : files.key} is missing`, mend)];
  let parsed: X509Certificate;
  try {
    parsed = new X509Certificate(certificate);
    if (!parsed.checkPrivateKey(createPrivateKey(key)))
      return [found(check, 'fail', `${files.certificate} and ${files.key} do not belong together`, mend)];
  } catch (error) {
    return [found(check, 'fail', `${files.certificate} and ${files.key} cannot be used: ${(error as Error).message}`, mend)];
  }
  const life = { from: Date.parse(parsed.validFrom), until: Date.parse(parsed.validTo), now: Date.now(), renews: false };
  return [lifetimeFinding(check, what, life, mend)];
}
