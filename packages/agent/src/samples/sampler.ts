import { statfs } from 'node:fs/promises';
import { cpus } from 'node:os';
import { type AgentMessageOf, type GuestSample, type HostSample, sampleSeconds, toProblem } from '@virt8ra/contract';
import type { Log } from '../log.js';
import { hostMemory } from '../storage/space.js';
import {
  type CpuCounters,
  type DiskCounters,
  hostCpu,
  hostDisks,
  type NetCounters,
  netCounters,
  type ProcessCounters,
  processCounters,
} from './counters.js';

export type Samples = Omit<AgentMessageOf<'samples'>, 'type'>;

/** A guest as far as it is measured. */
export interface MeasuredGuest {
  readonly key: string;
  readonly pid: number;
  /** Its interfaces, in the host's own network namespace or one of `namespaces`; none in user-mode networking. */
  readonly taps: readonly string[];
  /** What QEMU counts of its disks. Asked rarely: it is an answer of the guest's own process. */
  disks(): Promise<DiskCounters>;
}

export interface SamplerOptions {
  readonly stateDirectory: string;
  readonly guests: () => readonly MeasuredGuest[];
  /** Network namespaces that guests' interfaces may be in, as `ip netns` names them. */
  readonly namespaces: () => readonly string[];
  /** Payload bytes of all transfers so far. */
  readonly transferred: () => number;
  readonly log: Log;
  readonly intervalSeconds?: number;
  readonly clock?: () => number;
}

/** QEMU is asked for its disks at each so-manieth sample. */
const disksEvery = 6;

interface GuestBefore {
  readonly pid: number;
  readonly counters: ProcessCounters;
  readonly net: NetCounters | undefined;
  readonly disks: { readonly at: number; readonly counters: DiskCounters } | undefined;
  readonly rates: Pick<GuestSample, 'diskReadPerSecond' | 'diskWritePerSecond'>;
}

interface Before {
  readonly at: number;
  readonly cpu: CpuCounters;
  readonly disks: DiskCounters;
  readonly net: NetCounters;
  readonly transferred: number;
}

/** Measures host and guests from the kernel's counters. One look costs a few reads for each guest, whatever it does. */
export function createSampler(options: SamplerOptions) {
  const { guests, namespaces, stateDirectory, transferred } = options;
  const clock = options.clock ?? (() => performance.now());
  const known = new Map<string, GuestBefore>();
  let before: Before | undefined;
  let looks = 0;

  async function measureGuest(
    guest: MeasuredGuest,
    net: ReadonlyMap<string, NetCounters>,
    seconds: number,
  ): Promise<GuestSample | undefined> {
    const counters = processCounters(guest.pid);
    if (counters === undefined) return undefined;
    const earlier = known.get(guest.key);
    const last = earlier?.pid === guest.pid ? earlier : undefined;
    const own = guest.taps.length === 0 ? undefined : sumNet(guest.taps.map((tap) => net.get(tap)));
    const now = clock();
    // Each guest has its own turn, so that not all are asked at once.
    const turn = last === undefined || (looks + guest.pid) % disksEvery === 0;
    const disks = turn
      ? await guest.disks().then(
          (read) => ({ at: now, counters: read }),
          () => undefined,
        )
      : last.disks;
    const rates = turn ? ratesOf(last?.disks, disks) : last.rates;
    known.set(guest.key, { pid: guest.pid, counters, net: own, disks, rates });
    if (last === undefined) return undefined;
    return {
      key: guest.key,
      cpu: rate(last.counters.cpuSeconds, counters.cpuSeconds, seconds),
      steal: rate(last.counters.waitedSeconds, counters.waitedSeconds, seconds),
      memoryBytes: counters.memoryBytes,
      ...rates,
      // What leaves a tap goes into the guest.
      ...(own === undefined || last.net === undefined
        ? {}
        : {
            netInPerSecond: rate(last.net.outBytes, own.outBytes, seconds),
            netOutPerSecond: rate(last.net.inBytes, own.inBytes, seconds),
          }),
    };
  }

  /** Undefined at the first look: nothing to compare with. */
  return async function look(): Promise<Samples | undefined> {
    looks += 1;
    const [cpu, disks, net, memory, space] = await Promise.all([
      hostCpu(),
      hostDisks(),
      netCounters(),
      hostMemory(),
      statfs(stateDirectory),
    ]);
    const now: Before = { at: clock(), cpu, disks, net: outsideOf(net), transferred: transferred() };
    const last = before;
    before = now;
    const seconds = last === undefined ? 0 : (now.at - last.at) / 1000;
    const present = guests();
    const inside = await Promise.all(namespaces().map(async (namespace) => [...(await netCounters(namespace))]));
    const everywhere = new Map([...net, ...inside.flat()]);
    const measured: GuestSample[] = [];
    for (const guest of present) {
      const sample = await measureGuest(guest, everywhere, seconds);
      if (sample !== undefined) measured.push(sample);
    }
    for (const key of known.keys()) if (!present.some((guest) => guest.key === key)) known.delete(key);
    if (last === undefined || seconds <= 0) return undefined;
    const host: HostSample = {
      threads: Math.max(1, cpus().length),
      cpu: rate(last.cpu.busySeconds, cpu.busySeconds, seconds),
      steal: rate(last.cpu.stealSeconds, cpu.stealSeconds, seconds),
      memoryBytes: (memory.totalMiB - memory.availableMiB) * 1024 ** 2,
      memoryTotalBytes: memory.totalMiB * 1024 ** 2,
      diskFreeBytes: space.bsize * space.bavail,
      diskReadPerSecond: rate(last.disks.readBytes, disks.readBytes, seconds),
      diskWritePerSecond: rate(last.disks.writtenBytes, disks.writtenBytes, seconds),
      netInPerSecond: rate(last.net.inBytes, now.net.inBytes, seconds),
      netOutPerSecond: rate(last.net.outBytes, now.net.outBytes, seconds),
      transferPerSecond: rate(last.transferred, now.transferred, seconds),
      guests: present.length,
    };
    return { at: new Date().toISOString(), host, guests: measured };
  };
}

