import { type ObservedBootProbe, Problem, type Surrender } from '@virt8ra/contract';
import type {
  BlockStorageRealizationSpec,
  Connection,
  Handle,
  InstanceRealizationSpec,
  InstanceRealizationStatus,
  ReceiveSpec,
  SendSpec,
  TransferStatus,
} from '@virt8ra/driver';
import { memoryCapabilities, smallInventory } from '../../../testing/site-facts.js';
import { at, facetOf, handleOf, type Kept, seen } from './memory-facet.js';
import { type GuestWrites, passesOf, probeAfter } from './memory-passes.js';
import { preparedOf } from './memory-preparation.js';
import { type FillMoment, failsAt, troubleOf } from './memory-trouble.js';

/** Sites that live in memory: what is asked for comes about one step at each `tick`, as at hosts with agents. */
export interface MemorySites {
  connectionOf(site: string): Promise<Connection>;
  tick(): void;
  /** Everything there is, once per existence, without keys that differ between worlds. */
  snapshot(nameOf: (key: string) => string): unknown;
  /** What must never have been, in words. */
  readonly violations: readonly string[];
  /** Has guests at this site be seen to have an agent inside that answers. */
  answerAt(site: string): void;
  /** Makes the next guest that starts at this site never show life. */
  breakGuestsAt(site: string): void;
  /** Has the next copy that ends arrive damaged, unseen by the transfer. */
  damageNextCopy(): void;
  /** Has the disk of a site fill up once a transfer to it is in that state at its source; both ends say so. Undefined: it has room. */
  fillAt(site: string, when: FillMoment | undefined): void;
  /** Whoever sends there gives up: its peer does not answer any more. */
  loseAt(site: string, when: FillMoment): void;
  /** Has the guest at this site write while it is copied: what its sender tells of its passes, and whether it converges. */
  writeAt(site: string, writes: GuestWrites): void;
  /** Passes that were made at this site beyond those of a copy that nobody delays. */
  furtherPassesAt(site: string): number;
  /** Ends the guest's process at this site: it is started again two ticks later, or stays down. */
  endGuestAt(site: string, then: 'starts again' | 'stays down'): void;
}

interface Volume extends Kept<BlockStorageRealizationSpec> {
  state: 'creating' | 'incoming' | 'arrived' | 'ready';
  content: string;
  digest?: { readonly request: string; readonly root: string; readonly chunkBytes: number };
}
interface Guest extends Kept<InstanceRealizationSpec> {
  activity: InstanceRealizationStatus['activity'];
  surrender?: Surrender;
  ticksUp: number;
  /** Its process has ended here; the ticks until it is started again. */
  ended?: { readonly at: string; downTicks: number };
}
interface End
  extends Kept<{ readonly role: 'send'; readonly wanted: SendSpec } | { readonly role: 'receive'; readonly wanted: ReceiveSpec }> {
  state: TransferStatus['state'];
  roots?: readonly string[];
  trouble?: Problem;
  held?: { readonly pass: number };
  probe?: ObservedBootProbe;
}
interface Site {
  readonly name: string;
  readonly host: string;
  readonly volumes: Map<string, Volume>;
  readonly guests: Map<string, Guest>;
  readonly ends: Map<string, End>;
  /** Per instance. */
  readonly surrendered: Map<string, number>;
  /** Per instance: the epoch whose release was handed over in a live move. */
  readonly handed: Map<string, number>;
  guestsBroken: boolean;
  answers?: true;
  fillsAt: FillMoment | undefined;
  losesAt?: FillMoment;
  writes?: GuestWrites;
  furtherPasses: number;
}

const volumeKeyOf = (handle: Handle): string => handle.value;

