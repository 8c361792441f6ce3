import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { DesiredByType, DesiredState, HostObjectType, ObservedByType } from '@virt8ra/contract';
import { convergeBackup } from './simulated-backups.js';
import { convergeFilter } from './simulated-filters.js';
import type { SimulatedHosts } from './simulated-hosts.js';
import { type SimulatedIdentity, signAsHost } from './simulated-identity.js';
import { convergeInstance, stopForRemoval } from './simulated-instances.js';
import type { Machine, SimulatedDelays } from './simulated-machine.js';
import { convergeSnapshot } from './simulated-snapshots.js';
import { convergeReceive, convergeSend, unlisten } from './simulated-transfers.js';
import { convergeNetwork, convergeVolume } from './simulated-volumes.js';

export interface BoardOptions {
  readonly identity: SimulatedIdentity;
  readonly hosts: SimulatedHosts;
  readonly delays: SimulatedDelays;
  readonly accessPort: Machine['accessPort'];
  readonly fetchImage: Machine['fetchImage'];
  readonly sendBackup: Machine['sendBackup'];
  readonly onChange: (id: ObjectId, removed: boolean) => void;
  readonly onProgress: Machine['progress'];
}

export type ObjectId = `${HostObjectType}/${string}`;

/** The objects of a simulated host and their way to what is desired, without a link: it goes on while the link is down. */
export interface SimulatedBoard {
  accept(epoch: string, state: DesiredState): void;
  /** Under which it was told. */
  readonly epoch: string | null;
  readonly generation: number;
  readonly desired: DesiredState;
  get<Type extends HostObjectType>(type: Type, key: string): ObservedByType[Type] | undefined;
  all<Type extends HostObjectType>(type: Type): readonly ObservedByType[Type][];
  post<Type extends HostObjectType>(type: Type, key: string, observed: ObservedByType[Type]): void;
  /** The object stays as it is until it is released. */
  hold(type: HostObjectType, key: string): void;
  release(type: HostObjectType, key: string): void;
  corrupt(transferId: string): void;
  /** Guests do not let go of this volume, until they do. */
  cling(volumeKey: string, clings: boolean): void;
  /** The agent's process: while it is dead nothing converges, and guests run on. */
  setAlive(alive: boolean): void;
  /** Power lost and back: guests are gone and start again if they may. */
  reboot(): void;
  readonly bootId: string;
}

const emptyState: DesiredState = { generation: 0, networks: [], volumes: [], instances: [], transfers: [] };

