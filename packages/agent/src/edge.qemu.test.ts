import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DesiredInstance } from '@virt8ra/contract';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { InstanceRecord } from './instances/instance-store.js';
import { readProcessIdentity } from './system/process-identity.js';
import { hasCommand } from './system/run-command.js';
import { AgentProcess, testFolder } from './testing/agent-process.js';
import { imageVolume, smallInstance } from './testing/desired-objects.js';
import { FakeControlPlane } from './testing/fake-control-plane.js';
import { tinyGuestBytes, tinyGuestImage } from './testing/tiny-guest.js';

const qemu = (await hasCommand('qemu-system-x86_64')) && (await hasCommand('qemu-img'));
if (!qemu) process.stderr.write('skipped: qemu-system-x86_64 and qemu-img are not installed\n');

const patience = { timeout: 60_000, interval: 100 };
const permit = { epoch: 1, holder: 'alpha' };

describe.skipIf(!qemu)('a host that is cut off from its control plane', { timeout: 120_000 }, () => {
  let plane: FakeControlPlane;
  let agent: AgentProcess;
  let stranger: ChildProcess | undefined;
  const pids = new Set<number>();

  beforeEach(async () => {
    plane = await FakeControlPlane.start();
    agent = new AgentProcess(plane, 'alpha', await testFolder());
  });
  afterEach(async (test) => {
    if (test.task.result?.state === 'fail') process.stderr.write(`--- agent log\n${agent.log}\n`);
    stranger?.kill('SIGKILL');
    await agent.stop('SIGKILL');
    for (const key of instanceKeys()) launched(key);
    for (const pid of pids) if (commandOf(pid).includes(agent.folder)) process.kill(pid, 'SIGKILL');
    pids.clear();
    await agent.destroy();
    await plane.stop();
  });

  const instanceKeys = () => (existsSync(`${agent.state}/instances`) ? readdirSync(`${agent.state}/instances`) : []);
  const recordFile = (key: string) => join(agent.state, 'instances', key, 'instance.json');
  const recordOf = (key: string) => {
    try {
      return JSON.parse(readFileSync(recordFile(key), 'utf8')) as InstanceRecord;
    } catch {
      return undefined;
    }
  };
  const launched = (key: string) => {
    const pid = recordOf(key)?.launch?.pid;
    if (pid !== undefined) pids.add(pid);
    return pid;
  };
  const started = (key: string, not?: number) => {
    const pid = launched(key);
    return pid !== undefined && pid !== not && recordOf(key)?.startedAt !== undefined;
  };
  const lives = async (pid: number | undefined) => (await readProcessIdentity(pid ?? 0)) !== undefined;
  const runs = async (key: string) =>
    await plane.until(
      `${key} runs`,
      () => {
        const seen = plane.view('alpha').instances.get(key);
        if (seen?.pid !== undefined) pids.add(seen.pid);
        return seen?.state === 'running' ? seen : undefined;
      },
      60_000,
    );
  const cutOff = () => {
    plane.away = true;
    plane.cut('alpha');
  };
  const want = (instances: readonly DesiredInstance[]) => {
    const image = plane.addArtifact(tinyGuestImage());
    const volumes = [...new Set(instances.flatMap(({ volumeKeys }) => volumeKeys))].map((key) => imageVolume(key, image, tinyGuestBytes));
    plane.want('alpha', { volumes, instances: [...instances] });
  };

  it('starts a guest that was killed again, or leaves it, as its restart policy says', async () => {
    want([smallInstance('i1', 'v1', permit), smallInstance('i2', 'v2', permit, { restart: { policy: 'never', limit: 1 } })]);
    agent.start();
    const [first, second] = [await runs('i1'), await runs('i2')];
    cutOff();
    await agent.stop('SIGKILL');
    for (const { pid } of [first, second]) process.kill(pid ?? 0, 'SIGKILL');
    agent.start();
    await expect.poll(() => started('i1', first.pid), patience).toBe(true);
    await expect.poll(() => recordOf('i2')?.lastEnd?.how, patience).toBe('process');
    expect(launched('i2')).toBeUndefined();

    plane.view('alpha').instances.clear();
    plane.away = false;
    expect(await runs('i1')).toMatchObject({ endsCounted: 1, lastEnd: { how: 'process' } });
    const left = await plane.until('the other one is told of', () => plane.view('alpha').instances.get('i2'));
    expect(left).toMatchObject({ state: 'crashed', problem: { code: 'restart-policy' } });
    // Asked for, it starts.
    want([smallInstance('i1', 'v1', permit), smallInstance('i2', 'v2', permit, { restart: { policy: 'never', limit: 1 }, restarts: 1 })]);
    await runs('i2');
    expect(plane.faults).toEqual([]);
  });

  it('brings its guests back after a reboot, when their disks are there, and none whose permit has ended or cannot be believed', async () => {
    const later = new Date(Date.now() + 3_600_000).toISOString();
    want([
      smallInstance('i1', 'v1', permit),
      smallInstance('i2', 'v2', { ...permit, expiresAt: later }),
      smallInstance('i3', 'v3', { ...permit, expiresAt: later }),
      smallInstance('i4', 'v4', { ...permit, expiresAt: later }),
    ]);
    agent.start();
    const before = new Map<string, number | undefined>();
    for (const key of ['i1', 'i2', 'i3', 'i4']) before.set(key, (await runs(key)).pid);
    cutOff();
    await agent.stop('SIGKILL');
    for (const pid of before.values()) process.kill(pid ?? 0, 'SIGKILL');
    // What a reboot changes: no process is left, /run is empty, the boot has another id.
    rmSync(join(agent.folder, 'alpha-run'), { recursive: true });
    for (const key of before.keys()) {
      const record = recordOf(key);
      if (record?.launch === undefined) throw new Error(`${key} has no launch`);
      const anchor = record.anchor === undefined ? {} : { anchor: { ...record.anchor, bootId: 'before' } };
      writeFileSync(recordFile(key), JSON.stringify({ ...record, launch: { ...record.launch, bootId: 'before' }, ...anchor }));
    }
    // The permit of i3 ran out meanwhile; the wall clock of i4's host went back.
    const ledger = readFileSync(`${agent.state}/ledger.json`, 'utf8');
    const state = JSON.parse(ledger) as { state: { instances: DesiredInstance[] } };
    state.state.instances = state.state.instances.map((instance) =>
      instance.key === 'i3' ? { ...instance, permit: { ...permit, expiresAt: new Date(Date.now() - 1_000).toISOString() } } : instance,
    );
    writeFileSync(`${agent.state}/ledger.json`, JSON.stringify(state));
    const turned = recordOf('i4');
    writeFileSync(recordFile('i4'), JSON.stringify({ ...turned, anchor: { ...turned?.anchor, receivedWallMs: Date.now() + 600_000 } }));

    agent.start();
    for (const key of ['i1', 'i2']) await expect.poll(() => started(key, before.get(key)), patience).toBe(true);
    for (const key of ['i3', 'i4']) await expect.poll(() => recordOf(key)?.lastEnd?.how, patience).toBe('host');
    for (const key of ['i3', 'i4']) expect(launched(key)).toBeUndefined();
    expect(agent.log).toContain('the link is down');
  });

  it('keeps what runs and starts nothing it cannot prove when all its records are damaged, and is adopted on return', async () => {
    want([smallInstance('i1', 'v1', permit), smallInstance('i2', 'v2', permit, { power: 'off' })]);
    agent.start();
    const { pid } = await runs('i1');
    await plane.until('the other is stopped', () => plane.view('alpha').instances.get('i2')?.state === 'stopped', 60_000);
    const launchBefore = recordOf('i1')?.launch;
    want([smallInstance('i1', 'v1', permit), smallInstance('i2', 'v2', permit)]);
    await runs('i2');
    cutOff();
    await agent.stop('SIGKILL');
    process.kill(launched('i2') ?? 0, 'SIGKILL');
    for (const file of [
      'ledger.json',
      'permits.jsonl',
      'instances/i1/instance.json',
      'instances/i2/instance.json',
      'volumes/v1/volume.json',
    ])
      writeFileSync(join(agent.state, file), '\0\0 not what it was\n');
    stranger = spawn('qemu-system-x86_64', ['-nodefaults', '-display', 'none', '-S', '-name', 'by-hand', '-m', '32'], { stdio: 'ignore' });

    agent.start();
    await expect.poll(() => recordOf('i1')?.launch?.pid, patience).toBe(pid);
    expect(recordOf('i1')?.launch).toMatchObject({ id: launchBefore?.id, epoch: 1, volumeKeys: ['v1'] });
    const volumeFile = `${agent.state}/volumes/v1/volume.json`;
    await expect.poll(() => existsSync(volumeFile) && readFileSync(volumeFile, 'utf8'), patience).toContain('"stage":"ready"');
    expect(await lives(pid)).toBe(true);
    expect(launched('i2')).toBeUndefined();
    expect(readdirSync(`${agent.state}/quarantine`)).toHaveLength(5);

    plane.view('alpha').instances.clear();
    plane.view('alpha').inventory = undefined;
    plane.away = false;
    // Not restarted: the same process. And the other one starts, now that the control plane has said that it may.
    expect(await runs('i1')).toMatchObject({ pid });
    await runs('i2');
    const codes = () => (plane.view('alpha').inventory?.inventory.findings ?? []).map(({ code }) => code);
    await plane.until('the findings are told', () => codes().includes('quarantined'), 60_000);
    expect(codes().filter((code) => code === 'quarantined')).toHaveLength(5);
    const foreign = plane.view('alpha').inventory?.inventory.findings?.find(({ code }) => code === 'foreign-guest');
    expect(foreign?.message).toContain(`process ${stranger.pid} (by-hand)`);
    expect(await lives(stranger.pid)).toBe(true);
    expect(plane.faults).toEqual([]);
  });

  it('leaves a guest running whose sockets were removed, says so, and has it back after a restart', async () => {
    want([smallInstance('i1', 'v1', permit)]);
    agent.start();
    const { pid } = await runs('i1');
    await agent.stop('SIGKILL');
    rmSync(join(agent.folder, 'alpha-run'), { recursive: true });
    plane.view('alpha').instances.clear();
    agent.start();
    const deaf = await plane.until('it is told of', () => {
      const seen = plane.view('alpha').instances.get('i1');
      return seen?.problem === undefined ? undefined : seen;
    });
    expect(deaf).toMatchObject({ state: 'running', pid, problem: { code: 'unavailable', message: expect.stringContaining('sockets') } });
    expect(await lives(pid)).toBe(true);
    want([smallInstance('i1', 'v1', permit, { restarts: 1 })]);
    await plane.until('another process runs', () => {
      const seen = plane.view('alpha').instances.get('i1');
      if (seen?.pid !== undefined) pids.add(seen.pid);
      return seen?.state === 'running' && seen.problem === undefined && seen.pid !== pid;
    });
  });
});

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}
