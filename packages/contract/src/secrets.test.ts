import { expect, it } from 'vitest';
import { maskSecrets, withoutSecrets } from './secrets.js';

const planted = 'PLANTED-0123456789';

it.each([
  `run --server https://c --token ${planted} --ca-sha256 00`,
  `VIRT8RA_TOKEN=${planted}`,
  `DB_PASSWORD="${planted}"`,
  `postgres://virt8ra:${planted}@db.example/virt8ra`,
  `authorization: Bearer ${planted}`,
  `a token eyJhbGciOi.eyJzdWIi.${planted} in a text`,
  `enrolment v8enrol_${planted}`,
  `-----BEGIN PRIVATE KEY-----\n${planted}\n-----END PRIVATE KEY-----`,
])('masks what looks like a secret: %s', (text) => {
  expect(maskSecrets(text)).not.toContain(planted);
});

it('leaves what looks like none', () => {
  const text = 'the token of host alpha has expired; postgres://virt8ra@db/virt8ra; https://c:8481/token';
  expect(maskSecrets(text)).toBe(text);
});

it('masks members by their names at any depth, and keeps those it is told to', () => {
  const value = {
    key: 'i1',
    seed: { userData: planted, sshKeys: [planted], hostname: 'web' },
    list: [{ password: planted }, `--token ${planted}`],
  };
  const masked = withoutSecrets(value, ['key']);
  expect(JSON.stringify(masked)).not.toContain(planted);
  expect(masked).toMatchObject({ key: 'i1', seed: { hostname: 'web' } });
  expect(withoutSecrets(value)).toMatchObject({ key: '[secret]' });
});
