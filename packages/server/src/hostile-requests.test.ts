import { problemKinds } from '@virt8ra/contract';
import fc from 'fast-check';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ControlPlane, startControlPlane } from './testing/control-plane.js';
import {
  type HostileAnswer,
  type HostileOptions,
  type HostileRequest,
  hostileRequests,
  placeholder,
  type Route,
  send,
} from './testing/hostile-request.js';

/** Of every route; with a seed that is given, as in a soak, many more. */
const given = fc.readConfigureGlobal()?.seed;
const runs = given === undefined ? 6 : 100;
const seed = given ?? 20_261_128;

const tenants = ['acme', 'other'];
const world: Readonly<Record<string, object>> = {
  'seca.workspace/v1/tenants/T/workspaces/prod': {},
  'seca.network/v1/tenants/T/workspaces/prod/networks/stays': { cidr: { ipv4: '10.1.0.0/16' }, skuRef: 'skus/n1k' },
  'seca.network/v1/tenants/T/workspaces/prod/internet-gateways/stays': {},
  'seca.network/v1/tenants/T/workspaces/prod/networks/stays/route-tables/stays': {
    routes: [{ destinationCidrBlock: '0.0.0.0/0', targetRef: 'internet-gateways/stays' }],
  },
  'seca.network/v1/tenants/T/workspaces/prod/networks/stays/subnets/stays': { cidr: { ipv4: '10.1.1.0/24' } },
  'seca.network/v1/tenants/T/workspaces/prod/security-group-rules/stays': { direction: 'ingress' },
  'seca.network/v1/tenants/T/workspaces/prod/security-groups/stays': { ruleRefs: ['security-group-rules/stays'] },
  'seca.network/v1/tenants/T/workspaces/prod/public-ips/stays': { version: 'IPv4' },
  'seca.network/v1/tenants/T/workspaces/prod/nics/stays': { addresses: ['0.0.0.0'], subnetRef: 'networks/stays/subnets/stays' },
  'seca.storage/v1/tenants/T/workspaces/prod/block-storages/stays': { sizeGB: 1, skuRef: 'skus/rd100' },
  'seca.storage/v1/tenants/T/workspaces/prod/block-storages/spare': { sizeGB: 1, skuRef: 'skus/rd100' },
  'seca.compute/v1/tenants/T/workspaces/prod/instances/stays': {
    zone: 'any',
    skuRef: 'skus/seca.xs',
    bootVolume: { deviceRef: 'block-storages/stays' },
    primaryNicRef: 'nics/stays',
  },
  'virt8ra.backup/v1beta1/tenants/T/workspaces/prod/backup-schedules/stays': {
    of: { blockStorageRef: 'block-storages/spare' },
    every: { hours: 8760 },
    keep: 1,
  },
  'virt8ra.image/v1beta1/tenants/T/image-imports/stays': {
    source: { upload: { sizeBytes: 100, sha256: 'a'.repeat(64) } },
    cpuArchitecture: 'amd64',
  },
  'seca.authorization/v1/tenants/T/roles/stays': { permissions: [{ provider: 'seca.storage', resources: ['*'], verb: ['get', 'list'] }] },
  'seca.authorization/v1/tenants/T/role-assignments/stays': { subs: ['cleo'], roles: ['stays'], scopes: [{ workspaces: ['prod'] }] },
  'virt8ra.identity/v1beta1/tenants/T/service-accounts/stays': {},
  'virt8ra.quota/v1beta1/tenants/T/quotas/stays': { limits: { instances: 50, backups: 50 } },
};

let plane: ControlPlane;
let database: Client;
const tokens = new Map<string, string | undefined>();

beforeAll(async () => {
  plane = await startControlPlane([], { VIRT8RA_TENANTS: tenants.join(',') });
  database = new Client({ connectionString: plane.databaseUrl });
  await database.connect();
  await plane.addSite('gdansk', { publicAddresses: ['203.0.113.0/29'] });
  for (const tenant of tenants)
    for (const [path, spec] of Object.entries(world)) {
      const answer = await plane.call('PUT', `/providers/${path.replace('/T/', `/${tenant}/`)}`, { spec });
      expect(answer.status, `${path}: ${JSON.stringify(answer.body)}`).toBe(201);
    }
  tokens.set('operator', plane.token);
  tokens.set('ann', await plane.tokenFor('--subject', 'ann', '--tenants', 'acme'));
  tokens.set('bob', await plane.tokenFor('--subject', 'bob', '--tenants', 'acme', '--roles', 'none'));
  tokens.set('cleo', await plane.tokenFor('--subject', 'cleo', '--tenants', 'acme', '--roles', 'none'));
  tokens.set('eve', await plane.tokenFor('--subject', 'eve', '--tenants', 'other'));
  tokens.set('nobody', undefined);
}, 120_000);
afterAll(async () => {
  await database?.end();
  await plane?.stop();
}, 60_000);

