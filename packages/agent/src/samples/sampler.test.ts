import { type ChildProcess, spawn } from 'node:child_process';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { AgentMessage } from '@virt8ra/contract';
import { Compile } from 'typebox/compile';
import { afterEach, expect, it } from 'vitest';
import { silentLog } from '../log.js';
import { createSampler, type MeasuredGuest } from './sampler.js';

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

function begin(...command: readonly [string, ...string[]]): number {
  const child = spawn(command[0], command.slice(1), { stdio: 'ignore' });
  children.push(child);
  return child.pid ?? 0;
}
const nothing = { nics: [], disks: async () => [], memory: async () => undefined, transferred: () => undefined };
const options = { room: tmpdir(), inside: () => [], transferred: () => 0, log: silentLog };
const shape = Compile(AgentMessage);

it('measures a guest that works, one that rests, and the host they are on', async () => {
  const [busy, idle] = [begin('sh', '-c', 'while :; do :; done'), begin('sleep', '60')];
  let written = 0;
  const grow = (): number => {
    written += 6_000_000;
    return written;
  };
  const guests: MeasuredGuest[] = [
    {
      key: 'busy',
      pid: busy,
      nics: [{ key: 'n1', tap: 'lo' }],
      disks: async () => [
        { key: 'v1', readBytes: 0, writtenBytes: grow(), reads: 0, writes: 3 },
        { key: 'v2', readBytes: 0, writtenBytes: grow(), reads: 0, writes: 0 },
      ],
      memory: async () => ({ usedBytes: 7, totalBytes: 9 }),
      transferred: grow,
    },
    { ...nothing, key: 'idle', pid: idle, nics: [{ key: 'n2', tap: 'no-such-tap' }] },
  ];
  const look = createSampler({ ...options, guests: () => guests, transferred: grow });
  expect(await look()).toBeUndefined();
  await sleep(1000);
  const samples = await look();
  if (samples === undefined) throw new Error('there is nothing to compare with');
  const of = (key: string) => samples.guests.find((guest) => guest.key === key);
  // On a machine full of work it waits instead of running, and that shows as well.
  expect((of('busy')?.cpu ?? 0) + (of('busy')?.steal ?? 0)).toBeGreaterThan(0.5);
  expect(of('idle')).toMatchObject({ cpu: expect.toSatisfy((cpu: number) => cpu < 0.2) });
  // Of an interface that is not there nothing is known.
  expect(of('idle')).not.toHaveProperty('netInPerSecond');
  expect(of('idle')).not.toHaveProperty('guestMemoryUsedBytes');
  expect(of('busy')).toMatchObject({ nics: [{ key: 'n1' }], transferPerSecond: expect.toSatisfy((rate: number) => rate > 500_000) });
  expect(of('idle')?.memoryBytes).toBeGreaterThan(100_000);
  expect(samples.host.cpu).toBeGreaterThan(0.3);
  expect(samples.host).toMatchObject({ guests: 2, transferPerSecond: expect.toSatisfy((rate: number) => rate > 500_000) });
  expect(samples.host.memoryBytes).toBeLessThan(samples.host.memoryTotalBytes);
  for (let turn = 0; turn < 6; turn += 1) await look();
  const later = (await look())?.guests.find((guest) => guest.key === 'busy');
  expect(later).toMatchObject({
    guestMemoryUsedBytes: 7,
    guestMemoryTotalBytes: 9,
    disks: [{ key: 'v1', writesPerSecond: 0 }, { key: 'v2' }],
  });
  const [first, second] = later?.disks ?? [];
  expect(later?.diskWritePerSecond).toBeCloseTo((first?.writePerSecond ?? 0) + (second?.writePerSecond ?? 0), 1);
  expect(first?.writePerSecond).toBeGreaterThan(0);
  expect(shape.Check(JSON.parse(JSON.stringify({ type: 'samples', ...samples, guests: [later] })))).toBe(true);
});

it('counts what passes NICs by the times of the looks at them, and says the same until there is another', async () => {
  const pid = begin('sleep', '60');
  const devices = (inBytes: number, outBytes: number) =>
    `Inter-|   Receive\n face |bytes\n  v8t1: ${inBytes} 0 0 0 0 0 0 0 ${outBytes} 0 0 0 0 0 0 0\n`;
  const now = performance.now();
  let seen = { at: now - 20_000, devices: devices(1000, 5000) };
  const guest = { ...nothing, key: 'g', pid, nics: [{ key: 'n', tap: 'v8t1' }] };
  const look = createSampler({ ...options, inside: () => [seen], guests: () => [guest] });
  const nicOf = async () => (await look())?.guests[0]?.nics;
  await look();
  await sleep(5);
  expect(await nicOf()).toBeUndefined();
  seen = { at: now - 10_000, devices: devices(2000, 25_000) };
  await sleep(5);
  // What leaves a tap goes into the guest.
  expect(await nicOf()).toEqual([{ key: 'n', inPerSecond: 2000, outPerSecond: 100 }]);
  await sleep(5);
  expect(await nicOf()).toEqual([{ key: 'n', inPerSecond: 2000, outPerSecond: 100 }]);
  seen = { at: now - 30_000, devices: devices(9000, 90_000) };
  await sleep(5);
  expect(await nicOf()).toBeUndefined();
});

it('leaves out a guest that ended, and begins anew with one that was started again', async () => {
  let pid = begin('sleep', '60');
  const look = createSampler({ ...options, guests: () => [{ ...nothing, key: 'g', pid }] });
  await look();
  await sleep(20);
  expect((await look())?.guests).toHaveLength(1);
  pid = begin('sleep', '60');
  await sleep(20);
  expect((await look())?.guests).toEqual([]);
  await sleep(20);
  expect((await look())?.guests).toHaveLength(1);
  pid = 2 ** 30;
  expect((await look())?.guests).toEqual([]);
});

it('costs at most two percent of a core with fifty guests', async () => {
  const guests = Array.from(
    { length: 50 },
    (_, index): MeasuredGuest => ({
      ...nothing,
      key: `g${index}`,
      pid: begin('sleep', '120'),
      nics: [{ key: `n${index}`, tap: 'lo' }],
    }),
  );
  const look = createSampler({ ...options, guests: () => guests });
  await look();
  await look();
  const looks = 20;
  const before = process.cpuUsage();
  for (let turn = 0; turn < looks; turn += 1) await look();
  const { user, system } = process.cpuUsage(before);
  // A look every ten seconds: two percent are 200 ms of each.
  expect((user + system) / 1000 / looks).toBeLessThan(200);
});
