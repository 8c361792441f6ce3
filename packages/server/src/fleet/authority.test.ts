import { X509Certificate } from 'node:crypto';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openAuthority } from './authority.js';
import { createKey } from './testing/simulated-identity.js';

describe('the CA', () => {
  let directory: string;
  beforeEach(async () => {
    directory = join(await mkdtemp(join(tmpdir(), 'virt8ra-ca-')), 'pki');
  });
  afterEach(async () => await rm(join(directory, '..'), { recursive: true, force: true }));

  it('is made once, keeps its key to itself and is the same when opened again', async () => {
    const first = await openAuthority(directory);
    expect((await stat(join(directory, 'ca.key'))).mode & 0o777).toBe(0o600);
    expect((await stat(directory)).mode & 0o777).toBe(0o700);
    expect((await openAuthority(directory)).certificate).toBe(first.certificate);
    const certificate = new X509Certificate(first.certificate);
    expect(certificate.ca).toBe(true);
    expect(first.sha256).toBe(certificate.fingerprint256.replaceAll(':', '').toLowerCase());
  });

  it('is one also when several servers make it at the same time', async () => {
    const opened = await Promise.all(Array.from({ length: 8 }, async () => await openAuthority(directory)));
    expect(new Set(opened.map(({ sha256 }) => sha256)).size).toBe(1);
    const key = await createKey();
    for (const authority of opened) {
      const issued = await authority.issueAgent(key.csr, 'alpha');
      expect(opened[0]?.signed(new X509Certificate(issued.certificate))).toBe(true);
    }
  });

  it('is completed when a crash left the key without its certificate', async () => {
    await openAuthority(directory);
    await rm(join(directory, 'ca.pem'));
    const again = await openAuthority(directory);
    const issued = await again.issueAgent((await createKey()).csr, 'alpha');
    expect(again.signed(new X509Certificate(issued.certificate))).toBe(true);
  });

  it('refuses key and certificate that do not belong together', async () => {
    const other = join(directory, '..', 'other');
    const foreign = await openAuthority(other);
    await openAuthority(directory);
    await writeFile(join(directory, 'ca.pem'), foreign.certificate);
    await expect(openAuthority(directory)).rejects.toMatchObject({ kind: 'internal', message: expect.stringContaining('backup') });
    await writeFile(join(directory, 'ca.key'), 'no key');
    await expect(openAuthority(directory)).rejects.toMatchObject({ kind: 'internal' });
  });

  it('issues what names the host, and nothing that the request names', async () => {
    const authority = await openAuthority(directory);
    const issued = await authority.issueAgent((await createKey('somebody-else')).csr, 'alpha');
    const certificate = new X509Certificate(issued.certificate);
    expect(certificate.subject).toBe('CN=alpha');
    expect(certificate.subjectAltName).toBe('DNS:alpha.agents.virt8ra.internal');
    expect(certificate.ca).toBe(false);
    // Client and server: agents meet each other as both.
    expect([...certificate.keyUsage].sort()).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
    expect(issued.fingerprint).toBe(certificate.fingerprint256.replaceAll(':', '').toLowerCase());
    const days = (Date.parse(certificate.validTo) - Date.now()) / 86_400_000;
    expect(days).toBeGreaterThan(89);
    expect(days).toBeLessThan(91);
  });

  it.each([
    { title: 'no request', csr: async () => 'hello' },
    {
      title: 'a request for another curve',
      csr: async () => (await createKey('x', { name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' })).csr,
    },
    { title: 'a request signed by another key', csr: async () => await forgedRequest() },
  ])('refuses $title', async ({ csr }) => {
    const authority = await openAuthority(directory);
    await expect(authority.issueAgent(await csr(), 'alpha')).rejects.toMatchObject({ kind: 'validation', sources: [{ pointer: '/csr' }] });
  });

  it('does not take certificates of another CA for its own', async () => {
    const authority = await openAuthority(directory);
    const other = await openAuthority(join(directory, '..', 'other'));
    const issued = await other.issueAgent((await createKey()).csr, 'alpha');
    expect(authority.signed(new X509Certificate(issued.certificate))).toBe(false);
  });

  it('gives the listener a certificate for names and addresses', async () => {
    const authority = await openAuthority(directory);
    const issued = await authority.issueServer(['control.example', '192.0.2.7', '::1']);
    const certificate = new X509Certificate(issued.certificate);
    expect(certificate.checkHost('control.example')).toBeDefined();
    expect(certificate.checkIP('192.0.2.7')).toBeDefined();
    expect(certificate.checkIP('::1')).toBeDefined();
    expect(issued.renewAt.getTime()).toBeLessThan(Date.parse(certificate.validTo));
  });
});

/** A request whose signature is spoiled in its last byte. */
async function forgedRequest(): Promise<string> {
  const { csr } = await createKey();
  const der = Buffer.from(csr.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64');
  der[der.length - 1] = (der.at(-1) ?? 0) ^ 1;
  return `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
}
