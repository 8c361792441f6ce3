import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createRecordedLog } from '@virt8ra/engine/testing';
import { trustWith } from '@virt8ra/outbound';
import { type ConnectProxy, createReceiverAuthority, startConnectProxy } from '@virt8ra/outbound/testing';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createOidcIssuer } from '../identity/oidc-issuer.js';
import { createEgress } from './egress.js';
import { createOutbound, readBody } from './outbound.js';

const directory = await mkdtemp(join(tmpdir(), 'server-outbound-'));
const authority = await createReceiverAuthority();
const keys = await generateKeyPair('ES256');
const jwk = { ...(await exportJWK(keys.publicKey)), kid: 'k1', alg: 'ES256' };
const server = createServer(await authority.issue(['far.test', 'issuer.test'], ['127.0.0.1']), (asked, response) => {
  const issuer = `https://issuer.test:${port}`;
  if (asked.url === '/.well-known/openid-configuration') response.end(JSON.stringify({ issuer, jwks_uri: `${issuer}/keys` }));
  else if (asked.url === '/keys') response.end(JSON.stringify({ keys: [jwk] }));
  else if (asked.url === '/endless') response.end('x'.repeat(10_000));
  else if (asked.url === '/mute') response.flushHeaders();
  else response.end(`${asked.headers.host}`);
});
let port: number;
let proxy: ConnectProxy;
let ca: readonly string[] | undefined;

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ({ port } = server.address() as AddressInfo);
  const caFile = join(directory, 'ca.pem');
  await writeFile(caFile, authority.certificate);
  ca = await trustWith(caFile);
  // Knows the names, and lets to every address that it is given; 198.51.100.9 stands for one that is far away.
  proxy = await startConnectProxy({ lead: () => '127.0.0.1' });
});
afterAll(async () => {
  await proxy.close();
  server.closeAllConnections();
  server.close();
  await rm(directory, { recursive: true });
});

const text = async (asked: ReturnType<ReturnType<typeof createOutbound>['send']>): Promise<string> =>
  (await readBody(await asked, 1000)).toString('utf8');

describe('a stranger’s URL', () => {
  it('is connected to at the address that was checked, however its name resolves a moment later', async () => {
    const answers = ['127.0.0.1', '169.254.169.254', '127.0.0.1'];
    let asked = 0;
    const egress = createEgress({
      allowPrivate: false,
      allow: ['127.0.0.1'],
      resolve: async () => [{ address: answers[asked++] ?? '', family: 4 }],
    });
    const outbound = createOutbound({ proxies: {}, ca });
    const url = new URL(`https://far.test:${port}/`);
    expect(await text(outbound.send(url, { egress }))).toBe(`far.test:${port}`);
    expect(asked).toBe(1);
    await expect(outbound.send(url, { egress })).rejects.toMatchObject({
      kind: 'validation',
      message: expect.stringContaining('169.254.169.254'),
    });
    const line = outbound.open(url, egress);
    for (const _ of [1, 2, 3]) expect(await text(outbound.send(url, { egress, line }))).toBe(`far.test:${port}`);
    line.end();
    expect(asked).toBe(3);
  });

  it('goes through the proxy by the address that was checked, and by its name only where the operator wants that', async () => {
    const proxies = { secure: proxy.url };
    const resolve = async (name: string) => [{ address: name === 'inside.test' ? '10.1.2.3' : '93.184.216.34', family: 4 }];
    const egress = createEgress({ allowPrivate: false, allow: [], resolve });
    const outbound = createOutbound({ proxies, ca });
    expect(await text(outbound.send(new URL(`https://far.test:${port}/`), { egress }))).toBe(`far.test:${port}`);
    expect(proxy.asked.at(-1)).toBe(`93.184.216.34:${port}`);
    const before = proxy.asked.length;
    for (const host of ['inside.test', '10.1.2.3', '[::ffff:169.254.169.254]'])
      await expect(outbound.send(new URL(`https://${host}:${port}/`), { egress })).rejects.toMatchObject({ kind: 'validation' });
    expect(proxy.asked).toHaveLength(before);
    await text(createOutbound({ proxies, ca, proxyResolves: true }).send(new URL(`https://far.test:${port}/`), { egress }));
    expect(proxy.asked.at(-1)).toBe(`far.test:${port}`);
  });

  it('is bounded in bytes, silence and time', async () => {
    const outbound = createOutbound({ proxies: {}, ca });
    const at = (path: string): URL => new URL(`https://127.0.0.1:${port}${path}`);
    await expect(text(outbound.send(at('/endless')))).rejects.toMatchObject({ kind: 'too-large' });
    await expect(text(outbound.send(at('/mute'), { silenceMs: 50 }))).rejects.toMatchObject({ kind: 'unavailable' });
    await expect(text(outbound.send(at('/mute'), { signal: AbortSignal.timeout(50) }))).rejects.toThrow();
    await expect(createOutbound({ proxies: {} }).send(at('/'))).rejects.toMatchObject({ message: expect.stringContaining('certificate') });
  });
});

describe('an issuer of tokens', () => {
  it('is asked for its keys through the proxy, under a CA of its own', async () => {
    const issuer = `https://issuer.test:${port}`;
    const outbound = createOutbound({ proxies: { secure: proxy.url }, ca });
    const options = { name: 'corp', issuer, audience: 'virt8ra', tenants: ['acme'] };
    const token = await new SignJWT({ sub: 'ada' })
      .setProtectedHeader({ alg: 'ES256', kid: 'k1' })
      .setIssuer(issuer)
      .setAudience('virt8ra')
      .setExpirationTime('1h')
      .sign(keys.privateKey);
    expect(await createOidcIssuer(options, { outbound, log: createRecordedLog() }).verify(token)).toMatchObject({ name: 'corp:ada' });
    expect(proxy.asked.at(-1)).toBe(`issuer.test:${port}`);
    const untrusting = createOutbound({ proxies: { secure: proxy.url } });
    await expect(createOidcIssuer(options, { outbound: untrusting, log: createRecordedLog() }).verify(token)).rejects.toMatchObject({
      kind: 'unavailable',
    });
  });
});
