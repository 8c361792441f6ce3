import { createRecordedLog } from '@virt8ra/engine/testing';
import type { JWTPayload } from 'jose';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createOutbound } from '../outbound/outbound.js';
import type { OidcIssuerOptions } from './identity-file.js';
import { createOidcIssuer, type TokenVerifier } from './oidc-issuer.js';
import { type OidcProvider, startOidcProvider } from './testing/oidc-provider.js';

const minute = 60_000;
let provider: OidcProvider;
let clock: number;
let verifier: TokenVerifier;
const open = (options: Partial<OidcIssuerOptions> = {}): TokenVerifier =>
  createOidcIssuer(
    { name: 'corp', issuer: provider.url, audience: 'virt8ra', tenants: ['acme', 'second'], ...options },
    { outbound: createOutbound({ proxies: {} }), log: createRecordedLog(), now: () => clock },
  );
const claims = (more: JWTPayload = {}): JWTPayload => ({ sub: 'ada', aud: 'virt8ra', exp: Math.floor(clock / 1000) + 3600, ...more });
const withoutEnd = (): JWTPayload => ({ sub: 'ada', aud: 'virt8ra' });
const refusal = async (token: string, by = verifier): Promise<string> =>
  await by.verify(token).then(
    () => 'taken',
    (error: { kind: string }) => error.kind,
  );

beforeEach(async () => {
  clock = Date.now();
  provider = await startOidcProvider();
  verifier = open();
});
afterEach(async () => await provider.stop());

describe('tokens of an OIDC issuer', () => {
  it('say whom they speak for, under the issuer’s name, with groups and tenants', async () => {
    expect(await verifier.verify(await provider.sign(claims({ groups: ['blue', 'odd\nname'] })))).toEqual({
      name: 'corp:ada',
      operator: false,
      tenants: ['acme', 'second'],
      subs: ['corp:groups/blue'],
    });
    const mapped = open({
      claims: { subject: 'email', groups: 'realm_access.roles', tenants: 'https://corp.example/tenants' },
      operatorGroups: ['infra'],
    });
    const token = await provider.sign(
      claims({ email: 'ada@corp.example', realm_access: { roles: ['infra'] }, 'https://corp.example/tenants': ['second', 'elsewhere'] }),
    );
    expect(await mapped.verify(token)).toEqual({
      name: 'corp:ada@corp.example',
      operator: true,
      tenants: ['second'],
      subs: ['corp:groups/infra'],
    });
    expect(await refusal(await provider.sign(claims({ sub: '' })))).toBe('unauthorized');
  });

  it('are taken within half a minute of a clock that differs, and refused beyond, for another audience, or by another algorithm', async () => {
    const seconds = Math.floor(clock / 1000);
    expect(await refusal(await provider.sign(claims({ exp: seconds - 20 })))).toBe('taken');
    expect(await refusal(await provider.sign(claims({ exp: seconds - 40 })))).toBe('unauthorized');
    expect(await refusal(await provider.sign(claims({ nbf: seconds + 20 })))).toBe('taken');
    expect(await refusal(await provider.sign(claims({ nbf: seconds + 40 })))).toBe('unauthorized');
    expect(await refusal(await provider.sign(claims({ aud: 'another' })))).toBe('unauthorized');
    expect(await refusal(await provider.sign(claims({ iss: 'https://evil.example' })))).toBe('unauthorized');
    expect(await refusal(await provider.sign(withoutEnd()))).toBe('unauthorized');
    expect(await refusal(await provider.sign(claims()), open({ algorithms: ['RS256'] }))).toBe('unauthorized');
    const [header = '', body = ''] = (await provider.sign(claims())).split('.');
    expect(await refusal(`${header}.${body}.`)).toBe('unauthorized');
    expect(await refusal(`${Buffer.from('{"alg":"none"}').toString('base64url')}.${body}.`)).toBe('unauthorized');
  });

  it('are followed through a rotation of keys, and end with the key that is taken back', async () => {
    const old = await provider.sign(claims());
    expect(await refusal(old)).toBe('taken');
    clock += minute;
    await provider.rotate('second', { keep: false });
    expect(await refusal(await provider.sign(claims()))).toBe('taken');
    expect(provider.fetches).toBe(2);
    expect(await refusal(old)).toBe('taken');
    clock += 5 * minute;
    expect(await refusal(old)).toBe('unauthorized');
  });

  it('lead to few questions, however many keys are made up', async () => {
    expect(await refusal(await provider.sign(claims()))).toBe('taken');
    for (let turn = 0; turn < 20; turn += 1)
      expect(await refusal(await provider.sign(claims(), { kid: `made-up-${turn}` }))).toBe('unauthorized');
    expect(provider.fetches).toBe(1);
    clock += minute;
    await Promise.all(Array.from({ length: 20 }, async (_, turn) => await refusal(await provider.sign(claims(), { kid: `more-${turn}` }))));
    expect(provider.fetches).toBe(2);
  });

  it('are taken for an hour while the issuer is away, and are in doubt, not refused, beyond', async () => {
    expect(await refusal(await provider.sign(claims()))).toBe('taken');
    provider.fail(true);
    clock += 50 * minute;
    expect(await refusal(await provider.sign(claims({ jti: 'later' })))).toBe('taken');
    clock += 11 * minute;
    const token = await provider.sign(claims({ jti: 'last' }));
    expect(await refusal(token)).toBe('unavailable');
    const asked = provider.fetches;
    for (let turn = 0; turn < 10; turn += 1) expect(await refusal(token)).toBe('unavailable');
    expect(provider.fetches).toBe(asked);
    provider.fail(false);
    clock += minute;
    expect(await refusal(token)).toBe('taken');
  });

  it('are not taken from one that calls itself otherwise', async () => {
    provider.callItself('https://evil.example');
    expect(await refusal(await provider.sign(claims()))).toBe('unavailable');
  });
});
