import 'reflect-metadata';
import { createHash, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { agentDnsName } from '@virt8ra/contract';

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

export interface IssuedKey {
  readonly certificate: string;
  readonly privateKey: string;
}

/** A certificate authority for tests. */
export interface TestAuthority {
  readonly certificate: string;
  readonly sha256: string;
  issueHost(csr: string, host: string, life?: { readonly from: Date; readonly to: Date }): Promise<string>;
  issueServer(options?: { readonly life?: { readonly from: Date; readonly to: Date }; readonly address?: string }): Promise<IssuedKey>;
  /** Key and certificate of a host, as enrolment would have made them. */
  hostKey(host: string): Promise<IssuedKey>;
}

export async function createTestAuthority(name = 'test CA'): Promise<TestAuthority> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const notBefore = new Date(Date.now() - 60_000);
  const notAfter = new Date(Date.now() + 24 * 60 * 60_000);
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    name: [{ CN: [name] }],
    keys,
    notBefore,
    notAfter,
    signingAlgorithm: algorithm,
    extensions: [new x509.BasicConstraintsExtension(true, 0, true), new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true)],
  });
  const issue = async (
    publicKey: x509.PublicKeyType,
    names: x509.JsonGeneralNames,
    commonName: string,
    life = { from: notBefore, to: notAfter },
  ) =>
    await x509.X509CertificateGenerator.create({
      subject: [{ CN: [commonName] }],
      issuer: ca.subjectName,
      publicKey,
      signingKey: keys.privateKey,
      signingAlgorithm: algorithm,
      notBefore: life.from,
      notAfter: life.to,
      extensions: [new x509.BasicConstraintsExtension(false, undefined, true), new x509.SubjectAlternativeNameExtension(names)],
    });
  const fresh = async (names: x509.JsonGeneralNames, commonName: string, life?: { from: Date; to: Date }): Promise<IssuedKey> => {
    const pair = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', pair.privateKey)).toString('base64');
    return {
      certificate: (await issue(pair.publicKey, names, commonName, life)).toString('pem'),
      privateKey: `-----BEGIN PRIVATE KEY-----\n${pkcs8}\n-----END PRIVATE KEY-----\n`,
    };
  };
  return {
    certificate: ca.toString('pem'),
    sha256: createHash('sha256').update(Buffer.from(ca.rawData)).digest('hex'),
    issueHost: async (csr, host, life) => {
      const request = new x509.Pkcs10CertificateRequest(csr);
      if (!(await request.verify())) throw new Error('the request is not signed by its key');
      return (await issue(request.publicKey, [{ type: 'dns', value: agentDnsName(host) }], host, life)).toString('pem');
    },
    issueServer: async ({ life, address = '127.0.0.1' } = {}) =>
      await fresh(
        [
          { type: 'ip', value: address },
          { type: 'dns', value: 'localhost' },
          { type: 'dns', value: 'plane.test' },
        ],
        'test control plane',
        life,
      ),
    hostKey: async (host) => await fresh([{ type: 'dns', value: agentDnsName(host) }], host),
  };
}