const local = [
  'networks/stays',
  'networks/stays/subnets/stays',
  'subnets/stays',
  'nics/stays',
  'block-storages/spare',
  'block-storages/stays',
  'instances/stays',
].concat(
  [
    'public-ips/stays',
    'internet-gateways/stays',
    'route-tables/stays',
    'security-groups/stays',
    'security-group-rules/stays',
    'images/stays',
    'image-imports/stays',
  ],
  [
    'skus/seca.xs',
    'skus/rd100',
    'skus/n1k',
    'accounts/test',
    'providers/test',
    'sites/gdansk',
    'stays',
    'nothing/stays',
    'tenants/acme/workspaces/prod',
  ],
);
const foreign = Object.keys(world)
  .filter((path) => path.includes('/stays'))
  .map((path) => path.replace('/T/', '/other/').replace(/stays$/, placeholder));
const names = { tenant: 'acme', workspace: 'prod', network: 'stays', cluster: 'stays', name: 'stays', port: '80' };

/** What may follow a path whose every request is let through: requests of the same body to what is there and to what is not. */
const isUpgrade = ({ headers }: HostileRequest): boolean => headers['upgrade'] !== undefined;

/** What callers have made, as they made it; what the control plane finds out about it meanwhile is no part of this. */
async function standing(): Promise<unknown> {
  const { rows } = await database.query(
    `select (select md5(string_agg(concat_ws('|', uid, kind, parent, name, spec, labels, annotations, extensions), ',' order by uid))
       from resource where deleted_at is null and kind not in ('region', 'backup')) as resources,
       (select sum(amount) from quota_hold join resource using (uid) where deleted_at is null and kind <> 'backup') as held, (select count(*) from audit where code < 400 and remote <> '') as acts`,
  );
  return rows[0];
}

