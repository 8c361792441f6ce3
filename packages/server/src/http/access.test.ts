import {
  type Address,
  type Kind,
  kinds,
  type PlacePart,
  partsOfScope,
  role,
  roleAssignment,
  urnFromAddress,
  workspace,
} from '@virt8ra/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRoleAssignmentBehaviour, createRoleBehaviour, seedSystemRoles } from '../kinds/authorization/index.js';
import type { KindBehaviour, Subject } from '../kinds/behaviour.js';
import { workspaceBehaviour } from '../kinds/workspace/index.js';
import { startTestServer, type TestServer } from './testing/test-server.js';

const region = 'eu-test';
const governed = kinds.filter((kind) => kind.scope !== 'global');
const authorization = '/providers/seca.authorization/v1/tenants/acme';
const workspaces = '/providers/seca.workspace/v1/tenants/acme/workspaces';

/** Every kind there is, each doing just nothing: what is tried here is who comes to it. */
const behaviours: readonly KindBehaviour[] = kinds.map((kind): KindBehaviour => {
  if (kind.kind === role.kind) return createRoleBehaviour(kinds) as KindBehaviour;
  if (kind.kind === roleAssignment.kind) return createRoleAssignmentBehaviour({ region }) as KindBehaviour;
  if (kind.kind === workspace.kind) return workspaceBehaviour as KindBehaviour;
  return { kind, actions: Object.fromEntries(kind.actions.map((action) => [action, async () => undefined])) };
});

const subjects: Readonly<Record<string, Omit<Subject, 'remote'>>> = {
  operator: { name: 'operator', operator: true, tenants: 'all' },
  ann: { name: 'ann', operator: false, tenants: ['acme'], roles: ['seca.admin'] },
  bob: { name: 'bob', operator: false, tenants: ['acme'] },
  eve: { name: 'eve', operator: false, tenants: ['other'], roles: ['seca.admin'] },
  cleo: { name: 'cleo', operator: false, tenants: ['acme'], subs: ['team:blue'] },
  narrow: { name: 'ann', operator: false, tenants: ['acme'], roles: ['seca.admin'], within: { workspaces: ['prod'] } },
};

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({
    behaviours,
    authenticate: async ({ authorization: given, remote }) => ({
      ...(subjects[given?.slice(7) ?? ''] ?? { name: '', operator: false, tenants: [] }),
      remote,
    }),
    streams: {
      tickets: { issue: async () => ({ ticket: 't', expiresAt: '' }), redeem: async () => Promise.reject(new Error('none')) },
      open: async () => Promise.reject(new Error('none')),
    },
  } as Parameters<typeof startTestServer>[0]);
  await seedSystemRoles(server.store, ['acme', 'other'], kinds);
  for (const tenant of ['acme', 'other']) {
    // What lies in something comes after it.
    const ordered = [workspace, ...governed.filter((each) => each.kind !== workspace.kind)].sort(
      (one, other) => partsOfScope[one.scope].length - partsOfScope[other.scope].length,
    );
    for (const kind of ordered)
      for (const within of isInside(kind) ? ['prod', 'test'] : ['prod']) await seed(kind, addressIn(kind, tenant, within));
    await seed(workspace, { tenant, name: 'test' });
  }
}, 120_000);
afterAll(async () => await server.stop());

function addressIn(kind: Kind, tenant: string, within: string): Address {
  const all: Readonly<Record<PlacePart, string>> = { tenant, workspace: within, network: 'x', cluster: 'x' };
  const place = Object.fromEntries(partsOfScope[kind.scope].map((part) => [part, all[part]]));
  return { ...place, name: kind.kind === workspace.kind ? within : 'x' };
}

const isInside = (kind: Kind): boolean => partsOfScope[kind.scope].includes('workspace');

async function seed(kind: Kind, address: Address): Promise<void> {
  await server.store.transaction(
    async (tx) => await tx.put({ kind, address, spec: {}, state: 'active', conditions: [{ state: 'active' }] }),
  );
}

interface Route {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE' | 'PATCH' | 'HEAD';
  readonly path: string;
}

/** Everything that is served below a tenant, by the server's own list. */
function tenantRoutes(): readonly Route[] {
  return server.http.routes
    .filter(({ path }) => path.includes('/tenants/:tenant'))
    .map(({ method, path }) => ({ method: method as Route['method'], path }));
}