export function createSimulatedBoard(options: BoardOptions): SimulatedBoard {
  const { identity, hosts } = options;
  const entries = new Map<ObjectId, ObservedByType[HostObjectType]>();
  const timers = new Map<ObjectId, NodeJS.Timeout>();
  const held = new Set<ObjectId>();
  const corrupting = new Set<string>();
  const surrendered = new Map<string, number>();
  let desired = emptyState;
  let alive = true;
  let bootId = randomUUID();
  let looking = false;
  let epoch: string | null = null;
  const kept = new Set<ObjectId>();

  const idOf = (type: HostObjectType, key: string): ObjectId => `${type}/${key}`;
  const look = (): void => {
    if (looking) return;
    looking = true;
    setImmediate(() => {
      looking = false;
      if (alive) converge();
    });
  };
  const machine: Machine = {
    identity,
    hosts,
    delays: options.delays,
    desired: () => desired,
    wanted: (type, key) => desiredObjects(desired).find((object) => object.type === type && object.key === key)?.object as never,
    get: (type, key) => entries.get(idOf(type, key)) as never,
    post(type, key, observed) {
      const id = idOf(type, key);
      if (isDeepStrictEqual(entries.get(id), observed)) return;
      entries.set(id, observed);
      options.onChange(id, false);
      look();
    },
    drop(type, key) {
      if (entries.delete(idOf(type, key))) options.onChange(idOf(type, key), true);
      look();
    },
    after(type, key, ms, work) {
      const id = idOf(type, key);
      if (timers.has(id)) return;
      const run = async (): Promise<void> => {
        try {
          // A dead agent does nothing; what was under way is begun anew.
          if (alive && !held.has(id)) await work();
        } catch (error) {
          const problem = { code: 'internal', message: String(error) };
          const before = entries.get(id);
          if (before !== undefined) entries.set(id, { ...before, state: 'failed', problem } as ObservedByType[HostObjectType]);
          options.onChange(id, false);
        } finally {
          timers.delete(id);
          look();
        }
      };
      timers.set(
        id,
        setTimeout(() => void run(), ms),
      );
    },
    contents: new Map(),
    clinging: new Set(),
    frozen: new Set(),
    handed: new Map(),
    surrendered,
    sizes: new Map(),
    surrender(key, epoch) {
      const observed = machine.get('instance', key);
      const instance = observed?.instance ?? machine.wanted('instance', key)?.instance;
      if (observed === undefined || instance === undefined) return;
      const statement = observed.restarts >= 0 && observed.machine !== undefined ? 'released' : 'refused';
      surrendered.set(instance, Math.max(epoch, surrendered.get(instance) ?? 0));
      const { permitEpoch: _, ...rest } = observed;
      const surrender = signAsHost(identity, { statement, instance, epoch, at: new Date().toISOString() });
      machine.post('instance', key, { ...rest, surrender });
    },
    progress: options.onProgress,
    isAlive: () => alive,
    isCorrupting: (transferId) => corrupting.has(transferId),
    accessPort: options.accessPort,
    fetchImage: options.fetchImage,
    sendBackup: options.sendBackup,
  };

  const isFixed = (id: ObjectId): boolean => held.has(id) || timers.has(id) || entries.get(id)?.state === 'failed';
  const converge = (): void => {
    for (const { type, key, object } of desiredObjects(desired)) {
      if (isFixed(idOf(type, key))) continue;
      if (type === 'network') convergeNetwork(machine, object);
      else if (type === 'volume') convergeVolume(machine, object);
      else if (type === 'instance') convergeInstance(machine, object);
      else if (type === 'filter') convergeFilter(machine, object);
      else if (type === 'backup') convergeBackup(machine, object);
      else if (type === 'snapshot') convergeSnapshot(machine, object);
      else if (object.role === 'send') convergeSend(machine, object);
      else convergeReceive(machine, object);
    }
    const wanted = new Set(desiredObjects(desired).map(({ type, key }) => idOf(type, key)));
    for (const [id, observed] of entries) if (!wanted.has(id) && !kept.has(id)) remove(id, observed);
  };
  const remove = (id: ObjectId, observed: ObservedByType[HostObjectType]): void => {
    if (held.has(id) || timers.has(id)) return;
    const [type, key] = [id.slice(0, id.indexOf('/')) as HostObjectType, id.slice(id.indexOf('/') + 1)];
    if ('instance' in observed && !stopForRemoval(machine, observed)) return;
    if ('role' in observed) unlisten(machine, observed);
    machine.after(type, key, options.delays.remove, () => machine.drop(type, key));
  };

  return {
    accept(newEpoch, state) {
      // As a real agent: what a control plane of another epoch has never listed is left as it is.
      if (epoch !== null && epoch !== newEpoch) for (const id of entries.keys()) kept.add(id);
      for (const { type, key } of desiredObjects(state)) kept.delete(idOf(type, key));
      epoch = newEpoch;
      desired = state;
      look();
    },
    get epoch() {
      return epoch;
    },
    get generation() {
      return desired.generation;
    },
    get desired() {
      return desired;
    },
    get bootId() {
      return bootId;
    },
    get: machine.get,
    all: <Type extends HostObjectType>(type: Type) =>
      [...entries].filter(([id]) => id.startsWith(`${type}/`)).map(([, entry]) => entry as ObservedByType[Type]),
    post: machine.post,
    hold: (type, key) => void held.add(idOf(type, key)),
    release(type, key) {
      held.delete(idOf(type, key));
      look();
    },
    corrupt: (transferId) => void corrupting.add(transferId),
    cling(volumeKey, clings) {
      if (clings) machine.clinging.add(volumeKey);
      else machine.clinging.delete(volumeKey);
      look();
    },
    setAlive(value) {
      alive = value;
      look();
    },
    reboot() {
      bootId = randomUUID();
      for (const [id, entry] of entries) {
        if (!('instance' in entry)) continue;
        hosts.stopped(entry.instance, identity.host);
        const { startedAt: _, pid: _pid, boot: _boot, disks: _disks, ...rest } = entry;
        entries.set(id, { ...rest, state: 'waiting', access: [] });
      }
      look();
    },
  };
}

type DesiredObject = {
  [Type in HostObjectType]: { readonly type: Type; readonly key: string; readonly object: DesiredByType[Type] };
}[HostObjectType];

function desiredObjects(state: DesiredState): readonly DesiredObject[] {
  return [
    ...state.networks.map((object) => ({ type: 'network', key: object.key, object }) as const),
    ...state.volumes.map((object) => ({ type: 'volume', key: object.key, object }) as const),
    ...state.instances.map((object) => ({ type: 'instance', key: object.key, object }) as const),
    ...state.transfers.map((object) => ({ type: 'transfer', key: object.id, object }) as const),
    ...(state.filters ?? []).map((object) => ({ type: 'filter', key: object.key, object }) as const),
    ...(state.backups ?? []).map((object) => ({ type: 'backup', key: object.key, object }) as const),
    ...(state.snapshots ?? []).map((object) => ({ type: 'snapshot', key: object.key, object }) as const),
  ];
}
