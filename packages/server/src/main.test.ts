import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm, stat } from 'node:fs/promises';
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
  it('prints its admin token once, is ready within 3 s on an existing database, and stops it when asked to end', async () => {
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
    const startedAt = performance.now();
    await second.ready();
    expect(performance.now() - startedAt).toBeLessThan(3000);
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

  it('ends at once at the second signal', async () => {
    const server = start();
    await server.ready();
    server.child.kill('SIGTERM');
    await server.logged('stopping');
    server.child.kill('SIGTERM');
    expect([0, 130]).toContain((await server.ended).code);
  });

  it('says in one line why it cannot start', async () => {
    const server = runServer(['--api-listen', '0.0.0.0:80']);
    expect((await server.ended).code).toBe(2);
    expect(server.log()).toMatch(/^virt8ra-server: --api-listen is 0\.0\.0\.0.*\n$/);
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