function urlOf(path: string, parts: Readonly<Record<string, string>>): string {
  return path.replaceAll(/:(\w+)/g, (_match, part: string) => parts[part] ?? (part === 'port' ? '80' : 'x'));
}

const as = async (who: string, { method, path }: Route, body?: unknown) => {
  const { statusCode, body: text } = await server.call(method, path, { token: who, ...(body === undefined ? {} : { body }) });
  return { status: statusCode, text, body: text === '' ? undefined : (JSON.parse(text) as never) };
};
const call = async (who: string, method: Route['method'], path: string, body?: unknown) => await as(who, { method, path }, body);

async function rows(): Promise<unknown> {
  const { rows: found } = await server.pool.query('select count(*), max(revision_seq) from resource');
  return found[0];
}

async function assign(name: string, spec: object, who = 'ann'): Promise<number> {
  return (await call(who, 'PUT', `${authorization}/role-assignments/${name}`, { spec })).status;
}

describe('every route below a tenant', () => {
  it('is there for every kind, so that what follows leaves none out', () => {
    const paths = new Set(tenantRoutes().map(({ method, path }) => `${method} ${path}`));

    for (const kind of governed) {
      const found = [...paths].filter(
        (path) => path.startsWith('GET') && path.includes(`/providers/${kind.provider}/`) && path.includes(`/${kind.collection}`),
      );
      expect(found.length, kind.kind).toBeGreaterThanOrEqual(3);
      for (const action of kind.actions)
        expect([...paths].some((path) => path.startsWith('POST') && path.endsWith(`/${kind.collection}/:name/${action}`))).toBe(true);
    }
  });

  it('is shut to other tenants, and changes nothing for them', async () => {
    const before = await rows();
    for (const route of tenantRoutes())
      for (const name of ['x', 'not-there']) {
        const url = urlOf(route.path, { tenant: 'acme', workspace: 'prod', network: 'x', name });
        const { status } = await as('eve', { ...route, path: url }, route.method === 'PUT' ? { spec: {} } : undefined);
        expect(status, `${route.method} ${url}`).toBe(403);
      }
    expect(await rows()).toEqual(before);
  });

  it('says the same of what is there and what is not to those without a role, and changes nothing for them', async () => {
    const before = await rows();
    for (const route of tenantRoutes().filter(({ path }) => path.includes(':name'))) {
      const [there, not] = await Promise.all(
        ['x', 'zz'].map(async (name) => {
          const url = urlOf(route.path, { tenant: 'acme', workspace: 'prod', network: 'x', name });
          const { status, text } = await as('bob', { ...route, path: url }, route.method === 'PUT' ? { spec: {} } : undefined);
          return { status, text: text.replaceAll(url, '').replaceAll(` ${name}"`, '') };
        }),
      );
      expect(there?.status, `${route.method} ${route.path}`).toBe(404);
      expect(there).toEqual(not);
    }
    for (const { path } of tenantRoutes().filter(
      ({ method, path: each }) => method === 'GET' && !each.includes(':name') && !each.endsWith('/events'),
    ))
      expect((await call('bob', 'GET', urlOf(path, { tenant: 'acme', workspace: 'prod' }))).status, path).toBe(403);
    expect(await rows()).toEqual(before);
  });

  it('is for reading only to a viewer, in its workspace only', async () => {
    expect(await assign('view', { subs: ['bob'], roles: ['seca.workspace-viewer'], scopes: [{ workspaces: ['prod'] }] })).toBe(201);
    for (const kind of governed.filter(isInside)) {
      const at = (within: string): string => `/providers/${urnFromAddress(kind, addressIn(kind, 'acme', within))}`;
      expect((await call('bob', 'GET', at('prod'))).status, kind.kind).toBe(200);
      expect((await call('bob', 'GET', at('prod').replace(/\/x$/, ''))).status, kind.kind).toBe(200);
      expect((await call('bob', 'GET', at('test'))).status, kind.kind).toBe(404);
      expect((await call('bob', 'GET', at('test').replace(/\/x$/, ''))).status, kind.kind).toBe(403);
      if (kind.writable) expect((await call('bob', 'DELETE', at('prod'))).status, kind.kind).toBe(403);
      for (const action of kind.actions) expect((await call('bob', 'POST', `${at('prod')}/${action}`)).status, action).toBe(403);
    }
    expect((await call('bob', 'POST', '/providers/seca.compute/v1/tenants/acme/workspaces/prod/instances/x/console')).status).toBe(403);
    expect((await call('bob', 'GET', workspaces)).body).toMatchObject({ items: [{ metadata: { name: 'prod' } }] });
    expect((await call('bob', 'GET', `${authorization}/roles/seca.admin`)).status).toBe(404);
    expect((await call('ann', 'DELETE', `${authorization}/role-assignments/view`)).status).toBe(202);
    expect((await call('bob', 'GET', `${workspaces}/prod`)).status).toBe(404);
  });

  it('is narrowed by a token that is for some workspaces, whoever shows it', async () => {
    expect((await call('narrow', 'GET', `${workspaces}/prod`)).status).toBe(200);
    expect((await call('narrow', 'GET', `${workspaces}/test`)).status).toBe(404);
    expect((await call('narrow', 'GET', workspaces)).body).toMatchObject({ items: [{ metadata: { name: 'prod' } }] });
    expect((await call('narrow', 'GET', `${authorization}/roles`)).status).toBe(403);
    expect((await call('narrow', 'PUT', `${authorization}/roles/mine`, { spec: { permissions: [] } })).status).toBe(404);
  });
});

