import { request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:net';
import { Problem, workspace } from '@virt8ra/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { disksPath, instancesPath, startTestServer, type TestServer, workspacesPath } from './testing/test-server.js';

let server: TestServer;
const disk = `${disksPath}/d1`;
const spec = '{"sizeGB":1,"skuRef":"skus/RD500"}';

beforeAll(async () => {
  server = await startTestServer();
  await server.call('PUT', `${workspacesPath}/prod`, { body: { spec: {} } });
  await server.http.listen({ host: '127.0.0.1', port: 0 });
});
afterAll(async () => await server?.stop());

const nested = (depth: number): string => `{"spec":${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}}`;

interface Row {
  readonly title: string;
  readonly path?: string;
  readonly body?: string | Buffer;
  readonly headers?: Readonly<Record<string, string>>;
  readonly status: number;
  readonly code: string;
  /** First source. */
  readonly source?: object;
  readonly detail?: RegExp;
}

const rows: readonly Row[] = [
  { title: 'an empty body', body: '', status: 400, code: 'invalid-request', detail: /empty/ },
  { title: 'nothing but spaces', body: ' \n ', status: 400, code: 'invalid-request', detail: /line 2, column 2/ },
  { title: 'a cut body', body: '{"spec":{"sizeGB":', status: 400, code: 'invalid-request', detail: /line 1, column 19/ },
  { title: 'a comma too many', body: '{\n  "spec": {},\n}', status: 400, code: 'invalid-request', detail: /line 3, column 1/ },
  { title: 'a bare word', body: '{"spec":nope}', status: 400, code: 'invalid-request', detail: /line 1, column 9/ },
  { title: 'a control character', body: '{"spec":"a\u0001"}', status: 400, code: 'invalid-request', detail: /line 1, column 11/ },
  { title: 'what is not UTF-8', body: Buffer.from([0x7b, 0xff, 0x7d]), status: 400, code: 'invalid-request', detail: /UTF-8/ },
  {
    title: 'another content type',
    body: 'spec: {}',
    headers: { 'content-type': 'application/yaml' },
    status: 400,
    code: 'invalid-request',
    source: { parameter: 'content-type' },
  },
  { title: 'a text', body: '"x"', status: 422, code: 'validation', source: { pointer: '' } },
  { title: 'a list', body: '[]', status: 422, code: 'validation', source: { pointer: '' } },
  { title: 'null', body: 'null', status: 422, code: 'validation', source: { pointer: '' } },
  {
    title: 'no spec',
    body: '{}',
    status: 422,
    code: 'validation',
    source: { pointer: '/spec/sizeGB' },
    detail: /\/spec\/sizeGB is missing; \/spec\/skuRef is missing/,
  },
  { title: 'an unknown member', body: `{"spec":${spec},"specs":1}`, status: 422, code: 'validation', source: { pointer: '/specs' } },
  {
    title: 'an unknown member of the spec',
    body: '{"spec":{"sizeGB":1,"skuRef":"a","x":1}}',
    status: 422,
    code: 'validation',
    source: { pointer: '/spec/x' },
  },
  {
    title: 'a wrong type',
    body: '{"spec":{"sizeGB":"1","skuRef":"a"}}',
    status: 422,
    code: 'validation',
    source: { pointer: '/spec/sizeGB' },
    detail: /a whole number, not "1"/,
  },
  {
    title: 'a fraction',
    body: '{"spec":{"sizeGB":1.5,"skuRef":"a"}}',
    status: 422,
    code: 'validation',
    source: { pointer: '/spec/sizeGB' },
  },
  {
    title: 'a number out of range',
    body: '{"spec":{"sizeGB":0,"skuRef":"a"}}',
    status: 422,
    code: 'validation',
    source: { pointer: '/spec/sizeGB' },
    detail: /at least 1/,
  },
  {
    title: 'a number beyond numbers',
    body: '{"spec":{"sizeGB":1e999,"skuRef":"a"}}',
    status: 422,
    code: 'validation',
    source: { pointer: '/spec/sizeGB' },
  },
  {
    title: 'a reference of a wrong type',
    body: '{"spec":{"sizeGB":1,"skuRef":7}}',
    status: 422,
    code: 'validation',
    source: { pointer: '/spec/skuRef' },
    detail: /a text or an object/,
  },
  {
    title: 'a reference with an unknown member',
    body: '{"spec":{"sizeGB":1,"skuRef":{"resource":"a","x":1}}}',
    status: 422,
    code: 'validation',
    source: { pointer: '/spec/skuRef/x' },
  },
  {
    title: 'a reference too long',
    body: `{"spec":{"sizeGB":1,"skuRef":"${'a'.repeat(257)}"}}`,
    status: 422,
    code: 'validation',
    source: { pointer: '/spec/skuRef' },
  },
  {
    title: 'a label too long',
    body: `{"labels":{"a":"${'b'.repeat(64)}"},"spec":${spec}}`,
    status: 422,
    code: 'validation',
    source: { pointer: '/labels/a' },
  },
  {
    title: 'a label key no selector can name',
    body: `{"labels":{"a=b":"c"},"spec":${spec}}`,
    status: 422,
    code: 'validation',
    source: { pointer: '/labels' },
  },
  {
    title: 'too many labels',
    body: `{"labels":${JSON.stringify(Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`k${index}`, 'v'])))},"spec":${spec}}`,
    status: 422,
    code: 'validation',
    source: { pointer: '/labels' },
  },
  {
    title: 'an annotation that is no text',
    body: `{"annotations":{"a":{}},"spec":${spec}}`,
    status: 422,
    code: 'validation',
    source: { pointer: '/annotations/a' },
  },
  {
    title: 'U+0000 in a label',
    body: `{"labels":{"a":"\\u0000"},"spec":${spec}}`,
    status: 422,
    code: 'validation',
    source: { pointer: '/labels/a' },
  },
  {
    title: 'half a surrogate pair',
    body: `{"labels":{"a":"\\ud800"},"spec":${spec}}`,
    status: 422,
    code: 'validation',
    source: { pointer: '/labels/a' },
  },
  {
    title: 'half a surrogate pair in a key',
    body: `{"labels":{"\\udfff":"a"},"spec":${spec}}`,
    status: 422,
    code: 'validation',
    source: { pointer: '/labels' },
  },
  {
    title: '__proto__ in the body',
    body: `{"__proto__":{"spec":${spec}}}`,
    status: 422,
    code: 'validation',
    source: { pointer: '/__proto__' },
  },
  {
    title: '__proto__ in labels',
    body: `{"labels":{"__proto__":"x"},"spec":${spec}}`,
    status: 422,
    code: 'validation',
    source: { pointer: '/labels/__proto__' },
  },
  { title: 'a nesting of 40', body: nested(40), status: 400, code: 'invalid-request', detail: /nested/ },
  { title: 'a nesting of 100,000', body: nested(100_000), status: 400, code: 'invalid-request', detail: /nested/ },
  { title: 'a nesting without an end', body: '['.repeat(500_000), status: 400, code: 'invalid-request', detail: /column 500001/ },
  {
    title: 'a body beyond 1 MiB',
    body: `{"annotations":{"a":"${'x'.repeat(1024 * 1024)}"},"spec":${spec}}`,
    status: 413,
    code: 'too-large',
  },
  {
    title: 'a region that is not ours',
    body: `{"metadata":{"region":"mars"},"spec":${spec}}`,
    status: 422,
    code: 'validation',
    source: { pointer: '/metadata/region' },
  },
  {
    title: 'a name that is not the path’s',
    body: `{"metadata":{"name":"d2"},"spec":${spec}}`,
    status: 422,
    code: 'validation',
    source: { pointer: '/metadata/name' },
  },
  {
    title: 'a kind that is not the path’s',
    body: `{"kind":"instance","spec":${spec}}`,
    status: 422,
    code: 'validation',
    source: { pointer: '/kind' },
  },
  { title: 'a name too long', path: `${disksPath}/${'a'.repeat(129)}`, status: 422, code: 'validation', source: { parameter: 'name' } },
  {
    title: 'a name of 3000 characters',
    path: `${disksPath}/${'a'.repeat(3000)}`,
    status: 422,
    code: 'validation',
    source: { parameter: 'name' },
  },
  { title: 'an upper-case name', path: `${disksPath}/Disk`, status: 422, code: 'validation', source: { parameter: 'name' } },
  { title: 'U+0000 in the name', path: `${disksPath}/a%00b`, status: 422, code: 'validation', source: { parameter: 'name' } },
  { title: 'a slash in the name', path: `${disksPath}/..%2F..%2Fx`, status: 422, code: 'validation', source: { parameter: 'name' } },
  {
    title: 'a URN of another tenant as workspace',
    path: disk.replace('/prod/', '/seca.workspace%2Fv1%2Ftenants%2Fother%2Fworkspaces%2Fprod/'),
    status: 422,
    code: 'validation',
    source: { parameter: 'workspace' },
  },
  { title: 'a path that is no URL', path: `${disksPath}/%zz`, status: 400, code: 'invalid-request' },
  { title: 'an unknown kind', path: disk.replace('block-storages', 'unicorns'), status: 404, code: 'not-found' },
  { title: 'an unknown version', path: disk.replace('/v1/', '/v9/'), status: 404, code: 'not-found' },
  { title: 'an unknown provider', path: disk.replace('seca.storage', '__proto__'), status: 404, code: 'not-found' },
];

describe('a PUT with', () => {
  it.each(rows)(
    '$title is refused and changes nothing',
    async ({ path = disk, body = `{"spec":${spec}}`, headers = {}, status, code, source, detail }) => {
      const before = await server.pool.query('select (select count(*) from resource) as resources, (select count(*) from feed) as changes');
      const answer = await server.call('PUT', path, { body, headers: { 'content-type': 'application/json', ...headers } });
      const document = answer.json();
      expect({ status: answer.statusCode, code: document.code }, answer.body).toEqual({ status, code });
      expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/);
      expect(answer.headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
      expect(document).toMatchObject({
        status,
        type: expect.stringMatching(/^http:\/\/secapi\.cloud\/errors\//),
        title: expect.any(String),
      });
      if (source !== undefined) expect(document.sources[0]).toEqual(source);
      if (detail !== undefined) expect(document.detail).toMatch(detail);
      expect(answer.body).not.toMatch(/node_modules|at \w+ \(|\.ts:/);
      const after = await server.pool.query('select (select count(*) from resource) as resources, (select count(*) from feed) as changes');
      expect(after.rows).toEqual(before.rows);
    },
  );
});

describe('a GET of', () => {
  it.each([
    [`${disksPath}/${'a'.repeat(200)}`, 404],
    [`${disksPath}/a%00`, 404],
    [`${instancesPath}/%F0%9F%98%80`, 404],
    ['/providers/seca.storage/v1/tenants/acme/workspaces/pr%2Fod/block-storages', 404],
    ['/..%2f..%2fetc/passwd', 404],
    ['//', 404],
  ])('%s is a problem with status %i', async (path, status) => {
    const answer = await server.call('GET', path);
    expect([answer.statusCode, answer.json().status]).toEqual([status, status]);
  });
});

describe('the server', () => {
  it('tells a failure of its own by the request’s id only, and the log the cause', async () => {
    const failing = await startTestServer({
      extraRoutes: [
        (app) =>
          app.get('/fails', { config: { open: true } }, async () => {
            throw new Error('secret inside');
          }),
      ],
    });
    const answer = await failing.call('GET', '/fails', { token: null });
    expect(answer.statusCode).toBe(500);
    expect(answer.body).not.toContain('secret');
    expect(JSON.stringify(failing.log.lines)).toContain('secret inside');
    expect(JSON.stringify(failing.log.lines)).toContain(answer.headers['x-request-id']);
    await failing.stop();
  });

  it('answers 503 with Retry-After while the database is away', async () => {
    const cut = await startTestServer();
    await cut.pool.end();
    const answer = await cut.call('GET', disksPath);
    expect([answer.statusCode, answer.json().code, answer.headers['retry-after']]).toEqual([503, 'unavailable', '1']);
    await cut.stop();
  });

  it('does not say of a change that was kept that it was refused, when the database goes before it is shown', async () => {
    const present = async (): Promise<never> => Promise.reject(new Problem('unavailable', 'the database is away'));
    const cut = await startTestServer({ behaviours: [{ kind: workspace, present }] });
    const answer = await cut.call('PUT', `${workspacesPath}/kept`, { body: { spec: {} } });
    expect([answer.statusCode, answer.json().code, answer.headers['retry-after']]).toEqual([503, 'unknown-outcome', '1']);
    expect(await cut.store.get(workspace, { tenant: 'acme', name: 'kept' })).toBeDefined();
    await cut.stop();
  });

  it('survives bytes that are no HTTP', async () => {
    const { port } = server.http.app.server.address() as AddressInfo;
    const socket = connect(port, '127.0.0.1');
    const answer = await new Promise<string>((resolve) => {
      let text = '';
      socket.on('data', (octets) => {
        text += String(octets);
      });
      socket.on('close', () => resolve(text));
      socket.on('error', () => resolve(text));
      socket.write('\x16\x03\x01\x02\x00\x01\x00\r\n\r\n');
    });
    expect(answer).toMatch(/^HTTP\/1\.1 400/);
    expect((await server.call('GET', disksPath)).statusCode).toBe(200);
  });

  it('does not read a body it refuses for its size', async () => {
    const { port } = server.http.app.server.address() as AddressInfo;
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const headers = { authorization: 'Bearer acme-token', 'content-type': 'application/json', 'content-length': String(10 ** 10) };
      const call = request({ port, host: '127.0.0.1', method: 'PUT', path: disk, headers }, (message) => {
        resolve(message.statusCode);
        call.destroy();
      });
      call.on('error', reject);
      call.write('{');
    });
    expect(status).toBe(413);
  });
});
