import { readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { buildCli, createHome, type Home } from '../testing/run-cli.js';

/** Control plane and issuer in one: what each was asked, and what the issuer says next. */
let url: string;
let asked: { readonly path: string; readonly form: URLSearchParams; readonly authorization: string | undefined }[] = [];
let next: { readonly status: number; readonly body: object }[] = [];
const server = createServer((request, response) => {
  const pieces: Buffer[] = [];
  request.on('data', (piece: Buffer) => pieces.push(piece));
  request.on('end', () => {
    const path = (request.url ?? '').split('?', 1)[0] ?? '';
    asked.push({ path, form: new URLSearchParams(Buffer.concat(pieces).toString()), authorization: request.headers.authorization });
    const { status, body } = answerTo(path);
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });
});

function answerTo(path: string): { readonly status: number; readonly body: object } {
  switch (path) {
    case '/providers/virt8ra.identity/v1beta1/login':
      return { status: 200, body: { issuers: [{ name: 'corp', issuer: url, clientId: 'cli', scopes: ['openid', 'offline_access'] }] } };
    case '/providers/virt8ra.identity/v1beta1/whoami':
      return { status: 200, body: { name: 'corp:ada', operator: false, tenants: ['acme'], subs: ['corp:groups/blue'] } };
    case '/providers/seca.region/v1/regions':
      return {
        status: 200,
        body: {
          items: [{ metadata: { name: 'eu' }, spec: {} }],
          metadata: { provider: 'seca.region/v1', resource: 'regions', verb: 'GET' },
        },
      };
    case '/.well-known/openid-configuration':
      return {
        status: 200,
        body: {
          issuer: url,
          token_endpoint: `${url}/token`,
          device_authorization_endpoint: `${url}/device`,
          revocation_endpoint: `${url}/revoke`,
        },
      };
    case '/device':
      return {
        status: 200,
        body: { device_code: 'dev', user_code: 'ABCD-EFGH', verification_uri: `${url}/go`, expires_in: 60, interval: 0 },
      };
    case '/token':
      return next.shift() ?? { status: 400, body: { error: 'expired_token' } };
    case '/revoke':
      return { status: 200, body: {} };
    default:
      return { status: 404, body: {} };
  }
}

const pending = { status: 400, body: { error: 'authorization_pending' } };
const gives = (token: string, seconds: number) => ({
  status: 200,
  body: { access_token: token, refresh_token: `${token}-renew`, expires_in: seconds },
});

let home: Home;
beforeAll(async () => {
  buildCli();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}, 300_000);
afterAll(async () => await new Promise((resolve) => server.close(resolve)));
beforeEach(() => {
  asked = [];
  next = [];
  home = createHome();
  return () => home.remove();
});

const bearers = () => asked.flatMap(({ authorization }) => authorization ?? []);
const logIn = async () => await home.run(['login', '--server', url, '--name', 'mine', '--tenant', 'acme', '--device']);

describe('login by device code', () => {
  it('waits for somebody to confirm, renews the token by itself, and forgets it at logout', async () => {
    next = [pending, pending, gives('first', 3600)];
    const done = await logIn();
    expect(done).toMatchObject({ code: 0, out: expect.stringContaining('context mine'), err: expect.stringContaining('ABCD-EFGH') });
    expect(done.out + done.err).not.toContain('first');
    const path = join(home.folder, 'config/virt8ra/config.json');
    expect(statSync(path).mode & 0o777).toBe(0o600);

    expect((await home.run(['whoami'])).out).toMatch(/subject: +corp:ada\ngroups: +corp:groups\/blue\ntenants: +acme/);
    expect(bearers().at(-1)).toBe('Bearer first');

    next = [gives('second', 10), gives('third', 3600)];
    expect((await logIn()).code).toBe(0);
    expect((await home.run(['whoami'])).code).toBe(0);
    expect(bearers().at(-1)).toBe('Bearer third');
    expect(
      asked
        .filter((each) => each.path === '/token')
        .at(-1)
        ?.form.get('refresh_token'),
    ).toBe('second-renew');
    expect(statSync(path).mode & 0o777).toBe(0o600);

    expect((await home.run(['logout'])).code).toBe(0);
    expect(asked.at(-1)?.form.get('token')).toBe('third-renew');
    expect(readFileSync(path, 'utf8')).not.toContain('third');
    expect(await home.run(['whoami'])).toMatchObject({ code: 3, err: expect.stringContaining('virt8ra login') });
  }, 120_000);

  it('says why an issuer gives no token, and keeps nothing', async () => {
    next = [pending, { status: 400, body: { error: 'access_denied', error_description: 'ada said no' } }];
    expect(await logIn()).toMatchObject({ code: 3, err: expect.stringContaining('ada said no') });
    next = [];
    expect(await logIn()).toMatchObject({ code: 3, err: expect.stringContaining('nobody confirmed') });
    next = [gives('short', 10), { status: 400, body: { error: 'invalid_grant' } }];
    expect((await logIn()).code).toBe(0);
    expect(await home.run(['whoami'])).toMatchObject({ code: 3, err: expect.stringContaining('invalid_grant') });
  }, 120_000);
});
