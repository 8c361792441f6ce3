import { instance as testInstance } from '@virt8ra/contract';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  disksPath,
  importsPath,
  instancesPath,
  siteSpec,
  sitesPath,
  startTestServer,
  type TestServer,
  workspacesPath,
} from './testing/test-server.js';

let server: TestServer;
const diskSpec = { sizeGB: 10, skuRef: { resource: 'skus/RD500' } };
const instanceSpec = { zone: 'any', skuRef: 'skus/D2XS', bootVolume: { deviceRef: 'block-storages/d1' } };

beforeAll(async () => {
  server = await startTestServer();
});
afterAll(async () => await server?.stop());
beforeEach(async () => {
  server.nudged.length = 0;
  server.content.bytes = Buffer.alloc(0);
  await server.pool.query(
    'truncate resource, workspace_load, tombstone, resource_label, resource_reference, realization, progress, audit, feed cascade',
  );
  await server.call('PUT', `${workspacesPath}/prod`, { body: { spec: null } });
});

const states = (document: { status: { conditions: { state: string }[] } }) =>
  document.status.conditions.map((condition) => condition.state);

describe('PUT', () => {
  it('creates with 201 in SECA’s envelope and reads back the same but for the verb', async () => {
    const body = { labels: { env: 'prod' }, annotations: { a: 'b' }, extensions: { 'virt8ra.site': 'gdansk' }, spec: diskSpec };
    const made = await server.call('PUT', `${disksPath}/d1`, { body });
    expect(made.statusCode).toBe(201);
    expect(made.headers['content-type']).toMatch(/^application\/json/);
    const document = made.json();
    expect(document).toMatchObject({
      ...body,
      metadata: {
        name: 'd1',
        provider: 'seca.storage/v1',
        resource: 'block-storages/d1',
        verb: 'PUT',
        apiVersion: 'v1',
        kind: 'block-storage',
        ref: 'seca.storage/v1/tenants/acme/workspaces/prod/block-storages/d1',
        resourceVersion: 1,
        tenant: 'acme',
        workspace: 'prod',
        region: 'eu-test',
      },
      status: {
        state: 'active',
        sizeGB: 10,
        conditions: [{ state: 'active', type: 'Placed' }, { state: 'creating' }, { state: 'pending' }],
      },
    });
    const read = await server.call('GET', `${disksPath}/d1`);
    expect(read.statusCode).toBe(200);
    expect(read.json()).toEqual({ ...document, metadata: { ...document.metadata, verb: 'GET' } });
  });

  it('passes updating inside the request, so that the next GET has the whole history', async () => {
    await server.call('PUT', `${disksPath}/d1`, { body: { spec: diskSpec } });
    const updated = await server.call('PUT', `${disksPath}/d1`, { body: { spec: { ...diskSpec, sizeGB: 20 } } });
    expect(updated.statusCode).toBe(200);
    expect(updated.json()).toMatchObject({ metadata: { resourceVersion: 2 }, status: { state: 'active', sizeGB: 20 } });
    expect(states((await server.call('GET', `${disksPath}/d1`)).json())).toEqual(['active', 'updating', 'active', 'creating', 'pending']);
  });

  it('leaves to reconcile what cannot be active at once, and wakes it', async () => {
    const made = await server.call('PUT', `${instancesPath}/i1`, { body: { spec: instanceSpec } });
    expect(made.json()).toMatchObject({ status: { state: 'creating', powerState: 'off' } });
    expect(states(made.json())).toEqual(['creating', 'pending']);
    expect(server.nudged).toHaveLength(1);
    expect(server.nudged[0]).toMatch(/^instance\/res_/);
  });

  it('writes nothing for what stands already', async () => {
    const first = await server.call('PUT', `${disksPath}/d1`, { body: { labels: { b: '2', a: '1' }, spec: diskSpec } });
    const count = async () =>
      (await server.pool.query('select (select count(*) from feed) + (select count(*) from audit) as count')).rows[0];
    const before = await count();
    const again = await server.call('PUT', `${disksPath}/d1`, { body: { spec: diskSpec, labels: { a: '1', b: '2' } } });
    expect(again.statusCode).toBe(200);
    expect(again.json()).toEqual(first.json());
    expect(await count()).toEqual(before);
  });

  it('ignores the dummies SECA clients send', async () => {
    const body = {
      labels: null,
      metadata: { createdAt: '0001-01-01T00:00:00Z', resourceVersion: 0, name: '', region: 'eu-test', tenant: 'zzz' },
      spec: diskSpec,
      status: { conditions: null, sizeGB: -1, state: 'error' },
    };
    const made = await server.call('PUT', `${disksPath}/d1`, { body });
    expect(made.statusCode).toBe(201);
    expect(made.json().metadata).toMatchObject({ tenant: 'acme', resourceVersion: 1 });
  });

  it('keeps the caller’s own words in the spec', async () => {
    const spec = { sizeGB: 1, skuRef: 'tenants/seca/skus/RD500' };
    await server.call('PUT', `${disksPath}/d1`, { body: { spec } });
    expect((await server.call('GET', `${disksPath}/d1`)).json().spec).toEqual(spec);
  });

  it('refuses what may not change, with a pointer and what to do instead', async () => {
    await server.call('PUT', `${instancesPath}/i1`, { body: { spec: instanceSpec } });
    const spec = { ...instanceSpec, zone: 'gdansk', bootVolume: { deviceRef: 'block-storages/d2' } };
    const refused = await server.call('PUT', `${instancesPath}/i1`, { body: { spec } });
    expect(refused.statusCode).toBe(422);
    expect(refused.json().sources).toEqual([{ pointer: '/spec/zone' }, { pointer: '/spec/bootVolume/deviceRef' }]);
    expect(refused.json().detail).toContain('virt8ra migrate');
    const same = await server.call('PUT', `${instancesPath}/i1`, {
      body: { spec: { ...instanceSpec, skuRef: { resource: 'skus/D2XS' } } },
    });
    expect(same.statusCode).toBe(200);
  });

  it('says what the kind’s own rules say', async () => {
    await server.call('PUT', `${disksPath}/d1`, { body: { spec: diskSpec } });
    const refused = await server.call('PUT', `${disksPath}/d1`, { body: { spec: { ...diskSpec, sizeGB: 5 } } });
    expect(refused.statusCode).toBe(422);
    expect((await server.call('GET', `${disksPath}/d1`)).json().metadata.resourceVersion).toBe(1);
  });

  it('needs a parent that stands', async () => {
    const missing = await server.call('PUT', `${disksPath.replace('/prod/', '/none/')}/d1`, { body: { spec: diskSpec } });
    expect([missing.statusCode, missing.json().sources]).toEqual([404, [{ parameter: 'workspace' }]]);
    const subnet = '/providers/seca.network/v1/tenants/acme/workspaces/prod/networks/n1/subnets/s1';
    const spec = { cidr: { ipv4: '10.0.0.0/24' } };
    expect((await server.call('PUT', subnet, { body: { spec } })).statusCode).toBe(404);
    const network = { spec: { cidr: { ipv4: '10.0.0.0/16' }, skuRef: 'skus/N1K' } };
    await server.call('PUT', '/providers/seca.network/v1/tenants/acme/workspaces/prod/networks/n1', { body: network });
    const made = await server.call('PUT', subnet, { body: { spec } });
    expect(made.json().metadata).toMatchObject({ network: 'n1', resource: 'networks/n1/subnets/s1' });
  });

  it('writes the audit row with the change, without the spec in it', async () => {
    await server.call('PUT', `${instancesPath}/i1`, { body: { spec: { ...instanceSpec, userData: 'secret words' } } });
    const { rows } = await server.pool.query("select * from audit where resource like '%instances/i1'");
    expect(rows).toHaveLength(1);
    expect(rows[0]).toMatchObject({ subject: 'ann', remote: '127.0.0.1', verb: 'put', code: 201, before: null });
    expect(JSON.stringify(rows)).not.toContain('secret');
  });
});

