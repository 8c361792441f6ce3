import 'reflect-metadata';
import { createHash, createPrivateKey, sign, verify, webcrypto, X509Certificate } from 'node:crypto';
import { request } from 'node:https';
import * as x509 from '@peculiar/x509';
import { agentDnsName, type EnrolAnswer, Problem, problemFromDocument, type Surrender, surrenderText } from '@virt8ra/contract';

/** Who a simulated host is: a real key and a real certificate. PEM. */
export interface SimulatedIdentity {
  readonly host: string;
  readonly site: string;
  readonly name: string;
  readonly privateKey: string;
  readonly certificate: string;
  readonly ca: string;
}

export interface SimulatedKey {
  readonly privateKey: string;
  /** PKCS #10, PEM. */
  readonly csr: string;
}

const ecdsa = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

export async function createKey(
  commonName = 'simulated',
  algorithm: { name: string; namedCurve: string; hash: string } = ecdsa,
): Promise<SimulatedKey> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const csr = await x509.Pkcs10CertificateRequestGenerator.create({ name: [{ CN: [commonName] }], keys, signingAlgorithm: algorithm });
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  const privateKey = createPrivateKey({ key: der, type: 'pkcs8', format: 'der' }).export({ type: 'pkcs8', format: 'pem' }).toString();
  return { privateKey, csr: csr.toString('pem') };
}

export interface AgentRequest {
  readonly method: 'GET' | 'POST' | 'HEAD' | 'PATCH';
  readonly path: string;
  readonly body?: unknown;
  readonly identity?: Pick<SimulatedIdentity, 'certificate' | 'privateKey'>;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface AgentResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
  /** SHA-256 of the chain's last certificate, hex. */
  readonly caSha256: string;
}

/** One HTTPS request to the agents' listener, which is not judged: tests look at what it showed. */
export async function askListener(url: string, { method, path, body, identity, headers }: AgentRequest): Promise<AgentResponse> {
  return await new Promise((resolve, reject) => {
    const outgoing = request(new URL(path, url), {
      method,
      agent: false,
      rejectUnauthorized: false,
      ...(identity === undefined ? {} : { cert: identity.certificate, key: identity.privateKey }),
      headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    });
    let caSha256 = '';
    outgoing.once('socket', (socket) => {
      socket.once('secureConnect', () => {
        if (!('getPeerCertificate' in socket)) return;
        const { issuerCertificate } = (socket as import('node:tls').TLSSocket).getPeerCertificate(true);
        caSha256 = createHash('sha256').update(issuerCertificate.raw).digest('hex');
      });
    });
    outgoing.once('error', reject);
    outgoing.once('upgrade', (response, socket) => {
      socket.destroy();
      resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.alloc(0), caSha256 });
    });
    outgoing.once('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('error', reject);
      response.once('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks), caSha256 }),
      );
    });
    outgoing.end(body === undefined || typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body));
  });
}

/** Raises the server's own Problem. */
export async function enrolHost(
  url: string,
  enrolment: { readonly token: string; readonly caSha256: string },
  key: SimulatedKey,
): Promise<SimulatedIdentity> {
  const response = await askListener(url, {
    method: 'POST',
    path: '/agent/v1/enrol',
    body: { token: enrolment.token, csr: key.csr, agentVersion: 'simulated' },
  });
  if (response.caSha256 !== enrolment.caSha256) throw new Problem('unauthorized', 'the listener shows another CA');
  return identityFromAnswer(response, key);
}

export async function renewHost(url: string, identity: SimulatedIdentity): Promise<SimulatedIdentity> {
  const key = await createKey(identity.host);
  const response = await askListener(url, { method: 'POST', path: '/agent/v1/renew', body: { csr: key.csr }, identity });
  return identityFromAnswer(response, key);
}

function identityFromAnswer(response: AgentResponse, key: SimulatedKey): SimulatedIdentity {
  const body = JSON.parse(response.body.toString('utf8')) as EnrolAnswer;
  if (response.status !== 200) throw problemFromDocument(body, response.status);
  const { certificate, ca, host, site, name } = body;
  return { host, site, name, certificate, ca, privateKey: key.privateKey };
}

/** Signs as a real agent does. */
export function signAsHost(identity: SimulatedIdentity, promise: Omit<Surrender, 'signature' | 'certificate' | 'host'>): Surrender {
  const whole = { ...promise, host: identity.host };
  const signature = sign('sha256', Buffer.from(surrenderText(whole)), createPrivateKey(identity.privateKey)).toString('base64');
  return { ...whole, signature, certificate: identity.certificate };
}

/** Whether the evidence ends `epoch` of `instance`, checked as a real agent does. */
export function evidenceHolds(evidence: Surrender | undefined, instance: string, epoch: number, ca: string): boolean {
  if (evidence === undefined || evidence.instance !== instance || evidence.epoch !== epoch) return false;
  const certificate = new X509Certificate(evidence.certificate);
  const authority = new X509Certificate(ca);
  return (
    certificate.verify(authority.publicKey) &&
    certificate.checkHost(agentDnsName(evidence.host)) !== undefined &&
    verify('sha256', Buffer.from(surrenderText(evidence)), certificate.publicKey, Buffer.from(evidence.signature, 'base64'))
  );
}
