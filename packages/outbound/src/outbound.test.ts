import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, request as requestPlain } from 'node:http';
import { createServer as createSecureServer, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { agentThrough, type Proxies, proxiesFrom, proxyFor, trustWith } from './index.js';
import { type ConnectProxy, createReceiverAuthority, startConnectProxy } from './testing/index.js';

const directory = await mkdtemp(join(tmpdir(), 'outbound-'));
const authority = await createReceiverAuthority();
const caFile = join(directory, 'ca.pem');
await writeFile(caFile, `# ours\n${authority.certificate}`);
const secure = createSecureServer(await authority.issue(['receiver.test']), (_asked, response) => response.end('secure'));
const plain = createServer((_asked, response) => response.end('plain'));
let proxy: ConnectProxy;
let ports: { readonly secure: number; readonly plain: number };

beforeAll(async () => {
  for (const server of [secure, plain]) await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ports = { secure: (secure.address() as AddressInfo).port, plain: (plain.address() as AddressInfo).port };
  proxy = await startConnectProxy({ lead: (host) => (host === 'nowhere.test' ? undefined : '127.0.0.1'), user: 'me:p@ss' });
});

afterAll(async () => {
  await proxy.close();
  secure.close();
  plain.close();
  await rm(directory, { recursive: true });
});

const withUser = (): string => proxy.url.replace('http://', 'http://me:p%40ss@');

async function get(url: URL, proxies: Proxies, ca?: readonly string[], timeout?: number): Promise<string> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const asking = (url.protocol === 'https:' ? request : requestPlain)(url, {
      agent: agentThrough(url, proxies) ?? false,
      ...(ca === undefined ? {} : { ca: [...ca] }),
      ...(timeout === undefined ? {} : { timeout }),
    });
    asking.once('response', resolve);
    asking.once('error', reject);
    asking.once('timeout', () => asking.destroy(new Error('too late')));
    asking.end();
  });
  let text = '';
  for await (const piece of response) text += String(piece);
  return text;
}

describe('a request through a proxy', () => {
  it('speaks TLS with the other side itself, under the CA of a file, and plain HTTP as well', async () => {
    const proxies = proxiesFrom({ proxy: withUser() }, {});
    const ca = await trustWith(caFile);
    expect(await get(new URL(`https://receiver.test:${ports.secure}/`), proxies, ca)).toBe('secure');
    expect(await get(new URL(`http://receiver.test:${ports.plain}/`), proxies)).toBe('plain');
    expect(proxy.asked.slice(-2)).toEqual([`receiver.test:${ports.secure}`, `receiver.test:${ports.plain}`]);
    await expect(get(new URL(`https://receiver.test:${ports.secure}/`), proxies)).rejects.toThrow(/certificate/);
    await expect(get(new URL(`https://other.test:${ports.secure}/`), proxies, ca)).rejects.toThrow(/other\.test/);
  });

  it('says what the proxy did not want or could not do, and never its password', async () => {
    const url = new URL(`https://receiver.test:${ports.secure}/`);
    const ask = async (given: string, to = url): Promise<unknown> =>
      await get(to, proxiesFrom({ proxy: given }, {})).catch((error: unknown) => error);
    const wrong = await ask(proxy.url.replace('http://', 'http://me:wrong@'));
    expect(wrong).toMatchObject({ kind: 'unavailable', message: expect.stringContaining('407') });
    expect(String((wrong as Error).message)).not.toContain('wrong');
    expect(await ask(withUser(), new URL('https://nowhere.test/'))).toMatchObject({
      message: expect.stringContaining('nowhere.test:443 (502)'),
    });
    expect(await ask('http://127.0.0.1:1')).toMatchObject({ kind: 'unavailable', message: expect.stringContaining('127.0.0.1:1') });
  });

  it('does not wait for ever for a proxy that says nothing', async () => {
    const mute = createServer();
    mute.on('connect', () => undefined);
    await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
    const proxies = proxiesFrom({ proxy: `127.0.0.1:${(mute.address() as AddressInfo).port}` }, {});
    await expect(get(new URL('https://receiver.test/'), proxies, undefined, 50)).rejects.toMatchObject({
      message: expect.stringContaining('no answer within 0.05 s'),
    });
    mute.closeAllConnections();
    mute.close();
  });
});

describe('which proxy', () => {
  const environment = {
    HTTPS_PROXY: 'http://secure:3128',
    http_proxy: 'plain:8080',
    NO_PROXY: 'internal.test, .corp.test,10.0.0.0/8,[2001:db8::1],odd.test:8443',
  };
  it.each([
    ['https://far.test/', 'secure:3128'],
    ['wss://far.test/', 'secure:3128'],
    ['http://far.test/', 'plain:8080'],
    ['https://internal.test/', undefined],
    ['https://a.internal.test/', undefined],
    ['https://notinternal.test/', 'secure:3128'],
    ['https://x.corp.test/', undefined],
    ['https://10.1.2.3/', undefined],
    ['https://11.1.2.3/', 'secure:3128'],
    ['https://[2001:db8::1]/', undefined],
    ['https://[2001:db8::2]/', 'secure:3128'],
    ['https://odd.test:8443/', undefined],
    ['https://odd.test/', 'secure:3128'],
    ['https://localhost:8480/', undefined],
    ['https://127.0.0.9/', undefined],
    ['https://[::1]/', undefined],
  ])('stands before %s is %s', (url, host) => {
    expect(proxyFor(new URL(url), proxiesFrom({}, environment))?.host).toBe(host);
  });

  it('is what was configured before what the environment says, and none when that was said', () => {
    const url = new URL('https://far.test/');
    expect(proxyFor(url, proxiesFrom({ proxy: 'http://own:1' }, environment))?.host).toBe('own:1');
    expect(proxyFor(url, proxiesFrom({ proxy: 'none' }, environment))).toBeUndefined();
    expect(proxyFor(url, proxiesFrom({ noProxy: '*' }, environment))).toBeUndefined();
    expect(proxyFor(url, proxiesFrom({}, {}))).toBeUndefined();
    for (const given of ['socks5://a:1', 'https://a:1', 'http://'])
      expect(() => proxiesFrom({ proxy: given }, {})).toThrow(expect.objectContaining({ kind: 'validation' }));
    expect(() => proxiesFrom({}, { https_proxy: 'socks5://user:secret@a:1' })).toThrow(/^(?!.*secret).*HTTPS_PROXY/);
  });
});

describe('a file of CA certificates', () => {
  it('adds to what is trusted anyway, and is refused by name when it cannot be one', async () => {
    expect((await trustWith(caFile))?.at(-1)?.trim()).toBe(authority.certificate.trim());
    expect((await trustWith(caFile, caFile))?.filter((pem) => pem.trim() === authority.certificate.trim())).toHaveLength(2);
    expect(await trustWith(undefined)).toBeUndefined();
    await expect(trustWith(join(directory, 'none.pem'))).rejects.toMatchObject({
      kind: 'validation',
      message: expect.stringContaining('none.pem'),
    });
    const damaged = join(directory, 'damaged.pem');
    await writeFile(damaged, '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');
    await expect(trustWith(damaged)).rejects.toMatchObject({ message: expect.stringContaining('certificate 1') });
    await writeFile(damaged, 'hello');
    await expect(trustWith(damaged)).rejects.toMatchObject({ message: expect.stringContaining('no certificate') });
  });
});
