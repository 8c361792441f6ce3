import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { counterFrom, tinyGuestImage } from '@virt8ra/agent/testing';
import type { Enrolment, HostUpdate } from '@virt8ra/contract';
import { hasPostgres } from '@virt8ra/engine/testing';
import { type Answer, type ControlPlane, startControlPlane } from '@virt8ra/server/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestReleases } from './agent-update/test-releases.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const lacks = [
  ...['/usr/bin/qemu-system-x86_64', '/usr/bin/qemu-img'].filter((path) => !existsSync(path)),
  ...((await hasPostgres('debian')) || (await hasPostgres('embedded')) ? [] : ['PostgreSQL']),
];
if (lacks.length > 0) process.stdout.write(`skipped: ${lacks.join(', ')} missing\n`);

const topology = '/providers/virt8ra.topology/v1beta1';
const workspace = 'tenants/default/workspaces/shop';
const instances = `/providers/seca.compute/v1/${workspace}/instances`;
const imports = '/providers/virt8ra.image/v1beta1/tenants/default/image-imports';

interface HostSeen {
  readonly connected?: { readonly value: boolean };
  readonly agentVersion?: string;
  readonly previousAgentVersion?: string;
  readonly update?: HostUpdate;
  readonly lastFailedUpdate?: { readonly version: string };
}

