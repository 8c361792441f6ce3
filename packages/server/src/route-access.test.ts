import { request as ask } from 'node:http';
import { kinds } from '@virt8ra/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ControlPlane, startControlPlane } from './testing/control-plane.js';

/** Answered to anybody. Whatever is added to these is added here first. */
const open = /^\/(healthz|readyz|metrics|openapi\.json|docs(\/.*)?|\.wellknown\/secapi|providers\/virt8ra\.identity\/v1beta1\/login)$/;
/** Of the operator alone, whoever reads. */
const operators = [
  '/providers/virt8ra.audit/v1beta1/entries',
  '/providers/virt8ra.audit/v1beta1/verification',
  '/providers/virt8ra.restore/v1beta1/differences',
];
const seca = (provider: string, rest: string): string => `/providers/seca.${provider}/v1/tenants/acme/${rest}`;

let plane: ControlPlane;
const tokens = new Map<string, string>();

beforeAll(async () => {
  plane = await startControlPlane([], { VIRT8RA_TENANTS: 'acme,other' });
  const made: readonly (readonly [string, object])[] = [
    [seca('workspace', 'workspaces/prod'), {}],
    [seca('workspace', 'workspaces/test'), {}],
    ...['prod', 'test'].flatMap((workspace): (readonly [string, object])[] => [
      [seca('network', `workspaces/${workspace}/networks/x`), { cidr: { ipv4: '10.1.0.0/16' }, skuRef: 'skus/n1k' }],
      [seca('storage', `workspaces/${workspace}/block-storages/x`), { sizeGB: 1, skuRef: 'skus/rd100' }],
      [
        seca('compute', `workspaces/${workspace}/instances/x`),
        { zone: 'any', skuRef: 'skus/seca.xs', bootVolume: { deviceRef: 'block-storages/x' } },
      ],
    ]),
    [
      seca('authorization', 'role-assignments/vera'),
      { subs: ['vera'], roles: ['seca.workspace-viewer'], scopes: [{ workspaces: ['prod'] }] },
    ],
    [seca('authorization', 'role-assignments/ed'), { subs: ['ed'], roles: ['seca.workspace-editor'], scopes: [{ workspaces: ['prod'] }] }],
  ];
  for (const [path, spec] of made) expect((await plane.call('PUT', path, { spec })).status, path).toBe(201);
  const none = ['--roles', 'none'];
  tokens.set('operator', plane.token);
  tokens.set('ann', await plane.tokenFor('--subject', 'ann', '--tenants', 'acme'));
  for (const name of ['bob', 'vera', 'ed']) tokens.set(name, await plane.tokenFor('--subject', name, '--tenants', 'acme', ...none));
  tokens.set('narrow', await plane.tokenFor('--subject', 'ann', '--tenants', 'acme', '--workspaces', 'prod'));
  tokens.set('eve', await plane.tokenFor('--subject', 'eve', '--tenants', 'other'));
}, 120_000);
afterAll(async () => await plane?.stop(), 60_000);

interface Route {
  readonly method: string;
  readonly path: string;
}

const at = (path: string, workspace: string): string =>
  path
    .replaceAll(/:(\w+)/g, (_whole, part: string) => ({ tenant: 'acme', workspace, port: '80', '*': 'x' })[part] ?? 'x')
    .replace(/\*$/, 'x');

/** Answers the status; of a stream of events, without waiting for its end. */
async function status(who: string | undefined, method: string, path: string, upgrade = false): Promise<number> {
  const token = who === undefined ? undefined : tokens.get(who);
  const { hostname, port } = new URL(plane.url);
  return await new Promise((resolve, reject) => {
    const headers = {
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(method === 'PUT' ? { 'content-type': 'application/json', 'content-length': '11' } : {}),
      ...(upgrade
        ? { connection: 'upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==' }
        : {}),
    };
    const call = ask({ host: hostname, port, method, path, headers, agent: false }, (message) => {
      message.on('error', () => undefined);
      resolve(message.statusCode ?? 0);
      call.destroy();
    });
    call.once('upgrade', (_message, socket) => {
      socket.destroy();
      resolve(101);
    });
    call.on('error', reject);
    // No shape takes it: whoever gets as far as the body is told 422 and changes nothing.
    call.end(method === 'PUT' ? '{"spec":42}' : undefined);
  });
}

const reads = ({ method }: Route): boolean => method === 'GET' || method === 'HEAD';
const ofTenants = (): readonly Route[] => plane.routes.filter(({ path }) => path.includes('/tenants/:tenant'));
const isEvents = ({ path }: Route): boolean => path.endsWith('/events');
const isNamed = ({ path }: Route): boolean => path.includes(':name');
/** What reaches into a guest, or shows what it wrote, is an action, also where it is only read. */
const isAction = ({ path }: Route): boolean => /\/instances\/:name\/(console|vnc|ports)|\/:name\/files\//.test(path);

