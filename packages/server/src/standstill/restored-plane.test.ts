import { existsSync } from 'node:fs';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Enrolment, RestoreDifferences } from '@virt8ra/contract';
import { hasPostgres } from '@virt8ra/engine/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { processesIn, signalProcess } from '../database/processes.js';
import { type SimulatedAgent, startSimulatedAgent } from '../fleet/testing/simulated-agent.js';
import { createSimulatedHosts } from '../fleet/testing/simulated-hosts.js';
import { listBackups } from '../plane-backup/backup-set.js';
import { buildServer, runServer, type ServerProcess } from '../testing/server-process.js';

const ready = await hasPostgres('debian');
if (!ready) process.stdout.write('skipped: pg_dump of Debian’s PostgreSQL is not installed\n');

const topology = '/providers/virt8ra.topology/v1beta1';
const restore = '/providers/virt8ra.restore/v1beta1';
const verification = '/providers/virt8ra.audit/v1beta1/verification';
const shop = (provider: string, rest: string): string => `/providers/${provider}/tenants/default/workspaces/shop/${rest}`;
const instances = shop('seca.compute/v1', 'instances');
const disks = shop('seca.storage/v1', 'block-storages');

interface Answer {
  readonly status: number;
  readonly body: unknown;
}
interface Seen {
  readonly status?: {
    readonly state?: string;
    readonly phase?: string;
    readonly powerState?: string;
    readonly placement?: { readonly host: string };
    readonly activity?: { readonly value: string };
    readonly conditions: readonly { readonly reason?: string; readonly message?: string }[];
  };
}
const seen = ({ body }: Answer): NonNullable<Seen['status']> => (body as Seen).status ?? { conditions: [] };

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
}