function assertWellAnswered({ method }: HostileRequest, { status, headers, body }: HostileAnswer): void {
  const told = `${status} ${JSON.stringify(headers)} ${body.slice(0, 2000)}`;
  if (status < 200 || status >= 500) throw new Error(`a failure of ours: ${told}`);
  if (!/^[0-9a-f-]{36}$/.test(String(headers['x-request-id']))) throw new Error(`no id: ${told}`);
  if (status < 400 || method === 'HEAD') return;
  if (!/^application\/problem\+json(; charset=utf-8)?$/.test(String(headers['content-type']))) throw new Error(`no problem: ${told}`);
  const document = JSON.parse(body) as Record<string, unknown>;
  const isProblem =
    document['status'] === status &&
    problemKinds.some((kind) => kind === document['code']) &&
    ['type', 'title', 'detail'].every((name) => typeof document[name] === 'string' && document[name] !== '') &&
    Array.isArray(document['sources']);
  if (!isProblem) throw new Error(`not a whole problem: ${told}`);
  if (/node_modules|\.[jt]s:\d|_readableState|\[object |syntax error at|violates/.test(body))
    throw new Error(`tells of our inside: ${told}`);
}

/** Tries a property on every route; raises with all that it was broken by. */
async function onEveryRoute(
  routes: readonly Route[],
  options: HostileOptions,
  holds: (request: HostileRequest, who: string, route: Route) => Promise<void>,
  subjects: readonly string[],
): Promise<number> {
  const broken: string[] = [];
  let tried = 0;
  for (const route of routes) {
    const cases = fc.tuple(hostileRequests(route, options), fc.constantFrom(...subjects));
    const property = fc.asyncProperty(cases, async ([request, who]) => {
      tried += 1;
      await holds(request, who, route);
    });
    const result = await fc.check(property, {
      seed,
      numRuns: runs,
      endOnFailure: false,
      interruptAfterTimeLimit: 60_000,
      markInterruptAsFailure: true,
    });
    if (!result.failed) continue;
    if (result.counterexample === null) {
      broken.push(`${route.method} ${route.path} did not end; after ${result.numRuns} of ${runs}`);
      continue;
    }
    const [[request, who]] = result.counterexample;
    const { body } = request;
    broken.push(
      `${route.method} ${route.path} by ${who}: ${request.method} ${request.path.slice(0, 500)} ${JSON.stringify(request.headers).slice(0, 300)} ${body?.toString('utf8').slice(0, 600) ?? ''}\n   ${String((result.errorInstance as Error | null)?.message)}`,
    );
  }
  if (broken.length > 0) throw new Error(`${broken.length} of ${routes.length} routes:\n${broken.join('\n')}`);
  return tried;
}

const ofTenants = (): readonly Route[] => plane.routes.filter(({ path }) => path.includes('/tenants/:tenant'));
const quoted = (text: string, path: string): string => text.replaceAll(path, '').replaceAll(/never|stays/g, placeholder);

describe('hostile requests', () => {
  it('to any route are answered, with a problem that is whole when they are refused, and then nothing has changed', {
    timeout: given === undefined ? 120_000 : 1_800_000,
  }, async () => {
    expect(plane.routes.length).toBeGreaterThan(150);
    let before = await standing();
    const tried = await onEveryRoute(
      plane.routes,
      { names, references: [...local, ...foreign.map((path) => path.replace(placeholder, 'stays'))] },
      async (request, who) => {
        const answer = await send(plane.url, request, tokens.get(who));
        assertWellAnswered(request, answer);
        const after = await standing();
        const changed = JSON.stringify(after) !== JSON.stringify(before);
        const was = before;
        before = after;
        if (changed && answer.status >= 400)
          throw new Error(
            `refused with ${answer.status}, and yet it changed: ${JSON.stringify([was, after])} ${answer.body.slice(0, 500)}`,
          );
      },
      ['operator', 'operator', 'operator', 'ann', 'ann', 'bob', 'cleo', 'eve', 'nobody'],
    );
    expect(tried).toBeGreaterThanOrEqual(plane.routes.length * runs);
    const { status } = await plane.call('GET', '/readyz');
    expect(status).toBe(200);
    expect(plane.log.lines.filter(({ level }) => level === 'error').slice(0, 5)).toEqual([]);
  });

  it('that name what no database can hold, in any part of any path, are answered like all others', async () => {
    for (const route of plane.routes)
      for (const part of route.path.match(/:\w+/g) ?? []) {
        const path = route.path.replace(part, 'a%00b').replaceAll(/:(\w+)/g, (_whole, name: keyof typeof names) => names[name] ?? 'stays');
        const request = { method: route.method, path, headers: {}, body: undefined };
        const answer = await send(plane.url, request, tokens.get('operator'));
        assertWellAnswered(request, answer);
        expect(answer.status, `${route.method} ${path}`).toBeGreaterThanOrEqual(400);
      }
  });

  it('learn nothing of what another tenant has, or of what a role does not show', {
    timeout: given === undefined ? 120_000 : 1_800_000,
  }, async () => {
    const same = async (request: HostileRequest, who: string): Promise<void> => {
      const answers: { readonly status: number; readonly text: string }[] = [];
      for (const name of ['never', 'stays']) {
        const path = request.path.replaceAll(placeholder, name);
        const body =
          request.body === undefined ? undefined : Buffer.from(request.body.toString('latin1').replaceAll(placeholder, name), 'latin1');
        const { status, body: text } = await send(plane.url, { ...request, path, body }, tokens.get(who));
        // What was done cannot be asked a second time.
        if (status < 400) return;
        answers.push({ status, text: quoted(text, path.split('?', 1)[0] ?? '') });
      }
      if (JSON.stringify(answers[0]) !== JSON.stringify(answers[1]))
        throw new Error(`absent and there differ: ${JSON.stringify(answers).slice(0, 3000)}`);
    };
    const named = ofTenants().filter(({ path }) => path.includes(':name'));
    // By path: a stranger, and somebody of the tenant without a role.
    await onEveryRoute(
      named,
      { names: { ...names, name: placeholder }, references: local, oddPaths: 0 },
      async (request, who) => (isUpgrade(request) ? undefined : await same(request, who)),
      ['eve', 'bob'],
    );
    // By reference: somebody who may do everything in a tenant of their own.
    const writing = ofTenants().filter(({ method }) => method === 'PUT' || method === 'POST');
    await onEveryRoute(
      writing,
      { names: { ...names, name: 'probe' }, references: foreign, oddPaths: 0 },
      async (request, who) => (request.path.includes('/probe') ? await same(request, who) : undefined),
      ['ann'],
    );
  });
});
