import 'reflect-metadata';
import { createHash, createPrivateKey, randomBytes, webcrypto, X509Certificate } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';
import { agentDnsName, Problem } from '@virt8ra/contract';
import { readOrCreate } from './pki-file.js';

/** The control plane's CA: who belongs to the fleet. */
export interface Authority {
  /** CA certificate, PEM. */
  readonly certificate: string;
  /** SHA-256 of the CA certificate (DER), hex. */
  readonly sha256: string;
  /**
   * A certificate for the public key of a request (PKCS #10, PEM); every name in it is ours, none the requester's. Raises `validation` when
   * the request is damaged, not self-signed or not for ECDSA P-256.
   */
  issueAgent(csr: string, host: string): Promise<IssuedCertificate>;
  /** A fresh key and certificate for the agents' listener. */
  issueServer(names: readonly string[]): Promise<{ readonly certificate: string; readonly privateKey: string; readonly renewAt: Date }>;
  /** Whether this CA signed it; says nothing of expiry and revocation. */
  signed(certificate: X509Certificate): boolean;
}

export interface IssuedCertificate {
  /** PEM. */
  readonly certificate: string;
  /** SHA-256 of the certificate (DER), hex. */
  readonly fingerprint: string;
  /** SHA-256 of the public key (SPKI, DER). */
  readonly publicKey: Buffer;
  readonly expiresAt: Date;
}

const ecdsa = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const signing = { name: 'ECDSA', hash: 'SHA-256' } as const;
const dayMs = 86_400_000;
const lifeMs = 90 * dayMs;
/** Certificates begin a little earlier, for clocks that are behind. */
const skewMs = 5 * 60_000;

/** Opens the CA in `directory` (`ca.key`, 0600, and `ca.pem`), made at the first start. Raises `internal` when the two do not belong together. */
export async function openAuthority(directory: string): Promise<Authority> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const privatePem = await readOrCreate(
    join(directory, 'ca.key'),
    0o600,
    async () => await privateKeyToPem((await generateKeys()).privateKey),
  );
  const keys = await keysFromPem(privatePem, directory);
  const certificate = await readOrCreate(join(directory, 'ca.pem'), 0o644, () => selfSign(keys));
  const parsed = new X509Certificate(certificate);
  if (!parsed.checkPrivateKey(createPrivateKey(privatePem))) {
    throw new Problem('internal', `ca.key and ca.pem in ${directory} do not belong together; restore both from one backup`);
  }
  const issuer = new x509.X509Certificate(certificate);
  const extensions = async (publicKey: x509.PublicKeyType, usages: string[], names: x509.JsonGeneralNames): Promise<x509.Extension[]> => [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    new x509.ExtendedKeyUsageExtension(usages),
    new x509.SubjectAlternativeNameExtension(names),
    await x509.SubjectKeyIdentifierExtension.create(publicKey),
    await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
  ];
  const issue = async (subject: string, publicKey: x509.PublicKeyType, usages: string[], names: x509.JsonGeneralNames, now: number) =>
    await x509.X509CertificateGenerator.create({
      serialNumber: serialNumber(),
      subject: [{ CN: [subject] }],
      issuer: issuer.subjectName,
      notBefore: new Date(now - skewMs),
      notAfter: new Date(now + lifeMs),
      signingKey: keys.privateKey,
      signingAlgorithm: signing,
      publicKey,
      extensions: await extensions(publicKey, usages, names),
    });
  const { serverAuth, clientAuth } = x509.ExtendedKeyUsage;
  return {
    certificate,
    sha256: createHash('sha256').update(parsed.raw).digest('hex'),
    async issueAgent(csr, host) {
      const publicKey = await publicKeyOfRequest(csr);
      // Both usages: among each other agents are server and client.
      const names: x509.JsonGeneralNames = [{ type: 'dns', value: agentDnsName(host) }];
      const issued = await issue(host, publicKey, [clientAuth, serverAuth], names, Date.now());
      return {
        certificate: pemLine(issued.toString('pem')),
        fingerprint: createHash('sha256').update(new Uint8Array(issued.rawData)).digest('hex'),
        publicKey: createHash('sha256').update(new Uint8Array(publicKey.rawData)).digest(),
        expiresAt: issued.notAfter,
      };
    },
    async issueServer(names) {
      const now = Date.now();
      const own = await generateKeys();
      const alternatives: x509.JsonGeneralNames = names.map((name) => ({ type: isIP(name) === 0 ? 'dns' : 'ip', value: name }));
      const issued = await issue(
        names[0] ?? 'virt8ra',
        new x509.PublicKey(await webcrypto.subtle.exportKey('spki', own.publicKey)),
        [serverAuth],
        alternatives,
        now,
      );
      return {
        certificate: pemLine(issued.toString('pem')),
        privateKey: await privateKeyToPem(own.privateKey),
        renewAt: new Date(now + lifeMs / 2),
      };
    },
    signed: (candidate) => candidate.checkIssued(parsed) && candidate.verify(parsed.publicKey),
  };
}

async function selfSign(keys: webcrypto.CryptoKeyPair): Promise<string> {
  const now = Date.now();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: [{ CN: [`Virt8ra CA ${randomBytes(4).toString('hex')}`] }],
    notBefore: new Date(now - skewMs),
    notAfter: new Date(now + 20 * 365 * dayMs),
    signingAlgorithm: signing,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return pemLine(certificate.toString('pem'));
}

async function publicKeyOfRequest(csr: string): Promise<x509.PublicKey> {
  const refuse = (why: string, cause?: unknown): Problem =>
    new Problem('validation', `the certificate request ${why}`, { sources: [{ pointer: '/csr' }], cause });
  let request: x509.Pkcs10CertificateRequest;
  let whole: boolean;
  try {
    request = new x509.Pkcs10CertificateRequest(csr);
    whole = await request.verify();
  } catch (cause) {
    throw refuse('cannot be read', cause);
  }
  const { name, namedCurve } = request.publicKey.algorithm as Partial<EcKeyAlgorithm>;
  if (name !== ecdsa.name || namedCurve !== ecdsa.namedCurve) throw refuse('is not for an ECDSA P-256 key');
  if (!whole) throw refuse('is not signed by its own key');
  return request.publicKey;
}

interface EcKeyAlgorithm {
  readonly name: string;
  readonly namedCurve: string;
}

async function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return await webcrypto.subtle.generateKey(ecdsa, true, ['sign', 'verify']);
}

async function keysFromPem(pem: string, directory: string): Promise<webcrypto.CryptoKeyPair> {
  try {
    const key = createPrivateKey(pem);
    const { x = '', y = '' } = key.export({ format: 'jwk' });
    return {
      privateKey: await webcrypto.subtle.importKey('pkcs8', key.export({ type: 'pkcs8', format: 'der' }), ecdsa, true, ['sign']),
      publicKey: await webcrypto.subtle.importKey('jwk', { kty: 'EC', crv: ecdsa.namedCurve, x, y }, ecdsa, true, ['verify']),
    };
  } catch (cause) {
    throw new Problem('internal', `ca.key in ${directory} is no ECDSA P-256 key; restore it from a backup`, { cause });
  }
}

async function privateKeyToPem(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key));
  return createPrivateKey({ key: der, type: 'pkcs8', format: 'der' }).export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** 127 random bits, positive and never zero. */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString('hex');
}

function pemLine(pem: string): string {
  return pem.endsWith('\n') ? pem : `${pem}\n`;
}
