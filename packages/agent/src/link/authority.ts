import { isIP } from 'node:net';
import { connect, type DetailedPeerCertificate } from 'node:tls';
import { Problem } from '@virt8ra/contract';
import { bareHost, openTunnel, type Proxies, proxyFor } from '@virt8ra/outbound';

/**
 * The control plane's CA certificate, PEM, taken from the chain that the server shows and trusted only because its SHA-256 is the one the
 * operator was given. Raises Problem unauthorized when no certificate of the chain has it, unavailable when nobody answers.
 */
export async function fetchAuthority(server: URL, caSha256: string, proxies: Proxies = {}): Promise<string> {
  const host = bareHost(server);
  const port = server.port === '' ? 443 : Number(server.port);
  const proxy = proxyFor(server, proxies);
  const tunnel = proxy === undefined ? {} : { socket: await openTunnel(proxy, { host, port }) };
  return await new Promise<string>((resolve, reject) => {
    // Nothing is sent over this connection: it is there to see the chain.
    const socket = connect({ host, port, ...tunnel, rejectUnauthorized: false, ...(isIP(host) === 0 ? { servername: host } : {}) }, () => {
      const shown: string[] = [];
      for (
        let entry: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true);
        entry?.fingerprint256 !== undefined;
        entry = entry.issuerCertificate
      ) {
        const fingerprint = entry.fingerprint256.replaceAll(':', '').toLowerCase();
        if (shown.includes(fingerprint)) break;
        shown.push(fingerprint);
        if (fingerprint === caSha256) {
          socket.destroy();
          return resolve(pem(entry.raw));
        }
      }
      socket.destroy();
      reject(
        new Problem(
          'unauthorized',
          `${server.origin} is not the control plane you enrol with: its chain has no certificate with SHA-256 ${caSha256}. ` +
            'Compare --server and --ca-sha256 with what `virt8ra enrol` printed.',
        ),
      );
    });
    socket.setTimeout(15_000, () => socket.destroy(new Error('no answer within 15 s')));
    socket.once('error', (error) => {
      reject(
        new Problem(
          'unavailable',
          `${server.origin} cannot be reached: ${error.message}. Is the server running, and is its agents’ port open?`,
          { cause: error },
        ),
      );
    });
  });
}

function pem(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}
