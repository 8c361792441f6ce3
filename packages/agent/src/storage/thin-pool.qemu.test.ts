import { spawnSync } from 'node:child_process';
import { lstatSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DesiredSend } from '@virt8ra/contract';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { logicalVolumeFields } from '../disk/logical-volumes.js';
import { checkStorage } from '../doctor/storage-checks.js';
import { guestUid } from '../qemu/guest-user.js';
import { hasCommand, runCommand } from '../system/run-command.js';
import { AgentProcess, testFolder } from '../testing/agent-process.js';
import { blankVolume, imageVolume, smallInstance } from '../testing/desired-objects.js';
import { FakeControlPlane } from '../testing/fake-control-plane.js';
import { counterFrom, tinyGuestBytes, tinyGuestImage } from '../testing/tiny-guest.js';
import { noThinPools, SmallPool } from './testing/small-pool.js';

const qemu = (await hasCommand('qemu-system-x86_64')) && (await hasCommand('qemu-nbd'));
const lacking = qemu ? noThinPools() : 'qemu-system-x86_64 and qemu-nbd are not installed';
if (lacking !== undefined) process.stderr.write(`skipped: ${lacking}\n`);

// Where this is run the processor is emulated, and so is what a guest of it has.
const patienceMs = 600_000;
vi.setConfig({ testTimeout: 1_800_000, hookTimeout: patienceMs });
const mib = 1024 * 1024;
const poolBytes = 256 * mib;
const permit = { epoch: 1, holder: 'alpha' };

