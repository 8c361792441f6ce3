import { cpus } from 'node:os';
import { type AgentMessageOf, type GuestSample, type HostSample, sampleSeconds, toProblem } from '@virt8ra/contract';
import { type Filling, lookAt } from '../disk/room.js';
import type { Log } from '../log.js';
import type { GuestMemory } from '../qemu/guest-memory.js';
import { hostMemory } from '../storage/space.js';
import { ChangeLooks, type WatchedChanges } from './change-looks.js';
import {
  type CpuCounters,
  type DeviceLook,
  type DiskCounters,
  hostCpu,
  hostDevices,
  hostDisks,
  type NetCounters,
  netCounters,
  type ProcessCounters,
  processCounters,
} from './counters.js';

export type Samples = Omit<AgentMessageOf<'samples'>, 'type'>;

export interface GuestDiskCounters extends DiskCounters {
  readonly key: string;
  readonly reads: number;
  readonly writes: number;
}

/** A guest as far as it is measured. */
export interface MeasuredGuest {
  readonly key: string;
  readonly pid: number;
  /** Its NICs by their interfaces, in the host's own network namespace or one of `inside`; none in user-mode networking. */
  readonly nics: readonly { readonly key: string; readonly tap: string }[];
  /** What QEMU counts of its disks. Asked rarely: it is an answer of the guest's own process. */
  disks(): Promise<readonly GuestDiskCounters[]>;
  /** What it changes; absent: that is not looked at. */
  readonly changes?: WatchedChanges;
  /** What the guest says of its memory; asked as rarely. */
  memory(): Promise<GuestMemory | undefined>;
  /** Payload bytes of its move away so far; undefined: there is none. */
  transferred(): number | undefined;
}

export interface SamplerOptions {
  /** What volumes fill up. */
  readonly room: Filling;
  readonly guests: () => readonly MeasuredGuest[];
  /** The last looks into the network namespaces that guests' interfaces may be in: whoever keeps them looks as often as this does. */
  readonly inside: () => readonly DeviceLook[];
  /** Payload bytes of all transfers so far. */
  readonly transferred: () => number;
  readonly log: Log;
  readonly intervalSeconds?: number;
  readonly clock?: () => number;
}

/** What was seen longer ago says nothing of now. */
const longestLookMs = 25_000;
/** QEMU is asked for its disks at each so-manieth sample. */
const disksEvery = 6;

type SlowFigures = Pick<
  GuestSample,
  'diskReadPerSecond' | 'diskWritePerSecond' | 'disks' | 'guestMemoryUsedBytes' | 'guestMemoryTotalBytes'
>;

interface TimedCounters extends NetCounters {
  readonly at: number;
}

/** Counters of a NIC with what they say of the time before; undefined at the first look. */
interface NicFigures extends TimedCounters {
  readonly rates: { readonly inPerSecond: number; readonly outPerSecond: number } | undefined;
}

interface GuestBefore {
  /** It was looked at once. */
  readonly isNew: boolean;
  readonly pid: number;
  readonly counters: ProcessCounters;
  readonly net: ReadonlyMap<string, NicFigures>;
  readonly transferred: number | undefined;
  readonly disks: { readonly at: number; readonly counters: readonly GuestDiskCounters[] } | undefined;
  /** What is asked for at its turn, as of the last one. */
  readonly slow: SlowFigures;
  readonly changes: ChangeLooks;
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
  const { guests, inside, room, transferred } = options;
  const clock = options.clock ?? (() => performance.now());
  const known = new Map<string, GuestBefore>();
  let before: Before | undefined;
  let looks = 0;

