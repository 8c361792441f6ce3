import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/** A CA that nobody trusts by itself, and certificates of it. */
export interface ReceiverAuthority {
  /** PEM. */
  readonly certificate: string;
  /** For these DNS names and addresses. */
  issue(names: readonly string[], addresses?: readonly string[]): Promise<{ readonly cert: string; readonly key: string }>;
}

export async function createReceiverAuthority(name = 'receivers’ CA'): Promise<ReceiverAuthority> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const life = { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 24 * 60 * 60_000) };
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    ...life,
    name: [{ CN: [name] }],
    keys,
    signingAlgorithm: algorithm,
    extensions: [new x509.BasicConstraintsExtension(true, 0, true), new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true)],
  });
  return {
    certificate: ca.toString('pem'),
    async issue(names, addresses = []) {
      const pair = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
      const certificate = await x509.X509CertificateGenerator.create({
        ...life,
        subject: [{ CN: [names[0] ?? addresses[0] ?? 'receiver'] }],
        issuer: ca.subjectName,
        publicKey: pair.publicKey,
        signingKey: keys.privateKey,
        signingAlgorithm: algorithm,
        extensions: [
          new x509.BasicConstraintsExtension(false, undefined, true),
          new x509.SubjectAlternativeNameExtension([
            ...names.map((value) => ({ type: 'dns' as const, value })),
            ...addresses.map((value) => ({ type: 'ip' as const, value })),
          ]),
        ],
      });
      const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', pair.privateKey)).toString('base64');
      return { cert: certificate.toString('pem'), key: `-----BEGIN PRIVATE KEY-----\n${pkcs8}\n-----END PRIVATE KEY-----\n` };
    },
  };
}
