import { createPrivateKey, createPublicKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { agentDnsName, Problem } from '@virt8ra/contract';
import type { Proxies } from '@virt8ra/outbound';
import type { AgentConfig } from '../config.js';
import { makeDirectory, readJson, readText, writeFileAtomic, writeJsonAtomic } from '../disk/atomic-file.js';

/** Who this host is to its control plane. Everything PEM. */
export interface Identity {
  readonly server: string;
  readonly host: string;
  readonly site: string;
  /** DNS name in the certificate, by which peers know this host. */
  readonly name: string;
  readonly certificate: string;
  readonly ca: string;
  readonly privateKey: string;
  /** The proxy that was named at the enrolment. */
  readonly enrolledThrough?: Proxies;
  /** The way to the control plane of this start; never kept. */
  readonly proxies?: Proxies;
}

export interface IdentityStore {
  /** Undefined before enrolment. Raises Problem internal when key and certificate do not belong together. */
  load(): Promise<Identity | undefined>;
  /** The host's private key, made here at first use; it never leaves the host. */
  privateKey(): Promise<string>;
  /** Checks and keeps what the control plane issued. Raises Problem invalid-request when it is not for this key, CA and host. */
  save(identity: Omit<Identity, 'privateKey'>): Promise<Identity>;
}

/** `identity/{key.pem,identity.json}` in the state directory. */
export function openIdentityStore(stateDirectory: string): IdentityStore {
  const directory = join(stateDirectory, 'identity');
  const keyFile = join(directory, 'key.pem');
  const identityFile = join(directory, 'identity.json');
  const privateKey = async () => {
    await makeDirectory(directory);
    const existing = await readText(keyFile);
    if (existing !== undefined) return existing;
    const made = generateKeyPairSync('ec', {
      namedCurve: 'P-256',
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
      publicKeyEncoding: { type: 'spki', format: 'pem' },
    }).privateKey;
    await writeFileAtomic(keyFile, made, 0o600);
    return made;
  };
  return {
    privateKey,
    load: async () => {
      const saved = (await readJson(identityFile)) as Omit<Identity, 'privateKey'> | undefined;
      if (saved === undefined) return undefined;
      const identity = { ...saved, privateKey: await privateKey() };
      const fault = identityFault(identity);
      if (fault !== undefined) throw new Problem('internal', `${directory} is damaged: ${fault}. Enrol this host anew.`);
      return identity;
    },
    save: async (issued) => {
      const identity = { ...issued, privateKey: await privateKey() };
      const fault = identityFault(identity);
      if (fault !== undefined) throw new Problem('invalid-request', `the control plane’s answer is not usable: ${fault}`);
      const { proxies: _, ...kept } = issued;
      await writeJsonAtomic(identityFile, kept);
      return identity;
    },
  };
}

function identityFault(identity: Identity): string | undefined {
  const certificate = new X509Certificate(identity.certificate);
  const ca = new X509Certificate(identity.ca);
  if (!certificate.checkIssued(ca) || !certificate.verify(ca.publicKey)) return 'the certificate is not of the control plane’s CA';
  const own = createPublicKey(createPrivateKey(identity.privateKey)).export({ type: 'spki', format: 'der' });
  if (!certificate.publicKey.export({ type: 'spki', format: 'der' }).equals(own)) return 'the certificate is for another key';
  if (identity.name !== agentDnsName(identity.host) || certificate.checkHost(identity.name) === undefined)
    return `the certificate does not name ${agentDnsName(identity.host)}`;
  return undefined;
}

/** The identity with the way to its control plane: as this start says, else as the enrolment did, else as all programs of the host go. */
export function withWay(identity: Identity, { chosen, ways }: AgentConfig['proxies']): Identity {
  return { ...identity, proxies: chosen ? ways : (identity.enrolledThrough ?? ways) };
}
