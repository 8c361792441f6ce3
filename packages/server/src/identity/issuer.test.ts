import { createHmac } from 'node:crypto';
import { chmod, mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportJWK, generateKeyPair, importJWK, type JWK, type JWTPayload, SignJWT } from 'jose';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ensureAdminToken } from './admin-token.js';
import { type Issuer, openIssuer } from './issuer.js';

const hour = 3600;
let stateDirectory: string;
let now: number;
let issuer: Issuer;
const open = async (region = 'here', cacheSize?: number): Promise<Issuer> =>
  await openIssuer({ stateDirectory, region, now: () => now, ...(cacheSize === undefined ? {} : { cacheSize }) });

beforeEach(async () => {
  stateDirectory = await mkdtemp(join(tmpdir(), 'virt8ra-identity-'));
  now = Date.parse('2026-11-25T12:00:00Z');
  issuer = await open();
});
afterEach(async () => await rm(stateDirectory, { recursive: true, force: true }));

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const key = async (): Promise<JWK> => JSON.parse(await readFile(join(stateDirectory, 'identity', 'issuer.jwk'), 'utf8')) as JWK;
const claims = (): JWTPayload => ({
  iss: 'virt8ra/here',
  aud: 'virt8ra-api/here',
  sub: 'eve',
  tenants: 'all',
  operator: true,
  iat: Math.floor(now / 1000),
  exp: Math.floor(now / 1000) + hour,
});
async function signed(payload: JWTPayload, jwk?: JWK): Promise<string> {
  const own = jwk ?? (await key());
  return await new SignJWT(payload).setProtectedHeader({ alg: 'ES256', kid: own.kid ?? '' }).sign(await importJWK(own, 'ES256'));
}

describe('local issuer', () => {
  it('gives tokens that say whom they speak for, also after a restart', async () => {
    const bob = { name: 'bob', operator: false, tenants: ['a', 'b'], roles: [], within: { workspaces: ['w'] } };
    const token = await issuer.issueToken({ ...bob, lifetimeSeconds: hour });

    for (const each of [issuer, await open()]) expect(await each.verify(token)).toEqual(bob);
  });

  it('takes a token from before there were roles as one for everything in its tenants', async () => {
    const token = await issuer.issueToken({ name: 'bob', operator: false, tenants: ['a'], lifetimeSeconds: hour });

    expect(await issuer.verify(token)).toEqual({ name: 'bob', operator: false, tenants: ['a'], roles: ['seca.admin'] });
  });

  it('keeps its key to itself, also when a backup lost the mode', async () => {
    const path = join(stateDirectory, 'identity', 'issuer.jwk');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    await chmod(path, 0o644);
    await open();
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  it.each<{ title: string; token: () => Promise<string> | string }>([
    { title: 'nothing', token: () => '' },
    { title: 'no token', token: () => 'x.y.z' },
    { title: 'algorithm none', token: () => `${part({ alg: 'none' })}.${part(claims())}.` },
    {
      title: 'a signature made with the public key as a shared secret',
      token: async () => {
        const { x, y } = await key();
        const head = `${part({ alg: 'HS256' })}.${part(claims())}`;
        return `${head}.${createHmac('sha256', JSON.stringify({ kty: 'EC', crv: 'P-256', x, y }))
          .update(head)
          .digest('base64url')}`;
      },
    },
    {
      title: "another's key under our key's name",
      token: async () =>
        await signed(claims(), {
          ...(await exportJWK((await generateKeyPair('ES256', { extractable: true })).privateKey)),
          kid: (await key()).kid ?? '',
        }),
    },
    { title: 'another audience', token: async () => await signed({ ...claims(), aud: 'virt8ra-api/there' }) },
    { title: 'another issuer', token: async () => await signed({ ...claims(), iss: 'virt8ra/there' }) },
    { title: 'no end', token: async () => await signed({ ...claims(), exp: undefined } as unknown as JWTPayload) },
    { title: 'an end that is past', token: async () => await signed({ ...claims(), exp: Math.floor(now / 1000) - 31 }) },
    { title: 'a start that has not come', token: async () => await signed({ ...claims(), nbf: Math.floor(now / 1000) + 60 }) },
    { title: 'no subject', token: async () => await signed({ ...claims(), sub: '' }) },
    { title: 'tenants that are no list', token: async () => await signed({ ...claims(), tenants: 'a' }) },
    { title: 'tenants that are no texts', token: async () => await signed({ ...claims(), tenants: [1] }) },
    { title: 'a megabyte', token: () => `${'a'.repeat(1_000_000)}.b.c` },
    { title: 'more than 4 KiB, well signed', token: async () => await signed({ ...claims(), padding: 'x'.repeat(5000) }) },
    {
      title: 'a changed payload',
      token: async () => (await signed(claims())).replace(/\.[^.]+\./, `.${part({ ...claims(), sub: 'root' })}.`),
    },
  ])('refuses $title', async ({ token }) => {
    await expect(issuer.verify(await token())).rejects.toMatchObject({ kind: 'unauthorized' });
  });

  it('takes operator for true only when it is exactly that', async () => {
    expect(await issuer.verify(await signed({ ...claims(), operator: 'yes' }))).toMatchObject({ operator: false });
  });

  it('does not accept a token of another region on the same key', async () => {
    const token = await (await open('there')).issueToken({ name: 'bob', operator: true, tenants: 'all', lifetimeSeconds: hour });
    await expect(issuer.verify(token)).rejects.toMatchObject({ kind: 'unauthorized' });
  });

  it('does not keep a token beyond its end, and says that it ran out', async () => {
    const token = await issuer.issueToken({ name: 'bob', operator: false, tenants: ['a'], lifetimeSeconds: hour });
    await issuer.verify(token);
    now += (hour + 31) * 1000;

    for (let attempt = 0; attempt < 2; attempt += 1) await expect(issuer.verify(token)).rejects.toThrow('run out');
  });

  it('verifies again what its bounded cache dropped, and checks a kept token much faster', async () => {
    const small = await open('here', 2);
    const tokens = await Promise.all(
      ['a', 'b', 'c'].map(async (name) => await small.issueToken({ name, operator: false, tenants: ['t'], lifetimeSeconds: hour })),
    );
    for (const token of [...tokens, ...tokens]) await small.verify(token);

    const token = tokens[0] ?? '';
    const measure = async (from: Issuer, token: string, times: number): Promise<number> => {
      const startedAt = performance.now();
      for (let index = 0; index < times; index += 1) await from.verify(token);
      return (performance.now() - startedAt) / times;
    };
    await issuer.verify(token);
    expect(await measure(issuer, token, 200)).toBeLessThan((await measure(await open(), token, 1)) / 3);
  });
});

describe('admin token', () => {
  it('is made once, kept closed, and made anew when it no longer holds', async () => {
    const first = await ensureAdminToken(stateDirectory, issuer);
    expect(await issuer.verify(first.fresh ?? '')).toEqual({ name: 'admin', operator: true, tenants: 'all' });
    expect((await stat(first.path)).mode & 0o777).toBe(0o600);
    expect((await readFile(first.path, 'utf8')).trim()).toBe(first.fresh);
    expect((await ensureAdminToken(stateDirectory, issuer)).fresh).toBeUndefined();

    now += 366 * 24 * hour * 1000;
    expect((await ensureAdminToken(stateDirectory, issuer)).fresh).toBeDefined();
  });
});