describe('the optimistic lock', () => {
  const put = async (sizeGB: number, version?: string) =>
    await server.call('PUT', `${disksPath}/d1`, {
      body: { spec: { ...diskSpec, sizeGB } },
      ...(version === undefined ? {} : { headers: { 'if-unmodified-since': version } }),
    });

  it('lets one of several through that read the same version', async () => {
    await put(10);
    const answers = await Promise.all(Array.from({ length: 8 }, async (_, index) => await put(11 + index, '1')));
    const codes = answers.map((answer) => answer.statusCode).sort();
    expect(codes).toEqual([200, ...Array<number>(7).fill(412)]);
    const winner = answers.find((answer) => answer.statusCode === 200);
    const stored = (await server.call('GET', `${disksPath}/d1`)).json();
    expect(stored.spec).toEqual(winner?.json().spec);
    expect(stored.metadata.resourceVersion).toBe(2);
    expect(answers.find((answer) => answer.statusCode === 412)?.json()).toMatchObject({
      code: 'precondition-failed',
      meta: { resourceVersion: 2 },
    });
  });

  it('lets one of several through that want to create', async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, async (_, index) => await put(11 + index, '0')));
    expect(answers.map((answer) => answer.statusCode).sort()).toEqual([201, ...Array<number>(7).fill(412)]);
  });

  it('holds for DELETE and actions too, and refuses dates', async () => {
    await server.call('PUT', `${instancesPath}/i1`, { body: { spec: instanceSpec } });
    const headers = { 'if-unmodified-since': '7' };
    expect((await server.call('DELETE', `${instancesPath}/i1`, { headers })).statusCode).toBe(412);
    expect((await server.call('POST', `${instancesPath}/i1/start`, { headers })).statusCode).toBe(412);
    const dated = await put(10, 'Sat, 29 Oct 2026 19:43:31 GMT');
    expect([dated.statusCode, dated.json().sources]).toEqual([400, [{ parameter: 'if-unmodified-since' }]]);
    expect((await put(10, '1')).statusCode).toBe(412);
  });
});

