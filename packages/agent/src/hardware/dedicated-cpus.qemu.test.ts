import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import type { DesiredLiveReceive, DesiredLiveSend } from '@virt8ra/contract';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { connectMonitor } from '../qemu/monitor.js';
import { hasCommand, runCommand } from '../system/run-command.js';
import { AgentProcess, testFolder } from '../testing/agent-process.js';
import { imageVolume, smallInstance } from '../testing/desired-objects.js';
import { FakeControlPlane } from '../testing/fake-control-plane.js';
import { tinyGuestBytes, tinyGuestImage } from '../testing/tiny-guest.js';
import { allowedCpus } from './affinity.js';
import { readHugePages } from './huge-pages.js';

const pool = '/proc/sys/vm/nr_hugepages';
/** For two guests of 64 MiB, at both ends of a move, and as much for whoever else on this machine takes huge pages where there are some (PostgreSQL does). */
const wantedMiB = 320;

const freeMiB = async () => (await readHugePages()).find(({ size }) => size === '2Mi')?.freeMiB ?? 0;
const resizePool = (pages: number) => writeFileSync(pool, String(Math.max(Number(readFileSync(pool, 'utf8')) + pages, 0)));

/** Has the kernel keep enough huge pages; answers how many it keeps more than before. */
async function addPages(): Promise<number> {
  const before = Number(readFileSync(pool, 'utf8'));
  for (let attempt = 0; attempt < 5 && (await freeMiB()) < wantedMiB; attempt += 1) {
    // It finds whole pages in memory that is not scattered.
    writeFileSync('/proc/sys/vm/compact_memory', '1');
    resizePool(Math.ceil((wantedMiB - (await freeMiB())) / 2));
  }
  return Number(readFileSync(pool, 'utf8')) - before;
}

const lacks = [
  ...((await hasCommand('qemu-system-x86_64')) && (await hasCommand('qemu-img')) ? [] : ['qemu-system-x86_64 and qemu-img']),
  ...((await hasCommand('taskset')) ? [] : ['taskset']),
  ...(process.getuid?.() === 0 ? [] : ['root']),
  ...(availableParallelism() >= 2 ? [] : ['two hardware threads']),
];
if (lacks.length > 0) process.stderr.write(`skipped: ${lacks.join(', ')}\n`);