  async function measureGuest(
    guest: MeasuredGuest,
    net: ReadonlyMap<string, TimedCounters>,
    seconds: number,
  ): Promise<GuestSample | undefined> {
    const counters = processCounters(guest.pid);
    if (counters === undefined) return undefined;
    const earlier = known.get(guest.key);
    const last = earlier?.pid === guest.pid ? earlier : undefined;
    const own = new Map(
      guest.nics.flatMap(({ key, tap }) => {
        const seen = net.get(tap);
        return seen === undefined ? [] : [[key, nicFigures(last?.net.get(key), seen)] as const];
      }),
    );
    const now = clock();
    // Each guest has its own turn, so that not all are asked at once; a new one is asked twice, to have figures soon.
    const turn = last === undefined || last.isNew || (looks + guest.pid) % disksEvery === 0;
    const disks = turn
      ? await guest.disks().then(
          (read) => ({ at: now, counters: read }),
          () => undefined,
        )
      : last.disks;
    const slow = turn ? { ...diskRates(last?.disks, disks), ...(await saidMemory(guest)) } : last.slow;
    const transferred = guest.transferred();
    const changes = last?.changes ?? new ChangeLooks(clock);
    known.set(guest.key, { isNew: last === undefined, pid: guest.pid, counters, net: own, transferred, disks, slow, changes });
    // A new guest is looked at from its first moment, so that a plan has figures soon.
    const writes = slow.disks?.some(({ writesPerSecond }) => writesPerSecond > 0) ?? true;
    if (guest.changes !== undefined) await changes.look(guest.changes, { turn, writes, busy: transferred !== undefined });
    if (last === undefined) return undefined;
    const nics = [...own].flatMap(([key, { rates }]) => (rates === undefined ? [] : [{ key, ...rates }]));
    const sum = (of: (nic: (typeof nics)[number]) => number): number =>
      rate(
        0,
        nics.reduce((total, nic) => total + of(nic), 0),
        1,
      );
    return {
      key: guest.key,
      cpu: rate(last.counters.cpuSeconds, counters.cpuSeconds, seconds),
      steal: rate(last.counters.waitedSeconds, counters.waitedSeconds, seconds),
      memoryBytes: counters.memoryBytes,
      ...slow,
      ...changes.figures,
      ...(nics.length === 0
        ? {}
        : { netInPerSecond: sum((nic) => nic.inPerSecond), netOutPerSecond: sum((nic) => nic.outPerSecond), nics }),
      ...(transferred === undefined ? {} : { transferPerSecond: rate(last.transferred ?? 0, transferred, seconds) }),
    };
  }

  /** Undefined at the first look: nothing to compare with. */
  return async function look(): Promise<Samples | undefined> {
    looks += 1;
    const [cpu, disks, memory, space] = await Promise.all([hostCpu(), hostDisks(), hostMemory(), lookAt(room)]);
    const net = netCounters(hostDevices());
    const now: Before = { at: clock(), cpu, disks, net: outsideOf(net), transferred: transferred() };
    const last = before;
    before = now;
    const seconds = last === undefined ? 0 : (now.at - last.at) / 1000;
    const present = guests();
    const timed = (counters: ReadonlyMap<string, NetCounters>, at: number) =>
      [...counters].map(([name, counted]) => [name, { ...counted, at }] as const);
    const within = inside().filter(({ at }) => performance.now() - at < longestLookMs);
    const everywhere = new Map([...timed(net, now.at), ...within.flatMap(({ at, devices }) => timed(netCounters(devices), at))]);
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
      diskFreeBytes: space.freeBytes,
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

/** A look that was told of already says nothing new: its rates stand. */
function nicFigures(before: NicFigures | undefined, seen: TimedCounters): NicFigures {
  if (before === undefined) return { ...seen, rates: undefined };
  const seconds = (seen.at - before.at) / 1000;
  if (seconds <= 0) return before;
  // What leaves a tap goes into the guest.
  const rates = { inPerSecond: rate(before.outBytes, seen.outBytes, seconds), outPerSecond: rate(before.inBytes, seen.inBytes, seconds) };
  return { ...seen, rates };
}

/** Of each disk that there was at both looks, and of all of them together. */
function diskRates(from: GuestBefore['disks'], to: GuestBefore['disks']): SlowFigures {
  if (from === undefined || to === undefined) return {};
  const seconds = (to.at - from.at) / 1000;
  const disks = to.counters.flatMap((now) => {
    const before = from.counters.find(({ key }) => key === now.key);
    if (before === undefined) return [];
    return [
      {
        key: now.key,
        readPerSecond: rate(before.readBytes, now.readBytes, seconds),
        writePerSecond: rate(before.writtenBytes, now.writtenBytes, seconds),
        readsPerSecond: rate(before.reads, now.reads, seconds),
        writesPerSecond: rate(before.writes, now.writes, seconds),
      },
    ];
  });
  const sum = (of: (disk: (typeof disks)[number]) => number): number =>
    rate(
      0,
      disks.reduce((total, disk) => total + of(disk), 0),
      1,
    );
  return { diskReadPerSecond: sum((disk) => disk.readPerSecond), diskWritePerSecond: sum((disk) => disk.writePerSecond), disks };
}

async function saidMemory(guest: MeasuredGuest): Promise<SlowFigures> {
  const memory = await guest.memory().catch(() => undefined);
  return memory === undefined ? {} : { guestMemoryUsedBytes: memory.usedBytes, guestMemoryTotalBytes: memory.totalBytes };
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