describe('roles', () => {
  const permission = { provider: 'seca.storage', resources: ['images/x', 'images/zz'], verb: ['LIST', 'GET'] };

  it('of the control plane are the same in every tenant, and nobody changes them', async () => {
    expect((await call('ann', 'GET', `${authorization}/roles`)).body).toMatchObject({
      items: expect.arrayContaining(
        ['admin', 'region-admin', 'workspace-admin', 'workspace-editor', 'workspace-viewer'].map((name) =>
          expect.objectContaining({ metadata: expect.objectContaining({ name: `seca.${name}` }) }),
        ),
      ),
    });
    for (const who of ['ann', 'operator']) {
      expect((await call(who, 'PUT', `${authorization}/roles/seca.admin`, { spec: { permissions: [permission] } })).status).toBe(403);
      expect((await call(who, 'DELETE', `${authorization}/roles/seca.admin`)).status).toBe(403);
    }
  });

  it.each<[string, object, string]>([
    ['an unknown provider', { ...permission, provider: 'seca.unknown' }, '/spec/permissions/0/provider'],
    ['a verb that is none', { ...permission, verb: ['get', 'CONNECT'] }, '/spec/permissions/0/verb/1'],
    ['half a name as a pattern', { ...permission, resources: ['images/x*'] }, '/spec/permissions/0/resources/0'],
    ['no resources', { ...permission, resources: [] }, '/spec/permissions/0/resources'],
  ])('are refused with %s', async (_title, wrong, pointer) => {
    const { status, body } = await call('ann', 'PUT', `${authorization}/roles/odd`, { spec: { permissions: [wrong] } });

    expect(status).toBe(422);
    expect(body).toMatchObject({ sources: [{ pointer }] });
  });

  it('hold for a subject’s groups as soon as they are assigned, name by name, and end as soon as they are taken away', async () => {
    const images = '/providers/seca.storage/v1/tenants/acme/images';
    await seed(kinds.find(({ kind }) => kind === 'image') as Kind, { tenant: 'acme', name: 'secret' });
    expect((await call('cleo', 'GET', images)).status).toBe(403);
    expect((await call('ann', 'PUT', `${authorization}/roles/look`, { spec: { permissions: [permission] } })).status).toBe(201);
    expect(await assign('blue', { subs: ['team:blue'], roles: ['look'], scopes: [{}] })).toBe(201);

    expect((await call('cleo', 'GET', images)).body).toMatchObject({ items: [{ metadata: { name: 'x' } }] });
    expect((await call('cleo', 'GET', `${images}?limit=1`)).body).not.toHaveProperty('metadata.skipToken');
    expect((await call('cleo', 'GET', `${images}/secret`)).status).toBe(404);
    expect((await call('cleo', 'DELETE', `${images}/x`)).status).toBe(403);
    expect((await call('ann', 'DELETE', `${authorization}/roles/look`)).status).toBe(409);

    expect(await assign('blue', { subs: ['team:red'], roles: ['look'], scopes: [{}] })).toBe(200);
    expect((await call('cleo', 'GET', images)).status).toBe(403);
    expect(await assign('blue', { subs: ['*'], roles: ['look'], scopes: [{ tenants: ['acme'] }] })).toBe(200);
    expect((await call('cleo', 'GET', `${images}/x`)).status).toBe(200);
    expect((await call('eve', 'GET', `${images}/x`)).status).toBe(403);
    expect((await call('ann', 'DELETE', `${authorization}/role-assignments/blue`)).status).toBe(202);
    expect((await call('ann', 'DELETE', `${authorization}/roles/look`)).status).toBe(202);
  });

  it('that end at another replica end here within a second', async () => {
    const path = `${workspaces}/test`;
    expect(await assign('brief', { subs: ['cleo'], roles: ['seca.workspace-viewer'], scopes: [{ workspaces: ['test'] }] })).toBe(201);
    expect((await call('cleo', 'GET', path)).status).toBe(200);
    await server.store.transaction(async (tx) => {
      const found = await tx.lockAt(roleAssignment, { tenant: 'acme', name: 'brief' });
      if (found !== undefined) await tx.remove(found.uid);
    });
    const begun = performance.now();
    while ((await call('cleo', 'GET', path)).status === 200) await new Promise((resolve) => setTimeout(resolve, 20));

    expect(performance.now() - begun).toBeLessThan(1500);
    expect((await call('cleo', 'GET', path)).status).toBe(404);
  });

  it.each<[string, object, string]>([
    ['a role that is not there', { subs: ['bob'], roles: ['none'], scopes: [{}] }, '/spec/roles/0'],
    ['another tenant', { subs: ['bob'], roles: ['seca.admin'], scopes: [{ tenants: ['acme', 'other'] }] }, '/spec/scopes/0/tenants/1'],
    ['another region', { subs: ['bob'], roles: ['seca.admin'], scopes: [{}, { regions: ['us'] }] }, '/spec/scopes/1/regions/0'],
    [
      'a workspace that is not there',
      { subs: ['bob'], roles: ['seca.admin'], scopes: [{ workspaces: ['none'] }] },
      '/spec/scopes/0/workspaces/0',
    ],
    ['no subjects', { subs: [], roles: ['seca.admin'], scopes: [{}] }, '/spec/subs'],
  ])('are not assigned with %s', async (_title, spec, pointer) => {
    const { status, body } = await call('ann', 'PUT', `${authorization}/role-assignments/odd`, { spec });

    expect(status).toBe(422);
    expect(body).toMatchObject({ sources: [{ pointer }] });
  });
});

