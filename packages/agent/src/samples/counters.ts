import { readdirSync, readFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';

/** Counters of the kernel, read as they are. All only grow while their owner lives. */

/** Clock ticks of /proc per second: 100 on every Linux that Debian runs on. */
const ticksPerSecond = 100;

export interface CpuCounters {
  readonly busySeconds: number;
  readonly stealSeconds: number;
}

/** Of all processors together (proc(5), /proc/stat). Time of guests is part of user time. */
export async function hostCpu(): Promise<CpuCounters> {
  const [line = ''] = (await readFile('/proc/stat', 'utf8')).split('\n', 1);
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = line.trim().split(/\s+/).slice(1).map(Number);
  return { busySeconds: (user + nice + system + irq + softirq) / ticksPerSecond, stealSeconds: steal / ticksPerSecond };
}

export interface ProcessCounters {
  readonly cpuSeconds: number;
  /** Of its main thread and all others: ready to run and not running. */
  readonly waitedSeconds: number;
  readonly memoryBytes: number;
}

/**
 * Undefined when there is no such process any more. Read synchronously: the kernel answers from memory within microseconds, and a read that goes
 * through the thread pool costs the host many times as much, for each thread of each guest.
 */
export function processCounters(pid: number): ProcessCounters | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const statm = readFileSync(`/proc/${pid}/statm`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const waited = readdirSync(`/proc/${pid}/task`).reduce((sum, task) => sum + waitedNanoseconds(pid, task), 0);
    return {
      cpuSeconds: (Number(fields[11]) + Number(fields[12])) / ticksPerSecond,
      waitedSeconds: waited / 1e9,
      memoryBytes: Number(statm.split(' ')[1]) * 4096,
    };
  } catch {
    return undefined;
  }
}

/** 0 for a thread that has just ended. */
function waitedNanoseconds(pid: number, task: string): number {
  try {
    return Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[1]);
  } catch {
    return 0;
  }
}

export interface NetCounters {
  readonly inBytes: number;
  readonly outBytes: number;
}

/** What the kernel has counted in one network namespace, as its /proc/net/dev says it. */
export interface DeviceLook {
  /** Milliseconds of `performance.now()`. */
  readonly at: number;
  readonly devices: string;
}

/** Of the network namespace of the host itself. */
export function hostDevices(): string {
  return readFileSync('/proc/net/dev', 'utf8');
}

/** By interface, from the text of a /proc/net/dev. */
export function netCounters(devices: string): ReadonlyMap<string, NetCounters> {
  const counters = new Map<string, NetCounters>();
  for (const line of devices.split('\n').slice(2)) {
    const [name, rest] = line.split(':');
    if (name === undefined || rest === undefined) continue;
    const fields = rest.trim().split(/\s+/).map(Number);
    counters.set(name.trim(), { inBytes: fields[0] ?? 0, outBytes: fields[8] ?? 0 });
  }
  return counters;
}

export interface DiskCounters {
  readonly readBytes: number;
  readonly writtenBytes: number;
}

/** Of whole block devices together (/proc/diskstats, sectors of 512 bytes); partitions and what is stacked on others is left out. */
export async function hostDisks(): Promise<DiskCounters> {
  const whole = new Set(await readdir('/sys/block').catch((): string[] => []));
  let [readBytes, writtenBytes] = [0, 0];
  for (const line of (await readFile('/proc/diskstats', 'utf8').catch(() => '')).split('\n')) {
    const fields = line.trim().split(/\s+/);
    const name = fields[2] ?? '';
    if (!whole.has(name) || /^(loop|ram|dm-|md|zram|nbd)/.test(name)) continue;
    readBytes += Number(fields[5]) * 512;
    writtenBytes += Number(fields[9]) * 512;
  }
  return { readBytes, writtenBytes };
}
