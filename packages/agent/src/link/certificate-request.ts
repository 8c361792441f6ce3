import { createPrivateKey } from 'node:crypto';

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/**
 * A PKCS #10 request, PEM, for the key given as PKCS #8 PEM. The control plane takes only the public key from it and decides the names
 * itself. The library is loaded on use: it is needed once in weeks and weighs more than the rest of the agent.
 */
export async function certificateRequest(privateKey: string, commonName: string): Promise<string> {
  await import('reflect-metadata');
  const x509 = await import('@peculiar/x509');
  const { subtle } = globalThis.crypto;
  const key = createPrivateKey(privateKey);
  const pkcs8 = key.export({ type: 'pkcs8', format: 'der' });
  const jwk = key.export({ format: 'jwk' });
  const keys = {
    privateKey: await subtle.importKey('pkcs8', pkcs8, algorithm, true, ['sign']),
    publicKey: await subtle.importKey('jwk', { kty: 'EC', crv: 'P-256', x: jwk.x ?? '', y: jwk.y ?? '' }, algorithm, true, ['verify']),
  };
  const request = await x509.Pkcs10CertificateRequestGenerator.create({ name: [{ CN: [commonName] }], keys, signingAlgorithm: algorithm });
  return request.toString('pem');
}
