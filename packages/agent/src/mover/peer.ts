import { X509Certificate } from 'node:crypto';
import type { SecureContextOptions, TLSSocket } from 'node:tls';
import { Problem } from '@virt8ra/contract/plain';

/** PEM key, certificate and CA of this host. */
export interface MoverTls {
  readonly certificate: string;
  readonly privateKey: string;
  readonly ca: string;
}

/** Options of both ends: TLS 1.3, the control plane's CA alone, no resumption, so that every connection shows its certificate. */
export function tlsOptions(tls: MoverTls): SecureContextOptions & { readonly rejectUnauthorized: true } {
  return {
    key: tls.privateKey,
    cert: tls.certificate,
    ca: tls.ca,
    minVersion: 'TLSv1.3',
    // The hosts that move disks have AES in hardware; 128 bits cost less than 256 there.
    ciphers: 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256',
    rejectUnauthorized: true,
  };
}

/**
 * Checks that the peer is the one expected: its certificate's DNS names hold exactly `name`. A certificate of the same CA for anyone else is
 * Problem forbidden.
 */
export function checkPeer(socket: TLSSocket, name: string): void {
  const raw = socket.getPeerCertificate().raw as Buffer | undefined;
  const certificate = raw === undefined ? undefined : new X509Certificate(raw);
  if (certificate?.checkHost(name, { subject: 'never', wildcards: false }) !== undefined) return;
  throw new Problem('forbidden', `the peer is not ${name}: its certificate is for ${certificate?.subjectAltName ?? 'nobody'}`);
}

/** The Problem for a connection that did not come about or broke. */
export function problemFromConnection(error: NodeJS.ErrnoException, where: string): Problem {
  const code = error.code ?? '';
  if (/^ERR_SSL.*(RECORD|DECRYPT|DECODE|LENGTH|WRONG_VERSION|UNEXPECTED)/.test(code))
    return new Problem('unavailable', `what came from ${where} was damaged on the way: ${error.message}`, { cause: error });
  if (code.startsWith('ERR_SSL') || code.startsWith('ERR_TLS') || /CERT|SELF_SIGNED|UNABLE_TO_/.test(code))
    return new Problem('forbidden', `${where} and this host do not accept each other’s certificates: ${error.message}`, { cause: error });
  return new Problem('unavailable', `the connection with ${where} failed: ${error.message}`, { cause: error });
}