/** Looks every ten seconds and hands on what it sees, one look at a time. Answers how to stop. */
export function startSampling(options: SamplerOptions, send: (samples: Samples) => void): () => void {
  const look = createSampler(options);
  let busy = false;
  const tick = (): void => {
    if (busy) return;
    busy = true;
    look()
      .then((samples) => {
        if (samples !== undefined) send(samples);
      })
      .catch((error: unknown) => options.log.debug('the host could not be measured', { problem: toProblem(error).message }))
      .finally(() => {
        busy = false;
      });
  };
  tick();
  const timer = setInterval(tick, (options.intervalSeconds ?? sampleSeconds) * 1000);
  timer.unref();
  return () => clearInterval(timer);
}

/** Per second, three digits behind the point; a counter that began anew counts as nothing. */
function rate(from: number, to: number, seconds: number): number {
  return seconds <= 0 ? 0 : Math.round((Math.max(0, to - from) / seconds) * 1000) / 1000;
}

function ratesOf(from: GuestBefore['disks'], to: GuestBefore['disks']): GuestBefore['rates'] {
  if (from === undefined || to === undefined) return {};
  const seconds = (to.at - from.at) / 1000;
  return {
    diskReadPerSecond: rate(from.counters.readBytes, to.counters.readBytes, seconds),
    diskWritePerSecond: rate(from.counters.writtenBytes, to.counters.writtenBytes, seconds),
  };
}

function sumNet(all: readonly (NetCounters | undefined)[]): NetCounters {
  return all.reduce<NetCounters>(
    (sum, each) => ({ inBytes: sum.inBytes + (each?.inBytes ?? 0), outBytes: sum.outBytes + (each?.outBytes ?? 0) }),
    { inBytes: 0, outBytes: 0 },
  );
}

/** What goes in and out of the host; what stays inside (loopback, bridges, taps, pairs) would be counted twice. */
function outsideOf(net: ReadonlyMap<string, NetCounters>): NetCounters {
  return sumNet([...net].filter(([name]) => !/^(lo|v8|veth|br-|docker|virbr|tap|vnet|wg|vxlan)/.test(name)).map(([, each]) => each));
}