describe('DELETE', () => {
  it('is repeatable while it lasts, keeps the resource readable, and refuses a PUT meanwhile', async () => {
    await server.call('PUT', `${instancesPath}/i1`, { body: { spec: instanceSpec } });
    for (let round = 0; round < 2; round += 1) {
      const answer = await server.call('DELETE', `${instancesPath}/i1`);
      expect([answer.statusCode, answer.body]).toEqual([202, '']);
    }
    const going = (await server.call('GET', `${instancesPath}/i1`)).json();
    expect(going.status.state).toBe('deleting');
    expect(going.metadata.deletedAt).toBeDefined();
    expect(states(going)).toEqual(['deleting', 'creating', 'pending']);
    expect((await server.call('PUT', `${instancesPath}/i1`, { body: { spec: instanceSpec } })).statusCode).toBe(409);
    expect((await server.call('POST', `${instancesPath}/i1/start`)).statusCode).toBe(409);
    const { rowCount } = await server.pool.query("select 1 from audit where verb = 'delete'");
    expect(rowCount).toBe(1);
  });

  it('takes a mere record out at once, and then is 404', async () => {
    await server.call('PUT', `${disksPath}/d1`, { body: { spec: diskSpec } });
    expect((await server.call('DELETE', `${disksPath}/d1`)).statusCode).toBe(202);
    expect((await server.call('DELETE', `${disksPath}/d1`)).statusCode).toBe(404);
    expect((await server.call('GET', `${disksPath}/d1`)).statusCode).toBe(404);
    const only = await server.call('GET', disksPath, { headers: { accept: 'application/json; deleted=only' } });
    expect(only.json().items).toMatchObject([{ metadata: { name: 'd1', deletedAt: expect.any(String) } }]);
  });

  it('is refused by the kind’s own rules', async () => {
    await server.call('PUT', `${disksPath}/d1`, { body: { spec: diskSpec } });
    expect((await server.call('DELETE', `${workspacesPath}/prod`)).statusCode).toBe(409);
    expect((await server.call('GET', `${workspacesPath}/prod`)).json().status).toMatchObject({ state: 'active', resourceCount: 1 });
  });
});

describe('a list', () => {
  it('pages without ever giving out an empty page', async () => {
    for (let index = 0; index < 7; index += 1) {
      const labels = { env: index % 2 === 0 ? 'prod' : 'test' };
      await server.call('PUT', `${disksPath}/d${index}`, { body: { labels, spec: diskSpec } });
    }
    const seen: string[] = [];
    let skipToken: string | undefined;
    do {
      const query = `?limit=2&labels=${encodeURIComponent('env=prod')}${skipToken === undefined ? '' : `&skipToken=${skipToken}`}`;
      const page = (await server.call('GET', `${disksPath}${query}`)).json();
      expect(page.items.length).toBeGreaterThan(0);
      expect(page.metadata).toMatchObject({ provider: 'seca.storage/v1', resource: 'block-storages', verb: 'GET' });
      seen.push(...page.items.map((item: { metadata: { name: string } }) => item.metadata.name));
      skipToken = page.metadata.skipToken;
    } while (skipToken !== undefined);
    expect(seen).toEqual(['d0', 'd2', 'd4', 'd6']);
    const empty = (await server.call('GET', `${disksPath}?labels=env%3Dnone`)).json();
    expect(empty).toEqual({ items: [], metadata: { provider: 'seca.storage/v1', resource: 'block-storages', verb: 'GET' } });
  });

  it.each([
    ['limit=0', 'limit'],
    ['limit=10001', 'limit'],
    ['limit=ten', 'limit'],
    ['limit=1&limit=2', 'limit'],
    ['labels=env', 'labels'],
    ['labels=a%3E%3Db', 'labels'],
    ['labels=a%3D%00', 'labels'],
    ['skipToken=abc', 'skipToken'],
    ['skipToken=WzEsIngiLCJhIl0', 'skipToken'],
  ])('refuses %s', async (query, parameter) => {
    const answer = await server.call('GET', `${disksPath}?${query}`);
    expect([answer.statusCode, answer.json().sources]).toEqual([400, [{ parameter }]]);
  });

  it('ignores parameters it does not know', async () => {
    expect((await server.call('GET', `${disksPath}?pretty=1`)).statusCode).toBe(200);
  });
});