describe.skipIf(lacks.length > 0)('guests with CPUs and pages for themselves', () => {
  let plane: FakeControlPlane;
  let alpha: AgentProcess;
  let beta: AgentProcess;
  let added = 0;
  const own = { cpuPolicy: 'dedicated', hugePages: '2Mi' } as const;
  const seen = (host: string, key = 'i1') => plane.view(host).instances.get(key);
  const runs = async (host: string, key = 'i1') =>
    await plane.until(
      `${key} runs at ${host}`,
      () => seen(host, key)?.state === 'running' && seen(host, key)?.dedicatedCPUs && seen(host, key),
      60_000,
    );

  beforeEach(async () => {
    added = await addPages();
    plane = await FakeControlPlane.start();
    alpha = new AgentProcess(plane, 'alpha', await testFolder(), ['--dedicated-cpus', '1']);
    beta = new AgentProcess(plane, 'beta', await testFolder(), ['--dedicated-cpus', '0']);
  });
  afterEach(async (test) => {
    if (test.task.result?.state === 'fail') process.stderr.write(`--- alpha\n${alpha.log}\n--- beta\n${beta.log}\n`);
    await alpha.destroy();
    await beta.destroy();
    await plane.stop();
    resizePool(-added);
  });

  /** The thread of a guest's one processor, as its process names it. */
  const processorOf = async (pid: number): Promise<number> => {
    const socket = /path=([^\s,]*\/mover)\b/.exec(readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' '))?.[1] ?? '';
    const monitor = await connectMonitor(socket);
    const [cpu] = (await monitor.run('query-cpus-fast')) as { 'thread-id': number }[];
    monitor.close();
    return cpu?.['thread-id'] ?? 0;
  };
  const hugeOf = (pid: number) => Number(/^Private_Hugetlb:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0);

  it('have them alone, again after a killed agent, and others of the target after a live move', async (test) => {
    if ((await freeMiB()) < wantedMiB / 2) test.skip(`the kernel finds no ${wantedMiB / 2} MiB in huge pages`);
    const image = plane.addArtifact(tinyGuestImage());
    const permit = { epoch: 1, holder: 'alpha' };
    plane.want('alpha', { volumes: [imageVolume('v1', image, tinyGuestBytes)], instances: [smallInstance('i1', 'v1', permit, own)] });
    alpha.start();
    const { pid = 0, dedicatedCPUs } = (await runs('alpha')) ?? {};
    const processor = await processorOf(pid);
    expect(dedicatedCPUs).toEqual([1]);
    expect(await allowedCpus(processor)).toEqual([1]);
    expect(await allowedCpus(pid)).not.toContain(1);
    expect(await allowedCpus(alpha.pid ?? 0)).not.toContain(1);
    expect(hugeOf(pid)).toBe(64 * 1024);
    const inventory = await plane.until('the host tells what it has', () => plane.view('alpha').inventory?.inventory);
    expect(inventory).toMatchObject({ dedicatedCPUs: [1], capacity: { dedicatedCPU: 1, huge2Mi: expect.any(Number) } });
    expect(inventory.capacity.vCPU).toBe((inventory.cpu.threads - 1) * 4);

    // Nobody gets what somebody has, and it is said.
    plane.want('alpha', {
      volumes: [imageVolume('v1', image, tinyGuestBytes), imageVolume('v2', image, tinyGuestBytes)],
      instances: [smallInstance('i1', 'v1', permit, own), smallInstance('i2', 'v2', permit, own)],
    });
    const refused = await plane.until('the second is refused', () => seen('alpha', 'i2')?.problem);
    expect(refused).toMatchObject({ code: 'exhausted', message: expect.stringContaining('0 of 1 set apart are free') });

    await alpha.stop('SIGKILL');
    await runCommand('taskset', ['-a', '-c', '-p', `0-${availableParallelism() - 1}`, String(pid)]);
    alpha.start();
    await expect.poll(async () => await allowedCpus(processor), { timeout: 20_000 }).toEqual([1]);
    await expect.poll(async () => await allowedCpus(pid), { timeout: 20_000 }).not.toContain(1);
    await plane.until('the same guest is told of', () => seen('alpha')?.pid === pid);

    const disks = (volumeKey: string) => [{ volumeKey, sizeBytes: tinyGuestBytes }];
    const awaiting = { epoch: 2, holder: 'beta', awaits: 'alpha' };
    const name = (host: string) => `${host}.agents.virt8ra.internal`;
    const receive: DesiredLiveReceive = {
      id: 't1',
      role: 'receive',
      mode: 'live',
      instanceKey: 'i1',
      disks: disks('v3'),
      peerName: name('alpha'),
      goal: 'receive',
    };
    plane.want('beta', {
      volumes: [{ key: 'v3', sizeBytes: tinyGuestBytes, source: { type: 'incoming', transferId: 't1' }, settle: false }],
      instances: [smallInstance('i1', 'v3', awaiting, own)],
      transfers: [receive],
    });
    beta.start();
    await plane.until('beta listens', () => plane.view('beta').transfers.get('t1')?.port);
    const { address = '', port = 0 } = plane.view('beta').transfers.get('t1') ?? {};
    const send: DesiredLiveSend = {
      id: 't1',
      role: 'send',
      mode: 'live',
      instanceKey: 'i1',
      disks: disks('v1'),
      peer: { name: name('beta'), address, port },
      goal: 'finish',
      epoch: 1,
    };
    plane.want('alpha', { transfers: [send] });
    const there = (await runs('beta')) ?? {};
    expect(there.dedicatedCPUs).toEqual([0]);
    expect(await allowedCpus(await processorOf(there.pid ?? 0))).toEqual([0]);
    expect(hugeOf(there.pid ?? 0)).toBe(64 * 1024);

    // What the first had is free for the second, without anybody asking again.
    expect((await runs('alpha', 'i2'))?.dedicatedCPUs).toEqual([1]);
    expect(plane.faults).toEqual([]);
  }, 180_000);
});
