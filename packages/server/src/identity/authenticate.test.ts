import { mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { kinds } from '@virt8ra/contract';
import { createRecordedLog, type RecordedLog } from '@virt8ra/engine/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseConfig } from '../config.js';
import { checkIdentity } from '../doctor/identity-checks.js';
import { startTestServer, type TestServer } from '../http/testing/test-server.js';
import { createRoleAssignmentBehaviour, createRoleBehaviour, seedSystemRoles } from '../kinds/authorization/index.js';
import type { KindBehaviour } from '../kinds/behaviour.js';
import { createServiceAccountBehaviour } from '../kinds/service-account/index.js';
import { workspaceBehaviour } from '../kinds/workspace/index.js';
import { createOutbound } from '../outbound/outbound.js';
import { readIdentityFile } from './identity-file.js';
import type { OpenIdentity } from './open-identity.js';
import { openIdentity } from './open-identity.js';
import { type OidcProvider, startOidcProvider } from './testing/oidc-provider.js';

const acme = (provider: string, path: string): string => `/providers/${provider}/tenants/acme/${path}`;
const assignments = acme('seca.authorization/v1', 'role-assignments');
const workspaces = acme('seca.workspace/v1', 'workspaces');
const accounts = acme('virt8ra.identity/v1beta1', 'service-accounts');
const tenants = ['acme', 'second'];

let state: string;
let file: string;
let log: RecordedLog;
let provider: OidcProvider;
let identity: OpenIdentity;
let server: TestServer;
let admin: string;
beforeAll(async () => {
  state = await mkdtemp(join(tmpdir(), 'virt8ra-identity-'));
  provider = await startOidcProvider();
  file = join(state, 'identity.json');
  await writeFile(file, JSON.stringify({ issuers: [corp()], subjects: ['corp:ada', 'corp:groups/blue'] }));
  log = createRecordedLog();
  identity = await openIdentity(
    { stateDirectory: state, region: 'eu-test', tenants, identity: { file } },
    { outbound: createOutbound({ proxies: {} }), log, lookMs: 20 },
  );
  const behaviours = [
    createRoleBehaviour(kinds),
    createRoleAssignmentBehaviour({ region: 'eu-test', subjects: identity.subjects }),
    createServiceAccountBehaviour(identity.issuer, () => new Date()),
    workspaceBehaviour,
  ] as unknown as readonly KindBehaviour[];
  server = await startTestServer({
    behaviours,
    contents: {},
    logins: identity.logins,
    authenticate: async (credentials) => await identity.authenticateWith(server.pool)(credentials),
  });
  await seedSystemRoles(server.store, tenants, kinds);
  admin = await identity.issuer.issueToken({ name: 'root', operator: true, tenants: 'all', lifetimeSeconds: 3600 });
}, 120_000);
afterAll(async () => {
  identity.close();
  await server.stop();
  await provider.stop();
  await rm(state, { recursive: true, force: true });
});

const corp = (more: object = {}): object => ({
  name: 'corp',
  issuer: provider.url,
  audience: 'virt8ra',
  tenants: ['acme'],
  clientId: 'cli',
  ...more,
});
const call = async (token: string, method: 'GET' | 'PUT' | 'POST' | 'DELETE', path: string, body?: unknown) => {
  const answer = await server.call(method, path, { token, ...(body === undefined ? {} : { body }) });
  return { status: answer.statusCode, body: answer.body === '' ? undefined : (JSON.parse(answer.body) as Record<string, unknown>) };
};
const assign = async (name: string, subs: readonly string[]) =>
  await call(admin, 'PUT', `${assignments}/${name}`, { spec: { subs, roles: ['seca.workspace-viewer'], scopes: [{}] } });
const ofCorp = async (claims: object = {}): Promise<string> =>
  await provider.sign({ sub: 'ada', aud: 'virt8ra', exp: Math.floor(Date.now() / 1000) + 600, groups: ['blue'], ...claims });

describe('a subject of an OIDC issuer', () => {
  it('may do what is assigned to it or its groups, and nothing before', async () => {
    const token = await ofCorp();
    const who = await call(token, 'GET', '/providers/virt8ra.identity/v1beta1/whoami');
    expect(who.body).toEqual({ name: 'corp:ada', operator: false, tenants: ['acme'], subs: ['corp:groups/blue'] });
    expect((await call(token, 'GET', '/providers/virt8ra.identity/v1beta1/tenants')).body).toEqual({ items: [{ name: 'acme' }] });
    expect((await call(token, 'GET', workspaces)).status).toBe(403);
    expect((await assign('blue', ['corp:groups/blue'])).status).toBe(201);
    expect((await call(token, 'GET', workspaces)).status).toBe(200);
    expect((await call(await ofCorp({ groups: [] }), 'GET', workspaces)).status).toBe(403);
    expect((await call(await ofCorp({ aud: 'another' }), 'GET', workspaces)).status).toBe(401);
    expect((await call(token, 'GET', workspaces.replace('acme', 'second'))).status).toBe(403);
  });

  it('is told where to log in, without a token', async () => {
    const { body } = await server.call('GET', '/providers/virt8ra.identity/v1beta1/login', { token: null });

    expect(JSON.parse(body)).toEqual({
      issuers: [{ name: 'corp', issuer: provider.url, clientId: 'cli', scopes: ['openid', 'offline_access'] }],
    });
  });

  it('is assigned nothing when all subjects are known and it is none of them', async () => {
    const { status, body } = await assign('odd', ['corp:ada', 'corp:nobody']);

    expect(status).toBe(422);
    expect(body).toMatchObject({ sources: [{ pointer: '/spec/subs/1' }] });
  });
});

describe('a service account', () => {
  it('acts by tokens that end with it', async () => {
    expect((await call(admin, 'PUT', `${accounts}/ci`, { spec: {} })).body).toMatchObject({
      status: { subject: 'service-account:acme/ci' },
    });
    const given = await call(admin, 'POST', `${accounts}/ci/token`, { lifetimeSeconds: 60 });
    const token = String(given.body?.['token']);
    expect(given.status).toBe(200);
    expect((await call(token, 'GET', workspaces)).status).toBe(403);
    expect((await assign('none', ['service-account:acme/nobody'])).status).toBe(422);
    expect((await assign('foreign', ['service-account:second/ci'])).status).toBe(422);
    expect((await assign('ci', ['service-account:acme/ci'])).status).toBe(201);
    expect((await call(token, 'GET', workspaces)).status).toBe(200);
    expect((await call(token, 'POST', `${accounts}/ci/token`)).status).toBe(404);

    expect((await call(admin, 'DELETE', `${accounts}/ci`)).status).toBe(409);
    expect((await call(admin, 'DELETE', `${assignments}/ci`)).status).toBe(202);
    expect((await call(admin, 'DELETE', `${accounts}/ci`)).status).toBe(202);
    const end = performance.now() + 3000;
    while ((await call(token, 'GET', workspaces)).status !== 401 && performance.now() < end)
      await new Promise((resolve) => setTimeout(resolve, 50));
    expect((await call(token, 'GET', workspaces)).status).toBe(401);
    expect((await call(admin, 'POST', `${accounts}/ci/token`, { lifetimeSeconds: 7200 })).status).toBe(422);
  });
});

describe('the file of issuers', () => {
  const whoami = '/providers/virt8ra.identity/v1beta1/whoami';
  const says = async (content: unknown): Promise<void> => {
    await writeFile(`${file}.new`, typeof content === 'string' ? content : JSON.stringify(content));
    await rename(`${file}.new`, file);
  };

  it('holds as it is now: who is named anew is taken, who is gone or judged otherwise is not, and those known are asked for nothing again', async () => {
    const token = await ofCorp();
    expect((await call(token, 'GET', whoami)).status).toBe(200);
    await says({ issuers: [corp({ tenants: ['acme', 'second'] })] });
    await expect.poll(async () => (await call(token, 'GET', whoami)).body).toMatchObject({ tenants: ['acme', 'second'] });
    // Nobody knows all subjects any more.
    expect((await assign('anybody', ['corp:somebody'])).status).toBe(201);
    await says({ issuers: [corp({ audience: 'another' })] });
    await expect.poll(async () => (await call(token, 'GET', whoami)).status).toBe(401);
    await says({ issuers: [] });
    await expect
      .poll(async () => (await server.call('GET', '/providers/virt8ra.identity/v1beta1/login', { token: null })).json())
      .toEqual({ issuers: [] });
    expect((await call(token, 'GET', whoami)).status).toBe(401);

    // By a link that is turned over, as mounted configurations are.
    await writeFile(join(state, 'elsewhere.json'), JSON.stringify({ issuers: [corp()], subjects: ['corp:ada', 'corp:groups/blue'] }));
    await symlink(join(state, 'elsewhere.json'), `${file}.link`);
    await rename(`${file}.link`, file);
    await expect.poll(async () => (await call(token, 'GET', whoami)).status).toBe(200);
    expect((await assign('nobody', ['corp:nobody'])).status).toBe(422);
  });

  it('that is wrong, or gone, changes nothing and is told of', async () => {
    const token = await ofCorp();
    const told = (): number =>
      log.lines.filter(({ level, message }) => level === 'error' && message.includes('what it said before still holds')).length;
    for (const [at, wrong] of ['{"issuers":', { issuers: [corp({ tenants: ['no'] })] }, { isuers: [] }].entries()) {
      await says(wrong);
      await expect.poll(told).toBe(at + 1);
      expect((await call(token, 'GET', whoami)).status).toBe(200);
    }
    expect(await checkIdentity({ ...parseConfig(['--state', state, '--identity-file', file], {}, 1), tenants })).toContainEqual(
      expect.objectContaining({
        check: 'identity/file',
        level: 'fail',
        message: expect.stringContaining('isuers'),
        mend: expect.stringContaining('mend it'),
      }),
    );
    await rm(file);
    await expect.poll(told).toBe(4);
    expect((await call(token, 'GET', whoami)).status).toBe(200);
    await says({ issuers: [corp()], subjects: ['corp:ada', 'corp:groups/blue'] });
    await expect.poll(() => log.lines.filter(({ message }) => message.includes('read anew')).length).toBeGreaterThanOrEqual(5);
    expect((await call(token, 'GET', whoami)).status).toBe(200);
  });

  it.each<[string, unknown, string]>([
    [
      'an issuer in the clear',
      { issuers: [{ name: 'x', issuer: 'http://id.example', audience: 'a', tenants: ['acme'] }] },
      '/issuers/0/issuer',
    ],
    [
      'a tenant that is none',
      { issuers: [{ name: 'x', issuer: 'https://id.example', audience: 'a', tenants: ['no'] }] },
      '/issuers/0/tenants',
    ],
    [
      'a symmetric algorithm',
      { issuers: [{ name: 'x', issuer: 'https://id.example', audience: 'a', tenants: ['acme'], algorithms: ['HS256'] }] },
      '/issuers/0',
    ],
    ['a typing mistake', { isuers: [] }, 'at /'],
  ])('is refused with %s', async (_title, content, where) => {
    const path = join(state, 'wrong.json');
    await writeFile(path, JSON.stringify(content));

    await expect(readIdentityFile(path, tenants)).rejects.toThrow(where);
  });
});