describe('actions and progress', () => {
  it('answers 202 without a body, or 200 with one', async () => {
    await server.call('PUT', `${instancesPath}/i1`, { body: { spec: instanceSpec } });
    const started = await server.call('POST', `${instancesPath}/i1/start`);
    expect([started.statusCode, started.body]).toEqual([202, '']);
    expect((await server.call('GET', `${instancesPath}/i1`)).json().status).toMatchObject({ state: 'updating', powerState: 'on' });
    const typed = await server.call('POST', `${instancesPath}/i1/restart`, { headers: { 'content-type': 'application/json' } });
    expect(typed.statusCode).toBe(202);
    expect((await server.call('POST', `${instancesPath}/i1/stop`)).statusCode).toBe(409);
    expect((await server.call('POST', `${instancesPath}/i2/start`)).statusCode).toBe(404);
    expect((await server.call('POST', `${instancesPath}/i1/explode`)).statusCode).toBe(404);
    const hosts = '/providers/virt8ra.topology/v1beta1/hosts/h1';
    await server.call('PUT', hosts, { token: 'operator-token', body: { spec: { siteRef: 'sites/s1' } } });
    const enrolled = await server.call('POST', `${hosts}/enrol`, { token: 'operator-token' });
    expect([enrolled.statusCode, enrolled.json()]).toEqual([200, expect.objectContaining({ token: 'once', host: 'h1' })]);
    expect((await server.call('POST', `${hosts}/enrol`)).statusCode).toBe(403);
  });

  it('serves progress beside the resource', async () => {
    const made = await server.call('PUT', `${instancesPath}/i1`, { body: { spec: instanceSpec } });
    expect(made.statusCode).toBe(201);
    expect((await server.call('GET', `${instancesPath}/i1/progress`)).statusCode).toBe(404);
    await server.store.transaction(async (tx) => {
      const [item] = (await tx.list(testInstance, { tenant: 'acme', workspace: 'prod' }, { selector: [], limit: 1, after: undefined }))
        .items;
      if (item !== undefined) await tx.setProgress(item.uid, { phase: 'copy', bytes: 1, totalBytes: 2, bytesPerSecond: 1, etaSeconds: 1 });
    });
    expect((await server.call('GET', `${instancesPath}/i1/progress`)).json()).toMatchObject({
      phase: 'copy',
      updatedAt: expect.any(String),
    });
  });
});

describe('content', () => {
  const sha256 = 'a'.repeat(64);
  const type = 'application/offset+octet-stream';
  beforeEach(async () => {
    const spec = { source: { upload: { sizeBytes: 10, sha256 } }, cpuArchitecture: 'amd64' };
    await server.call('PUT', `${importsPath}/disk`, { body: { spec } });
  });
  const patch = async (offset: string, bytes: string, headers: Readonly<Record<string, string>> = {}) =>
    await server.call('PATCH', `${importsPath}/disk/content`, {
      body: Buffer.from(bytes),
      headers: { 'content-type': type, 'upload-offset': offset, ...headers },
    });

  it('is appended and resumed, and ends at what was declared', async () => {
    const head = await server.call('HEAD', `${importsPath}/disk/content`);
    expect([head.statusCode, head.headers['upload-offset'], head.headers['upload-length']]).toEqual([204, '0', '10']);
    const first = await patch('0', '{"no');
    expect([first.statusCode, first.headers['upload-offset']]).toEqual([204, '4']);
    expect((await patch('0', 'again')).statusCode).toBe(409);
    expect((await patch('4', '1234567')).statusCode).toBe(413);
    expect((await patch('4', '123456')).statusCode).toBe(204);
    expect(server.content.bytes.toString()).toBe('{"no123456');
  });

  it.each([
    ['no offset', '', type, 400],
    ['a negative offset', '-1', type, 400],
    ['the wrong type', '0', 'application/json', 400],
  ])('refuses %s', async (_title, offset, contentType, code) => {
    expect((await patch(offset, 'x', { 'content-type': contentType })).statusCode).toBe(code);
  });
});

