import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { chmod, mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { get } from 'node:https';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { processesIn, signalProcess } from './database/processes.js';
import { buildServer, runServer, type ServerProcess, startServer } from './testing/server-process.js';

let outside: string;
let state: string;
const servers: ServerProcess[] = [];
const start = (...options: string[]): ServerProcess => {
  const server = startServer(state, options);
  servers.push(server);
  return server;
};
const databasePids = async (): Promise<readonly number[]> => await processesIn(join(state, 'pg', 'data'));

beforeAll(buildServer, 300_000);
beforeEach(async () => {
  outside = await mkdtemp('/tmp/virt8ra-server-');
  await chmod(outside, 0o755);
  state = join(outside, 'state');
});
afterEach(async () => {
  for (const { child } of servers.splice(0)) child.kill('SIGKILL');
  for (const pid of await databasePids()) signalProcess(pid, 'SIGKILL');
  await rm(outside, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
});

describe('server process', { timeout: 120_000 }, () => {
  it('prints its admin token once, is ready again on an existing database, and stops it when asked to end', async () => {
    const first = start();
    await first.ready();
    const token = await first.adminToken();
    expect(first.out()).toContain(token);
    expect(first.log()).not.toContain(token);
    expect((await stat(join(state, 'admin-token'))).mode & 0o777).toBe(0o600);
    first.child.kill('SIGTERM');
    expect(await first.ended).toEqual({ code: 0, signal: null });
    expect(await databasePids()).toEqual([]);

    const second = start();
    await second.ready();
    expect(second.out()).not.toContain('eyJ');
    second.child.kill('SIGINT');
    expect(await second.ended).toEqual({ code: 0, signal: null });
  });

  it('may be killed at any moment: the database runs on, and the next server takes its name and finds it', async () => {
    const first = start();
    await first.ready();
    const before = await databasePids();
    first.child.kill('SIGKILL');
    await first.ended;
    expect(await databasePids()).toEqual(expect.arrayContaining([before[0]]));

    const second = start();
    await second.ready();
    expect(second.log()).toContain('the database was found running');
    const replica = (server: ServerProcess): string => /"replica":"([^"]+)"/.exec(server.log())?.[1] ?? '';
    expect(replica(second)).toBe(replica(first));
    const audit = runServer(['audit', 'verify', '--state', state]);
    expect(await audit.ended).toEqual({ code: 0, signal: null });
    expect(audit.out()).toMatch(/^pass {2}\d+ rows are what was sealed$/m);
    second.child.kill('SIGTERM');
    await second.ended;
    expect(await databasePids()).toEqual([]);
  });

  it('may be killed while it makes the database', async () => {
    for (const delayMs of [300, 500, 700, 900, 1100]) {
      const killed = start();
      // Moments of the start, not something awaited: each must be safe.
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      killed.child.kill('SIGKILL');
      await killed.ended;
    }
    const server = start();
    await server.ready();
    server.child.kill('SIGTERM');
    expect(await server.ended).toEqual({ code: 0, signal: null });
  });

  it('answers over HTTP, and keeps what it stored over a kill of everything', async () => {
    const first = start();
    const url = await first.ready();
    const authorization = `Bearer ${await first.adminToken()}`;
    const path = '/providers/seca.workspace/v1/tenants/default/workspaces/kept';
    const put = async (base: string): Promise<Response> =>
      await fetch(`${base}${path}`, {
        method: 'PUT',
        headers: { authorization, 'content-type': 'application/json' },
        body: JSON.stringify({ labels: { a: 'b' }, spec: {} }),
      });
    expect((await put(url)).status).toBe(201);
    expect((await fetch(`${url}${path}`)).status).toBe(401);
    expect((await fetch(`${url}${path}`, { headers: { authorization: `${authorization}x` } })).status).toBe(401);
    expect((await fetch(`${url}${path.replace('/default/', '/elsewhere/')}`, { headers: { authorization } })).status).toBe(403);
    for (const pid of [...(await databasePids()), first.child.pid ?? 0]) signalProcess(pid, 'SIGKILL');
    await first.ended;

    const second = start();
    const again = await second.ready();
    expect((await put(again)).status).toBe(200);
    expect(await (await fetch(`${again}${path}`, { headers: { authorization } })).json()).toMatchObject({ labels: { a: 'b' } });
    expect((await fetch(`${again}/readyz`)).status).toBe(200);
    expect(await (await fetch(`${again}/metrics`)).text()).toContain('virt8ra_fleet_connections 0');
    second.child.kill('SIGTERM');
    expect(await second.ended).toEqual({ code: 0, signal: null });
  });

  it('answers 503 while its database is away, and goes on when it is back', async () => {
    const server = start();
    const url = await server.ready();
    const authorization = `Bearer ${await server.adminToken()}`;
    const list = async (): Promise<Response> =>
      await fetch(`${url}/providers/seca.workspace/v1/tenants/default/workspaces`, { headers: { authorization } });
    expect((await list()).status).toBe(200);
    const [postmaster] = (await readFile(join(state, 'pg', 'data', 'postmaster.pid'), 'utf8')).split('\n');
    // Stopped processes neither answer nor end: what a restart could hide is seen.
    for (const pid of await databasePids()) signalProcess(pid, 'SIGKILL');

    const statuses = new Set<number>();
    await expect
      .poll(
        async () => {
          const answer = await list();
          statuses.add(answer.status);
          if (answer.status === 503) expect(answer.headers.get('retry-after')).not.toBeNull();
          return answer.status === 200 && !(await databasePids()).includes(Number(postmaster));
        },
        { timeout: 30_000, interval: 20 },
      )
      .toBe(true);

    expect([...statuses].sort()).toEqual([200, 503]);
    server.child.kill('SIGTERM');
    expect(await server.ended).toEqual({ code: 0, signal: null });
  });

  it('speaks TLS where others can reach it', async () => {
    const [certificate, key] = [join(outside, 'c.pem'), join(outside, 'k.pem')];
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-days',
        '1',
        '-subj',
        '/CN=localhost',
        '-keyout',
        key,
        '-out',
        certificate,
      ],
      { stdio: 'ignore' },
    );
    const server = startServer(state, ['--api-tls-certificate', certificate, '--api-tls-key', key, '--api-listen', '0.0.0.0:0']);
    servers.push(server);
    const { port, protocol } = new URL(await server.ready());
    expect(protocol).toBe('https:');
    const status = await new Promise<number | undefined>((resolve, reject) => {
      get({ host: '127.0.0.1', port, path: '/healthz', ca: readFileSync(certificate), servername: 'localhost' }, (answer) =>
        resolve(answer.statusCode),
      ).once('error', reject);
    });
    expect(status).toBe(200);
    server.child.kill('SIGTERM');
    await server.ended;
  });

  it('says which address is taken', async () => {
    const first = start();
    const { host } = new URL(await first.ready());
    const second = startServer(state, ['--api-listen', host]);
    servers.push(second);
    expect((await second.ended).code).toBe(8);
    expect(second.log()).toContain(`the API cannot listen on ${host}`);
    expect(await databasePids()).not.toEqual([]);
    first.child.kill('SIGTERM');
    await first.ended;
  });

  it('goes on when its database is killed', async () => {
    const server = start();
    await server.ready();
    const [postmaster] = (await readFile(join(state, 'pg', 'data', 'postmaster.pid'), 'utf8')).split('\n');
    signalProcess(Number(postmaster), 'SIGKILL');
    await server.logged('the database died');
    await expect.poll(() => server.log().split('the database is ready').length - 1, { timeout: 30_000 }).toBe(2);
    expect(server.child.exitCode).toBeNull();
    server.child.kill('SIGTERM');
    expect(await server.ended).toEqual({ code: 0, signal: null });
    expect(server.log()).not.toContain('was not handled');
  });

  it('runs beside another on the same state directory under a name of its own', async () => {
    const one = start();
    const two = start();
    await Promise.all([one.ready(), two.ready()]);
    const names = [one, two].map((server) => /"replica":"[^"]+\/(\d)"/.exec(server.log())?.[1]);
    expect(names.sort()).toEqual(['1', '2']);
    expect([one, two].filter((server) => server.out().includes('admin token'))).toHaveLength(1);
    one.child.kill('SIGTERM');
    await one.ended;
    expect((await databasePids()).length).toBeGreaterThan(0);
    two.child.kill('SIGTERM');
    await two.ended;
    expect(await databasePids()).toEqual([]);
  });

  it('ends at once at the second signal, whatever hangs', async () => {
    const server = start();
    await server.ready();
    const [postmaster] = (await readFile(join(state, 'pg', 'data', 'postmaster.pid'), 'utf8')).split('\n');
    signalProcess(Number(postmaster), 'SIGSTOP');
    server.child.kill('SIGTERM');
    await server.logged('"stopping"');
    server.child.kill('SIGTERM');
    expect(await server.ended).toEqual({ code: 130, signal: null });
  });

  it('says in one line why it cannot start', async () => {
    const server = runServer(['--api-listen', '0.0.0.0:80']);
    expect((await server.ended).code).toBe(2);
    expect(server.log()).toMatch(/^virt8ra-server: --api-listen is 0\.0\.0\.0.*\n$/);
  });

  it('says why it cannot use the database it was given, without its password', async () => {
    const socketless = startServer(state, [], { DATABASE_URL: `postgres://u:s3cret@localhost/x?host=${outside}` });
    servers.push(socketless);
    await socketless.logged('is not reachable yet');
    expect(socketless.log()).not.toContain('s3cret');
  });

  it('prints help, version and configuration without touching anything', async () => {
    for (const [flag, text] of [
      ['--help', '--imports-allow'],
      ['--version', '0.1.0'],
      ['--print-config', '"stateDirectory"'],
    ] as const) {
      const server = runServer([flag, '--state', state].slice(0, flag === '--print-config' ? 3 : 1));
      await once(server.child, 'close');
      expect(server.out()).toContain(text);
      expect(await stat(state).catch(() => undefined)).toBeUndefined();
    }
  });

  it('makes tokens for others, and refuses tenants that do not exist', async () => {
    const made = runServer(['token', 'create', '--subject', 'alice', '--tenants', 'default', '--days', '1', '--state', state]);
    await made.ended;
    expect(made.log()).toContain('cannot be read');
    const server = start();
    await server.ready();

    const token = runServer(['token', 'create', '--subject', 'alice', '--tenants', 'default', '--days', '1', '--state', state]);
    expect((await token.ended).code).toBe(0);
    const claims = JSON.parse(Buffer.from(token.out().split('.')[1] ?? '', 'base64url').toString()) as Record<string, unknown>;
    expect(claims).toMatchObject({ sub: 'alice', tenants: ['default'], operator: false });

    const foreign = runServer(['token', 'create', '--subject', 'alice', '--tenants', 'elsewhere', '--state', state]);
    expect((await foreign.ended).code).toBe(2);
    server.child.kill('SIGTERM');
    await server.ended;
  });
});