/** Backup, loss of everything, restore beside agents that moved on. */
describe.skipIf(!ready)('a control plane that was restored beside agents that moved on', { timeout: 120_000 }, () => {
  const hosts = createSimulatedHosts();
  const agents = new Map<string, SimulatedAgent>();
  let outside: string;
  let state: string;
  let flags: readonly string[];
  let server: ServerProcess;
  let url: string;
  let token: string;

  const agent = (name: string): SimulatedAgent => {
    const found = agents.get(name);
    if (found === undefined) throw new Error(`no agent ${name}`);
    return found;
  };
  const call = async (method: string, path: string, body?: unknown): Promise<Answer> => {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, body: text === '' ? undefined : JSON.parse(text) };
  };
  const put = async (path: string, spec: unknown, extensions?: Record<string, string>): Promise<void> => {
    const answer = await call('PUT', path, { spec, ...(extensions === undefined ? {} : { extensions }) });
    expect(answer, JSON.stringify(answer.body)).toMatchObject({ status: expect.toSatisfy((status: number) => status < 300) });
  };
  const until = async (path: string, holds: (answer: Answer) => boolean): Promise<Answer> => {
    const end = Date.now() + 40_000;
    for (;;) {
      const answer = await call('GET', path);
      if (holds(answer)) return answer;
      if (Date.now() > end) throw new Error(`${path} never came to it: ${JSON.stringify(answer)}`);
      await sleep(50);
    }
  };
  const running = (answer: Answer): boolean => seen(answer).activity?.value === 'running' && seen(answer).state === 'active';
  const make = async (name: string, zone: string): Promise<void> => {
    await put(`${disks}/${name}`, { sizeGB: 1, skuRef: 'skus/rd100' });
    await put(
      `${instances}/${name}`,
      { zone, skuRef: 'skus/seca.xs', bootVolume: { deviceRef: `block-storages/${name}` } },
      { 'virt8ra.power': 'on' },
    );
    await until(`${instances}/${name}`, running);
  };
  const enrol = async (host: string, site: string): Promise<void> => {
    await put(`${topology}/hosts/${host}`, { siteRef: `sites/${site}` });
    const { body } = await call('POST', `${topology}/hosts/${host}/enrol`);
    agents.set(host, await startSimulatedAgent({ enrolment: body as Enrolment, hosts }));
  };
  const start = async (): Promise<void> => {
    server = runServer([...flags]);
    url = await server.ready();
    token = await server.adminToken();
  };
  const killAll = async (): Promise<void> => {
    server?.child.kill('SIGKILL');
    await server?.ended;
    for (;;) {
      const pids = await processesIn(join(state, 'pg', 'data')).catch(() => []);
      if (pids.length === 0) return;
      for (const pid of pids) signalProcess(pid, 'SIGKILL');
      await sleep(50);
    }
  };
  const differences = async (): Promise<RestoreDifferences> => (await call('GET', `${restore}/differences`)).body as RestoreDifferences;
  const standing = async (host: string): Promise<string | undefined> =>
    (await differences()).hosts.find((each) => each.host === host)?.state;
  const guests = (): string[] =>
    [...agents]
      .flatMap(([host, each]) => each.all('instance').map(({ key, state: at, startedAt }) => `${host} ${key} ${at} ${startedAt}`))
      .sort();

  beforeAll(async () => {
    buildServer();
    outside = await mkdtemp('/tmp/virt8ra-restored-');
    await chmod(outside, 0o755);
    state = join(outside, 'state');
    const [api, listener] = [await freePort(), await freePort()];
    const ports = await freePort();
    flags = [
      '--state',
      state,
      '--api-listen',
      `127.0.0.1:${api}`,
      '--agents-listen',
      `127.0.0.1:${listener}`,
      '--access-ports',
      `${ports}-${ports}`,
    ];
    await start();
    await put(`${topology}/providers/test`, { displayName: 'Test', legalSeat: 'PL' });
    await put(`${topology}/accounts/test`, { providerRef: 'providers/test', driver: 'agent' });
    for (const site of ['alpha', 'beta', 'gamma']) {
      await put(`${topology}/sites/${site}`, { accountRef: 'accounts/test', country: 'PL', tier: 'edge' });
      await enrol(`${site}-1`, site);
    }
    await put('/providers/seca.workspace/v1/tenants/default/workspaces/shop', {});
  }, 300_000);
  afterAll(async () => {
    await Promise.all([...agents.values()].map(async (each) => await each.stop()));
    await killAll();
    await rm(outside, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }, 60_000);

  it('deletes nothing, doubles nothing and changes nothing, lists what differs, and goes on when it is released', async () => {
    for (const [name, zone] of [
      ['stays', 'alpha'],
      ['mover', 'alpha'],
      ['doomed', 'alpha'],
      ['changed', 'beta'],
      ['faraway', 'gamma'],
    ] as const)
      await make(name, zone);
    const backups = join(outside, 'backups');
    const secret = join(outside, 'passphrase');
    await writeFile(secret, 'correct horse battery\n', { mode: 0o600 });
    const sealed = ['--state', state, '--passphrase-file', secret];
    expect((await runServer(['backup', '--to', backups, ...sealed]).ended).code).toBe(0);
    const file = join(backups, (await listBackups(backups))[0]?.name ?? '');

    // The world goes on: one more, one less, one elsewhere, one otherwise, a fresh certificate and a further host.
    await make('late', 'beta');
    for (const path of [`${instances}/doomed`, `${disks}/doomed`]) {
      await call('DELETE', path);
      await until(path, ({ status }) => status === 404);
    }
    const move = shop('virt8ra.migration/v1beta1', 'migrations/away');
    await put(move, { instanceRef: 'instances/mover', toSite: 'beta', mode: 'warm' });
    await until(move, (answer) => seen(answer).phase === 'done');
    await call('POST', `${instances}/changed/stop`);
    await until(`${instances}/changed`, (answer) => seen(answer).activity?.value === 'stopped' && seen(answer).state === 'active');
    await agent('alpha-1').renew();
    await enrol('delta-1', 'alpha');
    const before = guests();
    const witness = await call('GET', verification);
    const { head } = witness.body as { head: { position: number; hash: string } };

    // Everything of the server is lost.
    agent('gamma-1').unplug();
    await killAll();
    for (const each of agents.values()) each.cut();
    await rm(state, { recursive: true, force: true });

    // Killed while it restores, it is begun again; the server does not start on half of it.
    for (const what of ['restoring.json', 'pg/data/PG_VERSION', 'pg/data/postmaster.pid']) {
      const cut = runServer(['restore', file, ...sealed]);
      await expect.poll(() => existsSync(join(state, what)), { timeout: 20_000, interval: 5 }).toBe(true);
      cut.child.kill('SIGKILL');
      await cut.ended;
      const half = runServer([...flags]);
      expect(await half.ended, half.log()).toMatchObject({ code: 5 });
    }
    const restored = runServer(['restore', file, ...sealed]);
    expect(await restored.ended, restored.log()).toMatchObject({ code: 0 });
    const again = runServer(['restore', file, ...sealed]);
    expect(await again.ended).toMatchObject({ code: 5 });
    expect(again.log()).toContain('is not empty');

    await start();
    await expect.poll(async () => await standing('alpha-1'), { timeout: 20_000 }).toBe('compared');
    await expect.poll(async () => await standing('beta-1'), { timeout: 20_000 }).toBe('compared');
    await expect.poll(async () => (await differences()).strangers, { timeout: 20_000 }).toEqual(['delta-1']);
    const shown = await differences();
    expect(shown.state).toBe('standstill');
    expect(await standing('gamma-1')).toBe('waiting');
    const told = (what: string): string[] =>
      shown.items.filter((item) => item.class === what).map(({ type, name, from, host }) => `${type} ${name ?? '?'} ${from ?? ''}>${host}`);
    expect(told('moved').sort()).toEqual(['instance mover alpha-1>beta-1', 'volume mover alpha-1>beta-1']);
    expect(told('gone').sort()).toEqual(['instance doomed >alpha-1', 'volume doomed >alpha-1']);
    expect(told('unknown').sort()).toEqual(['instance ? >beta-1', 'volume ? >beta-1']);
    expect(shown.items.filter((item) => item.class === 'changed')).toMatchObject([
      { name: 'changed', fields: [{ field: 'power', database: 'on', host: 'off' }], decided: true },
    ]);

    // It answers reads and changes nothing.
    expect(seen(await call('GET', `${instances}/stays`)).activity?.value).toBe('unknown');
    expect(await call('POST', `${instances}/changed/start`)).toMatchObject({
      status: 409,
      body: { detail: expect.stringContaining('virt8ra restore release') },
    });
    expect(await call('DELETE', `${instances}/stays`)).toMatchObject({ status: 409 });
    expect(await call('POST', `${restore}/release`)).toMatchObject({ status: 409, body: { detail: expect.stringContaining('gamma-1') } });
    await sleep(1500);
    expect(guests()).toEqual(before);

    // It stands still however often it is started.
    server.child.kill('SIGTERM');
    expect(await server.ended).toEqual({ code: 0, signal: null });
    await start();
    expect((await differences()).state).toBe('standstill');
    await expect.poll(async () => await standing('beta-1'), { timeout: 20_000 }).toBe('compared');

    // A host that was enrolled after the backup links by itself once it is known again.
    await put(`${topology}/hosts/delta-1`, { siteRef: 'sites/alpha' });
    await call('POST', `${topology}/hosts/delta-1/enrol`);
    for (const host of ['alpha-1', 'beta-1', 'delta-1'])
      await expect.poll(async () => await standing(host), { timeout: 20_000 }).toBe('compared');

    const release = await call('POST', `${restore}/release`, { withoutHosts: true });
    expect(release, JSON.stringify(release.body)).toMatchObject({
      status: 200,
      body: { hosts: ['alpha-1', 'beta-1', 'delta-1'], held: ['gamma-1'], followed: 2, kept: 2 },
    });

    // What moved is where it is; what is gone is not made again; what is unknown goes on; what was stopped stays so.
    await until(`${instances}/mover`, (answer) => running(answer) && seen(answer).placement?.host === 'beta-1');
    await until(`${instances}/stays`, running);
    await until(`${instances}/changed`, (answer) => seen(answer).activity?.value === 'stopped' && seen(answer).state === 'active');
    const gone = await until(`${instances}/doomed`, (answer) => seen(answer).conditions[0]?.reason === 'Withheld');
    expect(seen(gone).state).toBe('error');
    await until(`${disks}/doomed`, (answer) => seen(answer).conditions[0]?.reason === 'Withheld');
    await sleep(2000);
    expect(guests()).toEqual(before);
    expect(
      agent('alpha-1')
        .all('volume')
        .map(({ key }) => key).length,
    ).toBe(1);
    expect(hosts.violations).toEqual([]);

    // The owner decides, and work goes on.
    for (const path of [`${instances}/doomed`, `${disks}/doomed`]) {
      expect(await call('DELETE', path)).toMatchObject({ status: 202 });
      await until(path, ({ status }) => status === 404);
    }
    await make('new', 'alpha');
    const back = shop('virt8ra.migration/v1beta1', 'migrations/back');
    await put(back, { instanceRef: 'instances/mover', toSite: 'alpha', mode: 'warm' });
    await until(back, (answer) => seen(answer).phase === 'done');
    await call('POST', `${instances}/changed/start`);
    await until(`${instances}/changed`, running);

    // The host that was missing is compared when it comes, and released then.
    await agent('gamma-1').plug();
    await expect.poll(async () => await standing('gamma-1'), { timeout: 20_000 }).toBe('compared');
    expect((await differences()).items).toEqual([]);
    expect(await call('POST', `${restore}/release`)).toMatchObject({ status: 200, body: { hosts: ['gamma-1'], held: [] } });
    await until(`${instances}/faraway`, running);
    expect(await call('POST', `${restore}/release`)).toMatchObject({ status: 409 });

    // The audit goes on, and says what happened.
    await expect.poll(async () => (await call('GET', verification)).body, { timeout: 20_000 }).toMatchObject({ faultCount: 0 });
    expect((await call('GET', `${verification}?head=${head.position}:${head.hash}`)).body).toMatchObject({
      faultCount: 1,
      faults: [{ message: expect.stringMatching(/the control plane was restored at .* rows written in between are lost/) }],
    });
    const { body } = await call('GET', '/providers/virt8ra.audit/v1beta1/entries?limit=200');
    const rows = (body as { items: { verb: string; reason?: string }[] }).items.filter(({ verb }) => /restore|release/.test(verb));
    expect(rows.map(({ verb }) => verb)).toEqual(['post.release', 'post.release', 'restore']);
    expect(rows[2]?.reason).toContain('is lost');
    expect(hosts.violations).toEqual([]);
  });
});