async function expectAll(
  routes: readonly Route[],
  who: string | undefined,
  expected: (route: Route) => number | readonly number[],
  workspace = 'prod',
): Promise<void> {
  const wrong: string[] = [];
  for (const route of routes) {
    const found = await status(who, route.method, at(route.path, workspace));
    if (![expected(route)].flat().includes(found))
      wrong.push(`${route.method} ${route.path}: ${found}, not ${[expected(route)].flat().join(' or ')}`);
  }
  expect(wrong, String(who)).toEqual([]);
}

describe('every route that a control plane serves', { timeout: 60_000 }, () => {
  it('is one of a kind, or known here by what it is for, and open to strangers only where this says so', async () => {
    const paths = plane.routes.map(({ path }) => path);
    for (const part of [
      '/virt8ra.usage/',
      '/virt8ra.audit/',
      '/virt8ra.metrics/',
      '/virt8ra.restore/',
      '/events',
      '/console/log',
      '/ports/:port',
      '/vnc',
      '/activity-logs',
      '/content',
    ])
      expect(
        paths.some((path) => path.includes(part)),
        part,
      ).toBe(true);
    for (const kind of kinds)
      expect(
        paths.some((path) => path.startsWith(`/providers/${kind.provider}/`) && path.endsWith(`/${kind.collection}`)),
        kind.kind,
      ).toBe(true);
    await expectAll(
      plane.routes.filter(({ path }) => !open.test(path)),
      undefined,
      () => 401,
    );
  });

  it('is shut to other tenants', async () => {
    await expectAll(ofTenants(), 'eve', () => 403);
  });

  it('shows nothing to a subject without a role: what is there looks like what is not, and lists are refused', async () => {
    await expectAll(ofTenants(), 'bob', (route) => {
      if (isEvents(route)) return 200;
      return isNamed(route) ? 404 : 403;
    });
  });

  it('lets a viewer read in its workspace, and neither write, act, nor reach into instances; elsewhere it is as without a role', async () => {
    const inside = ofTenants().filter(({ path }) => path.includes('/workspaces/:workspace/'));
    await expectAll(inside, 'vera', (route) => {
      if (isAction(route)) return 403;
      if (reads(route)) return isNamed(route) ? [200, 204, 404] : 200;
      // What is not there cannot be said to be forbidden: the name is looked up in the path alone.
      return 403;
    });
    await expectAll(inside, 'vera', (route) => (isNamed(route) ? 404 : 403), 'test');
    await expectAll(
      ofTenants().filter(({ path }) => !path.includes('/workspaces')),
      'vera',
      (route) => (isEvents(route) ? 200 : [200, 403, 404]),
    );
  });

  it('is bounded by a token that is for some workspaces, whatever its subject may do', async () => {
    const inside = ofTenants().filter(({ path }) => path.includes('/workspaces/:workspace/'));
    await expectAll(inside, 'narrow', (route) => (isNamed(route) ? 404 : 403), 'test');
    await expectAll(
      ofTenants().filter((route) => !reads(route) && !route.path.includes('/workspaces')),
      'narrow',
      () => [403, 404],
    );
  });

  it('that changes what all tenants share, or tells of all, is the operator’s', async () => {
    const shared = plane.routes.filter((route) => !route.path.includes('/tenants/') && !reads(route));
    expect(shared.length).toBeGreaterThan(10);
    await expectAll(shared, 'ann', () => 403);
    await expectAll(
      plane.routes.filter(({ path }) => operators.includes(path)),
      'ann',
      () => 403,
    );
    expect(await status('operator', 'GET', operators[0] ?? '')).toBe(200);
  });

  it('that is a stream is as shut by upgrade as by request', async () => {
    const place = (workspace: string, what: string): string => seca('compute', `workspaces/${workspace}/instances/x/${what}`);
    for (const what of ['console', 'vnc', 'ports/80']) {
      const answers = async (workspace: string): Promise<object> =>
        Object.fromEntries(
          await Promise.all(
            [undefined, 'eve', 'bob', 'vera', 'narrow'].map(
              async (who) => [String(who), await status(who, 'GET', place(workspace, what), true)] as const,
            ),
          ),
        );
      expect(await answers('prod'), what).toEqual({
        undefined: 401,
        eve: 403,
        bob: 404,
        vera: 403,
        narrow: expect.toSatisfy((code: number) => code >= 409),
      });
      expect(await answers('test'), what).toEqual({ undefined: 401, eve: 403, bob: 404, vera: 404, narrow: 404 });
    }
  });
});