describe('a workspace', () => {
  it('is administered by who made it, until it goes', async () => {
    const maker = { provider: 'seca.workspace', resources: ['workspaces/*'], verb: ['put'] };
    expect((await call('ann', 'PUT', `${authorization}/roles/maker`, { spec: { permissions: [maker] } })).status).toBe(201);
    expect(await assign('makers', { subs: ['bob'], roles: ['maker'], scopes: [{}] })).toBe(201);

    expect((await call('bob', 'PUT', `${workspaces}/own`, { spec: {} })).status).toBe(201);
    expect((await call('bob', 'GET', `${workspaces}/own`)).status).toBe(200);
    const disk = '/providers/seca.network/v1/tenants/acme/workspaces/own/internet-gateways/gate';
    expect((await call('bob', 'PUT', disk, { spec: {} })).status).toBe(201);
    expect((await call('ann', 'GET', `${authorization}/role-assignments/creator.own`)).body).toMatchObject({
      spec: { subs: ['bob'], roles: ['seca.workspace-admin'], scopes: [{ tenants: ['acme'], workspaces: ['own'] }] },
    });
    expect((await call('bob', 'GET', `${workspaces}/prod`)).status).toBe(404);

    expect((await call('bob', 'DELETE', disk)).status).toBe(202);
    expect(await assign('wider', { subs: ['cleo'], roles: ['maker'], scopes: [{ workspaces: ['own', 'prod'] }] })).toBe(201);
    expect((await call('bob', 'DELETE', `${workspaces}/own`)).status).toBe(409);
    expect((await call('ann', 'DELETE', `${authorization}/role-assignments/wider`)).status).toBe(202);
    expect((await call('bob', 'DELETE', `${workspaces}/own`)).status).toBe(202);
    expect((await call('ann', 'GET', `${authorization}/role-assignments/creator.own`)).status).toBe(404);
    expect((await call('ann', 'DELETE', `${authorization}/role-assignments/makers`)).status).toBe(202);
  });
});