/** A real control plane, agents as their package starts them, and a guest that must not notice. */
describe.skipIf(lacks.length > 0)('the agent of a host', () => {
  let plane: ControlPlane;
  let folder: string;
  let releases: TestReleases;
  let words: string[];
  let launcher: ChildProcess | undefined;
  let log = '';

  const put = async (path: string, spec: unknown, extensions?: Record<string, string>): Promise<void> => {
    const answer = await plane.call('PUT', path, { spec, ...(extensions === undefined ? {} : { extensions }) });
    if (answer.status !== 200 && answer.status !== 201) throw new Error(`PUT ${path}: ${JSON.stringify(answer.body)}`);
  };
  const start = (): void => {
    const child = spawn(releases.launcher, words, {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { PATH: process.env['PATH'] ?? '', VIRT8RA_AGENT_RUNTIME: join(folder, 'run') },
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      log += text;
    });
    launcher = child;
  };
  const processesWith = (fits: (command: readonly string[]) => boolean): number[] =>
    readdirSync('/proc')
      .map(Number)
      .filter((pid) => {
        try {
          return Number.isInteger(pid) && fits(readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0'));
        } catch {
          return false;
        }
      });
  /** Processes that are an agent of this test; the launcher and a release that is only asked are none. */
  const agents = (): number[] =>
    processesWith(
      (command) => command[1]?.endsWith('agent/dist/main.js') === true && command[2] === 'run' && command.includes(join(folder, 'state')),
    );
  const guests = (): number[] =>
    processesWith(
      ([program = '', ...words]) => program.includes('qemu-system') && words.some((word) => word.includes(join(folder, 'state'))),
    );
  const cli = async (...given: readonly string[]): Promise<{ readonly code: number; readonly out: string; readonly err: string }> => {
    const env = {
      PATH: process.env['PATH'] ?? '',
      HOME: folder,
      VIRT8RA_SERVER: plane.url,
      VIRT8RA_TOKEN: plane.token,
      VIRT8RA_TENANT: 'default',
    };
    return await promisify(execFile)(process.execPath, [join(root, 'packages/cli/dist/main.js'), ...given], { env }).then(
      ({ stdout, stderr }) => ({ code: 0, out: stdout, err: stderr }),
      (error: { code: number; stdout: string; stderr: string }) => ({ code: error.code, out: error.stdout, err: error.stderr }),
    );
  };
  const hostOf = ({ body }: Answer): HostSeen | undefined => (body as { readonly status?: HostSeen } | undefined)?.status;
  const untilHost = async (accept: (seen: HostSeen) => boolean, timeoutMs = 60_000): Promise<HostSeen> =>
    await plane.until(
      `${topology}/hosts/alpha`,
      (answer) => {
        const seen = hostOf(answer);
        return seen !== undefined && accept(seen) && seen;
      },
      timeoutMs,
    );
  const runs = async (version: string): Promise<HostSeen> =>
    await untilHost(({ agentVersion, connected }) => agentVersion === version && connected?.value === true);
  const guestFolder = (): string => join(folder, 'state', 'instances', readdirSync(join(folder, 'state', 'instances'))[0] ?? '');
  const guestPid = (): number =>
    (JSON.parse(readFileSync(join(guestFolder(), 'instance.json'), 'utf8')) as { launch: { pid: number } }).launch.pid;
  const counter = (): number => counterFrom(readFileSync(join(guestFolder(), 'guest', 'serial.log'), 'latin1'));

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'v8u-'));
    await chmod(folder, 0o711);
    releases = await TestReleases.make(folder);
    plane = await startControlPlane();
    await put(`${topology}/providers/test`, { displayName: 'Test', legalSeat: 'PL' });
    await put(`${topology}/accounts/test`, { providerRef: 'providers/test', driver: 'agent' });
    await put(`${topology}/sites/here`, { accountRef: 'accounts/test', country: 'PL', tier: 'edge' });
    await put(`${topology}/hosts/alpha`, { siteRef: 'sites/here' });
    await put('/providers/seca.workspace/v1/tenants/default/workspaces/shop', {});
    const { token, caSha256, url } = (await plane.call('POST', `${topology}/hosts/alpha/enrol`)).body as Enrolment;
    const options = {
      server: url,
      token,
      'ca-sha256': caSha256,
      state: join(folder, 'state'),
      network: 'user',
      'reserve-storage-gib': '0',
    };
    words = ['run', ...Object.entries(options).flatMap(([name, value]) => [`--${name}`, value])];
    start();
    const image = tinyGuestImage();
    const upload = { sizeBytes: image.length, sha256: createHash('sha256').update(image).digest('hex') };
    await put(`${imports}/tiny`, { source: { upload }, format: 'raw', cpuArchitecture: 'amd64', boot: 'BIOS' });
    await plane.upload(`${imports}/tiny/content`, image);
    await plane.until('/providers/seca.storage/v1/tenants/default/images/tiny', ({ status }) => status === 200, 60_000);
    await runs('0.1.0');
    await put(`/providers/seca.storage/v1/${workspace}/block-storages/root`, {
      sizeGB: 1,
      skuRef: 'skus/ld500',
      sourceImageRef: 'images/tiny',
    });
    const spec = { zone: 'here', skuRef: 'skus/seca.xs', bootVolume: { deviceRef: 'block-storages/root' } };
    await put(`${instances}/guest`, spec, { 'virt8ra.power': 'on' });
  }, 240_000);

  afterAll(async () => {
    launcher?.kill('SIGKILL');
    for (const agent of agents()) process.kill(agent, 'SIGKILL');
    for (const guest of guests()) process.kill(guest, 'SIGKILL');
    await plane?.stop();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }, 60_000);

  it('is updated by command under a running guest, and returns by itself from a release that fails, whenever it is killed', {
    timeout: 240_000,
  }, async (test) => {
    test.onTestFailed(() => void process.stderr.write(`--- log of the launcher and its agents\n${log.slice(-20_000)}\n`));
    const boots = () => existsSync(join(folder, 'state', 'instances')) && readdirSync(join(folder, 'state', 'instances')).length > 0;
    await expect
      .poll(() => (boots() && existsSync(join(guestFolder(), 'guest', 'serial.log')) ? counter() : 0), { timeout: 60_000 })
      .toBeGreaterThan(0);
    const pid = guestPid();

    const refused = await cli('update', 'alpha', '--to', '0.2.0');
    expect(refused).toMatchObject({ code: 2, err: expect.stringContaining('there is no agent release 0.2.0 for amd64; there is none') });

    const good = await releases.tarball('0.2.0');
    expect(await cli('release', 'add', good)).toMatchObject({
      code: 0,
      out: 'agent-release/0.2.0-linux-amd64 ready: virt8ra-agent 0.2.0 for amd64\n',
    });
    expect(await cli('update', 'alpha', '--to', '0.2.0', '--timeout', '60s')).toMatchObject({ code: 0, out: 'host/alpha runs 0.2.0\n' });
    expect(await runs('0.2.0')).toMatchObject({ previousAgentVersion: '0.1.0', update: { version: '0.2.0', phase: 'done' } });
    expect(await cli('update', 'host/alpha', '--to', '0.2.0')).toMatchObject({ code: 0, out: 'host/alpha runs 0.2.0 already\n' });

    // One that is older than what the ledger says is not even tried.
    const older = { file: 'contract/dist/agent/desired.js', from: 'agentRelease: Type.Optional(DesiredAgentRelease),', to: '' };
    await cli('release', 'add', await releases.tarball('0.0.9', [older]));
    const ledger = await cli('update', 'alpha', '--to', '0.0.9', '--timeout', '60s');
    expect(ledger).toMatchObject({ code: 1, err: expect.stringContaining('release 0.0.9 was not tried') });
    expect(ledger.err).toContain('cannot read the ledger of this host');
    expect(ledger.err).toContain('It runs 0.2.0');

    // One that ends as soon as it runs.
    const crash = {
      file: 'agent/dist/program.js',
      from: 'const agent = await startAgent(',
      to: 'process.exit(2);\n    const agent = await startAgent(',
    };
    await cli('release', 'add', await releases.tarball('0.3.0', [crash]));
    const crashed = await cli('update', 'alpha', '--to', '0.3.0', '--timeout', '60s');
    expect(crashed).toMatchObject({ code: 1, err: expect.stringContaining('it ended 3 times before it had linked') });
    expect(crashed.err).toContain('It runs 0.2.0');

    // One that runs and never links, killed in the middle: that costs it a start, and its time goes on.
    const deaf = { file: 'agent/dist/link/link.js', from: '\n    dial();\n    return', to: '\n    return' };
    await cli('release', 'add', await releases.tarball('0.4.0', [deaf]));
    const deafened = cli('update', 'alpha', '--to', '0.4.0', '--trial', '8s', '--timeout', '60s');
    const trial = async (): Promise<number> => {
      for (;;) {
        const found = agents().find((each) => readFileSync(`/proc/${each}/cmdline`, 'utf8').includes('/releases/0.4.0-'));
        if (found !== undefined) return found;
        await pause(20);
      }
    };
    const first = await trial();
    await pause(1_000);
    process.kill(first, 'SIGKILL');
    expect(await deafened).toMatchObject({
      code: 1,
      err: expect.stringContaining('did not link to the control plane and take over what is desired within 8 s'),
    });
    expect(await runs('0.2.0')).toMatchObject({ lastFailedUpdate: { version: '0.4.0' } });
    expect(agents()).toHaveLength(1);

    // Power is lost while it unpacks: it goes on where it was.
    await cli('release', 'add', await releases.tarball('0.5.0'));
    const cut = cli('update', 'alpha', '--to', '0.5.0', '--timeout', '60s');
    const unpacking = (): boolean => readdirSync(join(folder, 'state', 'releases')).some((name) => /^0\.5\.0|\.part$/.test(name));
    while (!unpacking()) await pause(2);
    launcher?.kill('SIGKILL');
    for (const agent of agents()) process.kill(agent, 'SIGKILL');
    await expect.poll(agents, { timeout: 20_000 }).toEqual([]);
    start();
    expect(await cut).toMatchObject({ code: 0, out: 'host/alpha runs 0.5.0\n' });
    await runs('0.5.0');
    expect(
      readdirSync(join(folder, 'state', 'releases'))
        .map((name) => name.replace(/-[0-9a-f]{12}$/, ''))
        .toSorted(),
    ).toEqual(['0.2.0', '0.5.0', 'record.json']);

    // The launcher stops what it started, and says how that ended.
    const ended = new Promise((resolve) => launcher?.once('exit', resolve));
    launcher?.kill('SIGTERM');
    expect(await ended).toBe(0);
    expect(agents()).toEqual([]);
    start();
    await runs('0.5.0');

    expect(guestPid()).toBe(pid);
    const before = counter();
    await expect.poll(counter, { timeout: 20_000 }).toBeGreaterThan(before);
  });
});