export function createMemorySites(names: readonly string[]): MemorySites {
  const sites = new Map<string, Site>(
    names.map((name) => [
      name,
      {
        name,
        host: `${name}-1`,
        volumes: new Map(),
        guests: new Map(),
        ends: new Map(),
        surrendered: new Map(),
        handed: new Map(),
        guestsBroken: false,
        fillsAt: undefined,
        furtherPasses: 0,
      },
    ]),
  );
  const violations: string[] = [];
  let damageNext = false;

  function siteOf(name: string): Site {
    const found = sites.get(name);
    if (found === undefined) throw new Problem('not-found', `there is no site ${name}`);
    return found;
  }

  const rootOf = (content: string): string => `root of ${content}`;

  function isPermitted(site: Site, { instance, permit }: InstanceRealizationSpec): boolean {
    if (permit === undefined || permit.holder !== site.host) return false;
    if (permit.epoch <= (site.surrendered.get(instance) ?? 0)) return false;
    if (permit.awaits !== undefined) return site.handed.get(instance) === permit.epoch - 1;
    return permit.epoch === 1 || permit.evidence?.epoch === permit.epoch - 1;
  }

  function surrender(site: Site, guest: Guest, epoch: number): void {
    guest.activity = 'stopped';
    const instance = guest.spec.instance;
    site.surrendered.set(instance, Math.max(site.surrendered.get(instance) ?? 0, epoch));
    guest.surrender = { statement: 'released', instance, epoch, host: site.host, at, signature: `${site.host} ${epoch}`, certificate: '' };
  }

  /** What a transfer wants of its guest. */
  function claimOn(site: Site, guest: Guest): 'paused' | 'stopped' | undefined {
    for (const { spec, state } of site.ends.values()) {
      if (spec.role !== 'send' || spec.wanted.instance.value !== guest.key || state === 'finished' || state === 'aborted') continue;
      if (spec.wanted.mode === 'cold' && spec.wanted.goal !== 'abort') return 'stopped';
      if (spec.wanted.goal === 'finish' && state !== 'failed') return 'paused';
    }
    return undefined;
  }

  function tickGuest(site: Site, guest: Guest): void {
    if (guest.going) {
      site.guests.delete(guest.key);
      return;
    }
    const { spec } = guest;
    if (spec.surrenderEpoch !== undefined && spec.surrenderEpoch > (site.surrendered.get(spec.instance) ?? 0))
      surrender(site, guest, spec.surrenderEpoch);
    const disks = spec.volumes.map((volume) => site.volumes.get(volumeKeyOf(volume)));
    const haveDisks = disks.every((volume) => volume?.state === 'ready' || volume?.state === 'arrived');
    const claim = claimOn(site, guest);
    const runs = spec.power === 'on' && isPermitted(site, spec) && haveDisks && claim !== 'stopped';
    if (guest.ended !== undefined && guest.ended.downTicks > 0) {
      guest.ended.downTicks -= 1;
      guest.activity = 'crashed';
      guest.ticksUp = 0;
      return;
    }
    guest.ticksUp = runs && guest.activity === 'running' ? guest.ticksUp + 1 : 0;
    guest.activity = runs ? (claim === 'paused' ? 'paused' : 'running') : 'stopped';
    const runners = [...sites.values()].flatMap((each) => [...each.guests.values()]).filter(({ activity }) => activity === 'running');
    if (runners.length > 1) violations.push('two sites ran the instance');
  }

  function tickVolume(site: Site, volume: Volume): void {
    const isUsed = [...site.guests.values()].some(
      ({ spec, activity }) => activity === 'running' && spec.volumes.some(({ value }) => value === volume.key),
    );
    if (volume.going) {
      if (isUsed) violations.push('a disk was taken from a running guest');
      site.volumes.delete(volume.key);
      const copies = [...sites.values()].flatMap((each) => [...each.volumes.values()]).filter(({ content }) => content === volume.content);
      const isWhole = volume.content !== '' && !volume.content.startsWith('damaged');
      if (isWhole && copies.length === 0) violations.push('the last copy of a disk was removed');
      return;
    }
    if (volume.state === 'creating') volume.state = volume.spec.source.type === 'incoming' ? 'incoming' : 'ready';
    else if (volume.state === 'arrived' && volume.spec.settle) volume.state = 'ready';
    const { digestRequest } = volume.spec;
    if (digestRequest === undefined) delete volume.digest;
    else if (volume.digest?.request !== digestRequest)
      volume.digest = { request: digestRequest, root: rootOf(volume.content), chunkBytes: 1 };
  }

  function tickReceiver(site: Site, end: End, { disks, goal }: ReceiveSpec): void {
    if (end.state === 'finished') return;
    if (goal === 'abort') {
      end.state = 'aborted';
      delete end.trouble;
    } else if (end.state === 'failed') return;
    tickProbe(site, end);
    if (goal === 'receive' && disks.every(({ volume }) => site.volumes.get(volumeKeyOf(volume))?.state === 'incoming'))
      end.state = 'listening';
  }

  /** A copy boots within two looks, or never where guests are broken; nothing may be written to it meanwhile. */
  function tickProbe(site: Site, end: End): void {
    const wanted = end.spec.role === 'receive' && end.spec.wanted.goal === 'receive' ? end.spec.wanted.probe : undefined;
    const sender = [...sites.values()].map(({ ends }) => ends.get(end.key)).find((each) => each?.spec.role === 'send');
    const probe = probeAfter(end.probe, wanted, { dies: site.guestsBroken, held: sender?.held !== undefined }, violations);
    if (probe === undefined) delete end.probe;
    else end.probe = probe;
  }

  function isArmed(site: Site, { instance }: ReceiveSpec): boolean {
    return instance !== undefined && site.guests.get(instance.value)?.spec.permit?.awaits !== undefined;
  }

  function tickSender(site: Site, end: End, wanted: SendSpec): void {
    if (end.state === 'finished' || end.state === 'aborted') return;
    if (wanted.goal === 'abort') {
      end.state = 'aborted';
      delete end.trouble;
      return;
    }
    if (end.state === 'failed') return;
    const peer = [...sites.values()].find(({ host }) => wanted.peer.name === `${host}.test`);
    const receiver = peer?.ends.get(end.key);
    const guest = site.guests.get(wanted.instance.value);
    if (peer === undefined || receiver?.spec.role !== 'receive' || receiver.state !== 'listening' || guest === undefined) return;
    if (wanted.mode === 'cold' && guest.activity !== 'stopped') return;
    if (failsAt(peer, receiver, end)) return;
    const holds = wanted.hold === true && wanted.goal === 'copy' && end.state === 'converged';
    if (!holds && end.held !== undefined) {
      delete end.held;
      if (wanted.mode === 'warm' && wanted.goal === 'copy') end.state = 'copying';
    } else if (holds) end.held ??= { pass: 2 };
    if (holds) return;
    if (end.state === 'preparing') end.state = 'copying';
    else if (end.state === 'copying') {
      if (site.writes !== 'fast' || wanted.goal === 'finish') end.state = 'converged';
    } else if (end.state === 'converged' && wanted.goal === 'copy') {
      site.furtherPasses += 1;
      if (site.writes === 'fast') end.state = 'copying';
    } else if (end.state === 'converged' && wanted.goal === 'finish') {
      // A live move is not finished before the target has a permit that awaits it.
      if (wanted.mode !== 'live' || isArmed(peer, receiver.spec.wanted)) end.state = 'finishing';
    } else if (end.state === 'finishing') {
      const roots: string[] = [];
      for (const [index, { volume }] of wanted.disks.entries()) {
        const from = site.volumes.get(volumeKeyOf(volume));
        const to = peer.volumes.get(volumeKeyOf(receiver.spec.wanted.disks[index]?.volume ?? volume));
        if (from === undefined || to === undefined) throw new Problem('internal', 'a transfer has lost a disk');
        roots.push(rootOf(from.content));
        to.content = damageNext ? `damaged ${from.content}` : from.content;
        to.state = 'arrived';
      }
      damageNext = false;
      Object.assign(receiver, { state: 'finished', roots });
      Object.assign(end, { state: 'finished', roots });
      surrender(site, guest, wanted.epoch);
      if (wanted.mode === 'live') peer.handed.set(guest.spec.instance, wanted.epoch);
    }
  }

  function tickEnd(site: Site, end: End): void {
    if (end.going) site.ends.delete(end.key);
    else if (end.spec.role === 'send') tickSender(site, end, end.spec.wanted);
    else tickReceiver(site, end, end.spec.wanted);
  }

  function transferStatus(site: Site, { state, roots, spec, held, probe }: End): TransferStatus {
    const recentPasses = spec.role === 'send' && spec.wanted.mode === 'warm' ? passesOf(site.writes) : undefined;
    return {
      state,
      ...(recentPasses === undefined ? {} : { recentPasses }),
      ...(held === undefined ? {} : { held }),
      ...(probe === undefined ? {} : { probe }),
      ...(spec.role === 'receive' && state !== 'preparing' ? { address: '127.0.0.1', port: 4000 } : {}),
      passes: 2,
      bytes: 4096,
      resentBytes: 0,
      chunkBytes: 1024,
      streams: 1,
      ...(roots === undefined ? {} : { roots, pauseMs: 5, pausedAt: at }),
      ...(spec.role === 'receive' && state === 'finished' ? preparedOf(spec.wanted) : {}),
    };
  }

  function connect(site: Site): Connection {
    const declare = (key: string, spec: End['spec']): Handle => {
      const existing = site.ends.get(key);
      if (existing === undefined) site.ends.set(key, { key, spec, going: false, state: 'preparing' });
      else existing.spec = spec;
      return handleOf(key);
    };
    return {
      instances: facetOf<InstanceRealizationSpec, Guest, InstanceRealizationStatus>(
        site.host,
        site.guests,
        (spec, key) => ({ key, spec, going: false, activity: 'stopped', ticksUp: 0 }),
        ({ activity, surrender: promise, ticksUp, ended }) => ({
          ...(ended === undefined ? {} : { lastEnd: { at: ended.at, how: 'process' as const } }),
          ...(activity === 'crashed' ? { trouble: troubleOf(ended?.downTicks === Number.POSITIVE_INFINITY) } : {}),
          activity,
          since: at,
          host: site.host,
          machine: 'pc-1',
          cpuModel: 'qemu64',
          accelerator: 'tcg',
          startedAt: at,
          access: [],
          boot: { readBytes: site.guestsBroken ? 0 : ticksUp * 1e6, serialBytes: 0 },
          ...(site.answers === true ? { guest: { at, facts: {} } } : {}),
          ...(promise === undefined ? {} : { surrender: promise }),
        }),
        () => undefined,
      ),
      blockStorages: facetOf(
        site.host,
        site.volumes,
        (spec, key): Volume => ({
          key,
          spec,
          going: false,
          state: 'creating',
          content: spec.source.type === 'incoming' ? '' : `blocks of ${key}`,
        }),
        ({ state, spec, digest }) => ({ state, sizeBytes: spec.sizeBytes, host: site.host, ...(digest === undefined ? {} : { digest }) }),
        (from, to) => {
          if (JSON.stringify(from.source) !== JSON.stringify(to.source)) throw new Problem('unsupported', 'the source cannot be changed');
        },
      ),
      disks: {
        send: async (wanted, key) => declare(key, { role: 'send', wanted }),
        receive: async (wanted, key) => declare(key, { role: 'receive', wanted }),
        find: async (key) => (site.ends.has(key) ? handleOf(key) : undefined),
        observe: async ({ value }) => {
          const end = site.ends.get(value);
          return seen<End['spec'], End, TransferStatus>(site.host, end, (each) => transferStatus(site, each), end?.trouble);
        },
        async remove({ value }) {
          const end = site.ends.get(value);
          if (end !== undefined) end.going = true;
        },
        peerName: (host) => `${host}.test`,
      },
      hosts: {
        list: async () => [
          {
            host: site.host,
            connected: true,
            networking: [],
            observedAt: at,
            inventory: smallInventory(site.host),
            features: ['live', 'pass-figures', 'boot-probe'],
          },
        ],
      },
      capabilities: memoryCapabilities,
      probe: async () => ({ healthy: true }),
      close: async () => undefined,
    };
  }

  return {
    violations,
    connectionOf: async (name) => connect(siteOf(name)),
    tick() {
      for (const site of sites.values()) {
        for (const end of site.ends.values()) tickEnd(site, end);
        for (const guest of site.guests.values()) tickGuest(site, guest);
        for (const volume of site.volumes.values()) tickVolume(site, volume);
      }
    },
    snapshot: (nameOf) =>
      [...sites.values()].map(({ name, volumes, guests, ends }) => ({
        name,
        guests: [...guests.values()].map(({ key, activity, spec }) => ({ of: nameOf(key), activity, power: spec.power })),
        volumes: [...volumes.values()].map(({ key, state, content, digest }) => ({
          of: nameOf(key),
          state,
          content: content.replace(/res_\w+/g, nameOf),
          digested: digest !== undefined,
        })),
        transfers: [...ends.values()].map(({ key, state }) => ({ of: nameOf(key), state })),
      })),
    breakGuestsAt(name) {
      siteOf(name).guestsBroken = true;
    },
    damageNextCopy() {
      damageNext = true;
    },
    fillAt(name, when) {
      siteOf(name).fillsAt = when;
    },
    loseAt(name, when) {
      siteOf(name).losesAt = when;
    },
    answerAt(name) {
      siteOf(name).answers = true;
    },
    writeAt(name, writes) {
      siteOf(name).writes = writes;
    },
    furtherPassesAt: (name) => siteOf(name).furtherPasses,
    endGuestAt(name, then) {
      for (const guest of siteOf(name).guests.values())
        if (guest.activity === 'running')
          Object.assign(guest, { activity: 'crashed', ended: { at, downTicks: then === 'starts again' ? 2 : Number.POSITIVE_INFINITY } });
    },
  };
}