describe('who may', () => {
  it.each([null, 'nonsense', ''])('be told nothing with the token %j', async (token) => {
    for (const path of [disksPath, `${disksPath}/d1`, '/nowhere', sitesPath]) {
      const answer = await server.call('GET', path, { token });
      expect(answer.statusCode).toBe(401);
      expect(answer.headers['www-authenticate']).toBe('Bearer');
      expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/);
    }
    expect((await server.call('PUT', `${disksPath}/d1`, { token, body: { spec: diskSpec } })).statusCode).toBe(401);
    expect((await server.call('GET', `${disksPath}/d1`)).statusCode).toBe(404);
  });

  it('use a tenant: only its own subjects, whatever exists', async () => {
    for (const path of [disksPath, `${disksPath}/d1`, `${disksPath.replace('acme', 'ghost')}`]) {
      expect((await server.call('GET', path, { token: 'other-token' })).statusCode).toBe(403);
    }
    const foreign = { token: 'other-token', body: { spec: diskSpec } };
    expect((await server.call('PUT', `${disksPath}/d1`, foreign)).statusCode).toBe(403);
    expect((await server.call('DELETE', `${disksPath}/d1`, { token: 'other-token' })).statusCode).toBe(403);
    expect((await server.call('GET', disksPath, { token: 'operator-token' })).statusCode).toBe(200);
  });

  it('change the topology: the operator only; all read it', async () => {
    const body = { spec: siteSpec };
    expect((await server.call('PUT', `${sitesPath}/gdansk`, { body })).statusCode).toBe(403);
    expect((await server.call('PUT', `${sitesPath}/gdansk`, { body, token: 'operator-token' })).statusCode).toBe(201);
    expect((await server.call('GET', `${sitesPath}/gdansk`)).json().metadata).not.toHaveProperty('tenant');
    expect((await server.call('DELETE', `${sitesPath}/gdansk`)).statusCode).toBe(403);
  });

  it.each(['/healthz', '/readyz', '/metrics', '/.wellknown/secapi', '/openapi.json'])('read %s without a token', async (path) => {
    expect((await server.call('GET', path, { token: null })).statusCode).toBe(200);
  });
});

describe('the region', () => {
  it('shows the sites as zones and the kinds’ services', async () => {
    await server.call('PUT', `${sitesPath}/gdansk`, { body: { spec: siteSpec }, token: 'operator-token' });
    const path = '/providers/seca.region/v1/regions';
    const one = (await server.call('GET', `${path}/eu-test`)).json();
    expect(one.spec.availableZones).toEqual(['any', 'gdansk']);
    expect(one.spec.providers).toContainEqual({
      name: 'seca.compute',
      version: 'v1',
      url: expect.stringMatching(/\/providers\/seca\.compute$/),
    });
    expect(one.metadata).toMatchObject({ kind: 'region', ref: 'seca.region/v1/regions/eu-test' });
    expect(one).not.toHaveProperty('status');
    const list = (await server.call('GET', path)).json();
    expect(list.items).toEqual([one]);
    expect((await server.call('GET', `${path}/other`)).statusCode).toBe(404);
    expect((await server.call('PUT', `${path}/eu-test`, { body: { spec: {} } })).statusCode).toBe(404);
  });
});

describe('the description', () => {
  it('has the routes of every kind and resolves all its references', async () => {
    const text = (await server.call('GET', '/openapi.json')).body;
    const document = JSON.parse(text);
    expect(document.openapi).toBe('3.1.0');
    const item = '/providers/seca.compute/v1/tenants/{tenant}/workspaces/{workspace}/instances/{name}';
    expect(Object.keys(document.paths[item])).toEqual(['parameters', 'get', 'put', 'delete']);
    expect(document.paths[`${item}/start`].post).toBeDefined();
    expect(document.paths['/providers/seca.storage/v1/tenants/{tenant}/skus/{name}'].put).toBeUndefined();
    const names = [...text.matchAll(/"#\/components\/schemas\/(\w+)"/g)].map(([, name]) => name ?? '');
    for (const name of names) expect(document.components.schemas).toHaveProperty(name);
  });
});

describe('readiness', () => {
  it('says so when the database is away', async () => {
    const broken = await startTestServer({ ready: async () => await Promise.reject(Object.assign(new Error('x'), { code: '57P01' })) });
    const answer = await broken.call('GET', '/readyz', { token: null });
    expect([answer.statusCode, answer.headers['retry-after']]).toEqual([503, '1']);
    await broken.stop();
  });
});