describe.skipIf(lacking !== undefined)('volumes in a thin pool', () => {
  let plane: FakeControlPlane;
  let alpha: AgentProcess;
  let beta: AgentProcess;
  let pool: SmallPool;
  const begun = performance.now();
  const note = (what: string) => process.stdout.write(`thin pool, ${((performance.now() - begun) / 1000).toFixed(1)} s: ${what}\n`);
  const until: FakeControlPlane['until'] = async (what, found) => {
    const answer = await plane.until(what, found, patienceMs);
    note(what);
    return answer;
  };
  const ours = () => pool.all().filter(({ tags }) => tags.includes('virt8ra'));
  const instance = (host: string) => plane.view(host).instances.get('i1');
  const counter = (agent: AgentProcess) => counterFrom(agent.serial('i1'));
  const counts = async (agent: AgentProcess, from: number) =>
    await expect.poll(() => counter(agent), { timeout: patienceMs, interval: 200 }).toBeGreaterThan(from);

  beforeEach(async () => {
    plane = await FakeControlPlane.start();
    plane.silenceSeconds = 120;
    const folder = await testFolder();
    pool = SmallPool.make(folder, poolBytes);
    alpha = new AgentProcess(plane, 'alpha', folder, ['--storage', `thin-pool:${pool.name}`]);
    beta = new AgentProcess(plane, 'beta', await testFolder(), ['--storage', `thin-pool:${pool.name}`]);
  });
  afterEach(async (test) => {
    if (test.task.result?.state === 'fail') process.stderr.write(`--- alpha\n${alpha.log}\n--- beta\n${beta.log}\n`);
    for (const agent of [alpha, beta]) {
      await agent.stop('SIGKILL');
      for (const { pid } of plane.view(agent.host).instances.values()) if (pid !== undefined) spawnSync('kill', ['-9', String(pid)]);
    }
    pool.destroy();
    await alpha.destroy();
    await beta.destroy();
    await plane.stop();
  });

  const refusedStart = async (agent: AgentProcess): Promise<string> => {
    agent.start();
    await expect.poll(() => agent.log, { timeout: patienceMs, interval: 200 }).toMatch(/one back end|errorwhenfull/);
    await agent.stop();
    return agent.log;
  };

  it('live there from image to removal: grown, kept, copied, found again after kills; a full pool pauses guests and nothing is lost', async () => {
    // Nothing is done before the pool is as it must be.
    expect(await refusedStart(alpha)).toContain(`lvchange --errorwhenfull y ${pool.name}`);
    const storage = { type: 'thin-pool', group: pool.group, pool: 'pool' } as const;
    const levels = async () => Object.fromEntries((await checkStorage({ storage })).map(({ check, level }) => [check, level]));
    expect(await levels()).toMatchObject({ 'storage/when-full': 'fail' });
    pool.lvm('lvchange', '--errorwhenfull', 'y', pool.name);
    const passes = { 'storage/kernel': 'pass', 'storage/pool': 'pass', 'storage/when-full': 'pass', 'storage/monitoring': 'warn' };
    expect(await levels()).toEqual(passes);
    pool.lvm('lvcreate', '--yes', '--thin', '--virtualsize', '512m', '--name', 'precious', pool.name);

    const image = plane.addArtifact(tinyGuestImage());
    const v1 = imageVolume('v1', image, tinyGuestBytes);
    const volumes = [v1, blankVolume('v2', 8 * mib)];
    const running = smallInstance('i1', 'v1', permit);
    plane.want('alpha', { volumes, instances: [running] });
    alpha.start();
    await until('the guest counts', () => (instance('alpha')?.boot?.serialBytes ?? 0) > 20);
    expect(ours()).toHaveLength(2);
    const base = join(alpha.state, 'volumes', 'v1', 'base.qcow2');
    expect(readlinkSync(base)).toMatch(new RegExp(`^/dev/${pool.group}/v8-[0-9a-f]{10}-[0-9a-f]{20}-base$`));
    expect(statSync(base)).toMatchObject({ uid: guestUid('i1') });
    expect(plane.view('alpha').inventory?.inventory.storage.totalBytes).toBe(poolBytes);
    const taken = plane.view('alpha').volumes.get('v1')?.allocatedBytes ?? 0;
    expect(taken).toBeGreaterThan(2 * mib);
    expect(taken).toBeLessThan(16 * mib);
    note(
      `lvs: ${pool.lvm('lvs', '--reportformat', 'json', '--units', 'b', '--nosuffix', '-o', logicalVolumeFields, pool.group).replaceAll(/\s+/g, ' ')}`,
    );

    const grown = { ...v1, sizeBytes: tinyGuestBytes + 8 * mib };
    plane.want('alpha', { volumes: [grown, ...volumes.slice(1)] });
    await until('its disk grows', () => plane.view('alpha').volumes.get('v1')?.sizeBytes === grown.sizeBytes);
    plane.want('alpha', { snapshots: [{ key: 's1', volumes: [{ volumeKey: 'v1' }, { volumeKey: 'v2' }] }] });
    await until('a snapshot is taken', () => plane.view('alpha').snapshots.get('s1')?.state === 'taken');
    plane.want('alpha', { backups: [{ key: 'b1', volumes: [{ volumeKey: 'v1' }, { volumeKey: 'v2' }] }] });
    await until('a backup is sent', () => plane.view('alpha').backups.get('b1')?.state === 'sent');
    const copy = join(alpha.folder, 'copy.qcow2');
    writeFileSync(copy, plane.uploads.get('/agent/v1/backups/b1/0')?.content ?? '');
    expect(await runCommand('qemu-img', ['check', '-f', 'qcow2', copy])).toContain('No errors were found');
    plane.want('alpha', { backups: [], snapshots: [] });
    await until('both are forgotten', () => plane.view('alpha').backups.size === 0 && plane.view('alpha').snapshots.size === 0);

    // Killed; what it left half-way is put aside, a link that was lost is laid again, and what is not ours stays what it is.
    const { pid } = instance('alpha') ?? {};
    await alpha.stop('SIGKILL');
    const agentTag = ours()[0]?.tags.find((tag) => tag.startsWith('virt8ra.agent.')) ?? '';
    const tags = ['--addtag', 'virt8ra', '--addtag', agentTag];
    pool.lvm('lvcreate', '--yes', '--thin', '--virtualsize', '8m', '--name', 'half-made', ...tags, pool.name);
    rmSync(join(alpha.state, 'volumes', 'v2', 'base.qcow2'));
    plane.view('alpha').instances.clear();
    const before = counter(alpha);
    alpha.start();
    await until('the guest is taken over', () => instance('alpha')?.state === 'running');
    expect(instance('alpha')?.pid).toBe(pid);
    await counts(alpha, before);
    expect(lstatSync(join(alpha.state, 'volumes', 'v2', 'base.qcow2')).isSymbolicLink()).toBe(true);
    const stray = pool.all().find(({ name }) => name.startsWith('half-made.stray-'));
    expect(stray?.tags).toContain('virt8ra.stray');
    await until('a finding tells of it', () =>
      plane
        .view('alpha')
        .inventory?.inventory.findings?.some(({ code, message }) => code === 'stray-volume' && message.includes('half-made')),
    );
    pool.lvm('lvremove', '--yes', `${pool.group}/${stray?.name}`);
    expect(pool.get('precious')?.tags).toEqual([]);

    // The pool fills up from elsewhere: writes fail at once, guests are paused and go on by themselves.
    const filled = performance.now();
    const dd = spawnSync('dd', ['if=/dev/zero', `of=/dev/${pool.group}/precious`, 'bs=1M', 'oflag=direct'], { encoding: 'utf8' });
    expect(dd.stderr).toContain('No space left on device');
    note(`the pool was full after ${((performance.now() - filled) / 1000).toFixed(1)} s: ${pool.get('pool')?.dataPercent} %`);
    const paused = await until('the guest is paused', () => instance('alpha')?.state === 'paused' && instance('alpha'));
    expect(paused.problem).toMatchObject({ code: 'exhausted', message: expect.stringContaining(`the thin pool ${pool.name} is full`) });
    const stood = counter(alpha);
    pool.lvm('lvremove', '--yes', `${pool.group}/precious`);
    await until('it goes on', () => instance('alpha')?.state === 'running' && instance('alpha')?.problem === undefined);
    expect(instance('alpha')?.pid).toBe(pid);
    await counts(alpha, stood);

    await alpha.stop();
    const other = new AgentProcess(plane, 'alpha', alpha.folder);
    expect(await refusedStart(other)).toContain('A host has one back end');
    plane.want('alpha', { instances: [], volumes: [] });
    alpha.start();
    await until('all is gone', () => plane.view('alpha').volumes.size === 0);
    expect(ours()).toEqual([]);
    expect(plane.faults).toEqual([]);
  });

  it('are moved to another agent of the same pool while the guest runs, and merged there', async () => {
    pool.lvm('lvchange', '--errorwhenfull', 'y', pool.name);
    const v1 = imageVolume('v1', plane.addArtifact(tinyGuestImage()), tinyGuestBytes);
    plane.want('alpha', { volumes: [v1], instances: [smallInstance('i1', 'v1', permit)] });
    const disks = [{ volumeKey: 'v1', sizeBytes: tinyGuestBytes }];
    const arriving = { key: 'v3', sizeBytes: tinyGuestBytes, source: { type: 'incoming', transferId: 't1' }, settle: false } as const;
    const peerName = 'alpha.agents.virt8ra.internal';
    plane.want('beta', {
      volumes: [arriving],
      transfers: [{ id: 't1', role: 'receive', disks: [{ volumeKey: 'v3', sizeBytes: tinyGuestBytes }], peerName, goal: 'receive' }],
    });
    alpha.start();
    beta.start();
    await until('the guest counts', () => (instance('alpha')?.boot?.serialBytes ?? 0) > 20);
    const far = await until('beta listens', () =>
      plane.view('beta').transfers.get('t1')?.port === undefined ? undefined : plane.view('beta').transfers.get('t1'),
    );
    const { address = '', port = 0 } = far;
    const peer = { name: 'beta.agents.virt8ra.internal', address, port };
    const send: DesiredSend = {
      id: 't1',
      role: 'send',
      mode: 'warm',
      instanceKey: 'i1',
      disks,
      peer,
      minPasses: 2,
      goal: 'copy',
      epoch: 1,
    };
    plane.want('alpha', { transfers: [send] });
    await until('it has converged', () => plane.view('alpha').transfers.get('t1')?.state === 'converged');
    plane.want('alpha', { transfers: [{ ...send, goal: 'finish' }] });
    const end = await until(
      'the source is done',
      () => plane.view('alpha').transfers.get('t1')?.state === 'finished' && plane.view('alpha').transfers.get('t1'),
    );
    await until('the target is done', () => plane.view('beta').transfers.get('t1')?.state === 'finished');
    expect(plane.view('beta').transfers.get('t1')?.roots).toEqual(end.roots);
    const evidence = await until('the permit is given up', () => instance('alpha')?.surrender);
    const last = counter(alpha);
    plane.want('beta', { instances: [smallInstance('i1', 'v3', { epoch: 2, holder: 'beta', evidence })] });
    await until('the guest runs at beta', () => instance('beta')?.state === 'running' && (instance('beta')?.boot?.serialBytes ?? 0) > 20);
    await counts(beta, last);
    expect(ours().filter(({ name }) => name.endsWith('-overlay'))).toHaveLength(1);
    plane.want('beta', { volumes: [{ ...arriving, settle: true }], transfers: [] });
    await until('the overlay is merged', () => plane.view('beta').volumes.get('v3')?.state === 'ready');
    await counts(beta, counter(beta));
    expect(ours().filter(({ name }) => name.endsWith('-overlay'))).toEqual([]);

    plane.want('alpha', { instances: [], volumes: [], transfers: [] });
    plane.want('beta', { instances: [], volumes: [], transfers: [] });
    await until('all is gone', () => plane.view('alpha').volumes.size === 0 && plane.view('beta').volumes.size === 0);
    expect(ours()).toEqual([]);
    expect(plane.faults).toEqual([]);
  });
});
