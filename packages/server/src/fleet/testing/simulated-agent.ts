import { createHash } from 'node:crypto';
import type { DesiredState, ObservedByType } from '@virt8ra/contract';
import {
  type AgentFeature,
  type AgentMessage,
  type AgentMessageOf,
  agentFeatures,
  agentFrameBytes,
  type DesiredOverlay,
  type HostInventory,
  type HostObjectType,
  type OverlayReport,
  type PathProbeOutcome,
  Problem,
  type ServerMessage,
  type ServerPathProbe,
} from '@virt8ra/contract';
import WebSocket from 'ws';
import { createSimulatedBoard, type ObjectId, type SimulatedBoard } from './simulated-board.js';
import { createSimulatedHosts, type SimulatedHosts } from './simulated-hosts.js';
import { askListener, createKey, enrolHost, renewHost, type SimulatedIdentity } from './simulated-identity.js';
import { type SimulatedDelays, shortDelays } from './simulated-machine.js';
import { dialSimulatedStream, type SimulatedPlace } from './simulated-streams.js';

export interface SimulatedAgentOptions {
  /** What POST `enrol` of the host answered. */
  readonly enrolment: { readonly url: string; readonly token: string; readonly caSha256: string };
  /** Shared by the agents of one test; needed for transfers and for the rule that at most one runs. */
  readonly hosts?: SimulatedHosts;
  readonly delays?: Partial<SimulatedDelays>;
  /** Laid over a plain host of 8 threads, 16 GiB and 100 GB. */
  readonly facts?: Partial<HostInventory>;
  /** Host port behind an exposed port of a guest, such as of a real listener of the test. Default: the port + 40000, where nobody listens. */
  readonly accessPort?: (instanceKey: string, port: number) => number;
  /** What it says it can do. Default: everything. */
  readonly features?: readonly AgentFeature[];
  /** Whether images are really fetched from the artifact store. Default: false. */
  readonly fetchImages?: boolean;
  /** Where its streams lead. Default: it cannot open any. */
  readonly place?: SimulatedPlace | undefined;
  /** What comes of its measuring a path; undefined: it says nothing. Default: it cannot. */
  readonly probe?: (request: ServerPathProbe) => PathProbeOutcome | undefined;
  /** Told of every frame of the server, as it came. */
  readonly onFrame?: (frame: ServerMessage) => void;
  /** Pause before a lost link is dialled again, milliseconds. Default: 20. */
  readonly redialMs?: number;
}

/**
 * A host that speaks the real protocol over real mutual TLS and does everything else in memory: for tests of the control plane. Failures
 * are scripted through its methods.
 */
export interface SimulatedAgent {
  readonly identity: SimulatedIdentity;
  readonly hosts: SimulatedHosts;
  readonly connected: boolean;
  /** Generation of the desired state it has. */
  readonly generation: number;
  /** The desired state it has. */
  readonly desired: DesiredState;
  /** The tunnels it is to have. */
  readonly overlay: DesiredOverlay | undefined;
  /** Tells what it measured of its tunnels. */
  measure(report: OverlayReport): void;
  /** Says its inventory anew with other facts. */
  describe(facts: Partial<HostInventory>): void;
  /** The last reason the server refused it with. */
  readonly refused: string | undefined;
  observed<Type extends HostObjectType>(type: Type, key: string): ObservedByType[Type] | undefined;
  all<Type extends HostObjectType>(type: Type): readonly ObservedByType[Type][];
  /** Resolves when `found` answers something; asked again at every change. Raises `unavailable` after a while. */
  until<Found>(what: string, found: () => Found | undefined | false, timeoutMs?: number): Promise<Found>;
  /** The object stays as it is until it is released. */
  hold(type: HostObjectType, key: string): void;
  release(type: HostObjectType, key: string): void;
  /** Sets what is observed of an object by hand, such as a crashed guest or a failed disk. */
  post<Type extends HostObjectType>(type: Type, key: string, observed: ObservedByType[Type]): void;
  /** Whether guests do not let go of this volume. */
  cling(volumeKey: string, clings: boolean): void;
  /** What arrives by this transfer is spoiled. */
  corrupt(transferId: string): void;
  /** The network between it and the server fails until `plug`; the host goes on by itself. */
  unplug(): void;
  plug(): Promise<void>;
  /** The link breaks once; it dials again. */
  cut(): void;
  /** The agent's process dies: nothing converges, guests run on. */
  kill(): void;
  /** It is started again with its ledger. */
  restart(): Promise<void>;
  /** Power lost and back. */
  reboot(): Promise<void>;
  renew(): Promise<void>;
  /** Sends what the host and its guests used. */
  sample(samples: Omit<AgentMessageOf<'samples'>, 'type' | 'at'>): void;
  /** Sends any text as a frame, for tests of bad input. */
  sendRaw(text: string): void;
  stop(): Promise<void>;
}

/** Enrols and connects; resolves when the server has welcomed it. */
export async function startSimulatedAgent(options: SimulatedAgentOptions): Promise<SimulatedAgent> {
  const { url } = options.enrolment;
  const hosts = options.hosts ?? createSimulatedHosts();
  let identity = await enrolHost(url, options.enrolment, await createKey());
  const watchers = new Set<() => void>();
  const changed = new Set<ObjectId>();
  const removed = new Set<ObjectId>();
  let described = options.facts;
  let socket: WebSocket | undefined;
  let welcomed = false;
  let refused: string | undefined;
  let plugged = true;
  let full = true;
  let flushing = false;
  let inMaintenance = false;
  let redial: NodeJS.Timeout | undefined;

  const wake = (): void => {
    for (const watcher of watchers) watcher();
  };
  const send = (message: AgentMessage): void => {
    if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
  };
  const flushSoon = (): void => {
    if (flushing || !welcomed) return;
    flushing = true;
    setTimeout(() => {
      flushing = false;
      if (welcomed) flush();
    }, 1);
  };
  const flush = (): void => {
    const reported = <Type extends HostObjectType>(type: Type): ObservedByType[Type][] =>
      board.all(type).filter((entry) => full || changed.has(`${type}/${'id' in entry ? entry.id : entry.key}`));
    send({
      type: 'observed',
      at: new Date().toISOString(),
      generation: board.generation,
      full,
      networks: reported('network'),
      volumes: reported('volume'),
      instances: reported('instance'),
      transfers: reported('transfer'),
      filters: reported('filter'),
      ...(board.all('backup').length === 0 ? {} : { backups: reported('backup') }),
      ...(board.all('snapshot').length === 0 ? {} : { snapshots: reported('snapshot') }),
      removed: [...removed].map((id) => ({ type: id.slice(0, id.indexOf('/')) as HostObjectType, key: id.slice(id.indexOf('/') + 1) })),
    });
    full = false;
    changed.clear();
    removed.clear();
  };
  const board: SimulatedBoard = createSimulatedBoard({
    identity,
    hosts,
    delays: { ...shortDelays, ...options.delays },
    accessPort: options.accessPort ?? ((_, port) => Math.min(port + 40_000, 65_535)),
    fetchImage: options.fetchImages === true ? fetchImage : undefined,
    sendBackup,
    onChange(id, gone) {
      if (gone) {
        removed.add(id);
        full = true;
      } else changed.add(id);
      flushSoon();
      wake();
    },
    onProgress: (progress) => send({ type: 'progress', ...progress }),
  });

  async function fetchImage(sha256: string): Promise<void> {
    const response = await askListener(url, { method: 'GET', path: `/agent/v1/artifacts/${sha256}`, identity });
    if (response.status !== 200) throw new Problem('unavailable', `the image was answered with ${response.status}`);
  }

  async function sendBackup(key: string, position: number, content: Buffer): Promise<void> {
    const sha256 = createHash('sha256').update(content).digest('hex');
    const path = `/agent/v1/backups/${key}/${position}`;
    const { status: there, headers } = await askListener(url, { method: 'HEAD', path, identity });
    const offset = there === 204 ? Number(headers['upload-offset']) : 0;
    if (offset === content.length) return;
    const { status } = await askListener(url, {
      method: 'PATCH',
      path,
      identity,
      body: content.subarray(offset),
      headers: { 'upload-offset': String(offset), 'upload-length': String(content.length), 'upload-sha256': sha256 },
    });
    if (status !== 204) throw new Problem('unavailable', `the backup was answered with ${status}`);
  }

  function dial(): void {
    const link = new URL('/agent/v1/link', url);
    link.protocol = 'wss:';
    const made = new WebSocket(link, {
      ca: identity.ca,
      cert: identity.certificate,
      key: identity.privateKey,
      maxPayload: agentFrameBytes,
      perMessageDeflate: false,
    });
    socket = made;
    made.on('open', () =>
      send({
        type: 'hello',
        protocols: [1],
        agentVersion: 'simulated',
        host: identity.host,
        bootId: board.bootId,
        generation: board.generation,
        features: (options.features ?? agentFeatures).filter(
          (feature) => (feature !== 'streams' || options.place !== undefined) && (feature !== 'path-probes' || options.probe !== undefined),
        ),
      }),
    );
    made.on('message', (data) => {
      const frame = JSON.parse(data.toString()) as ServerMessage;
      options.onFrame?.(frame);
      follow(frame);
    });
    made.on('error', () => undefined);
    made.on('close', () => {
      if (socket !== made) return;
      welcomed = false;
      socket = undefined;
      wake();
      if (plugged) redial = setTimeout(dial, options.redialMs ?? 20);
    });
  }

  function sendInventory(): void {
    const facts = { ...described, ...(inMaintenance ? { maintenance: true } : {}) };
    send({ type: 'inventory', at: new Date().toISOString(), inventory: inventoryFrom(identity, board.bootId, facts) });
  }

  function follow(message: ServerMessage): void {
    switch (message.type) {
      case 'welcome':
        welcomed = true;
        full = true;
        if (message.features?.includes('ledger') === true) send({ type: 'ledger', epoch: board.epoch, state: board.desired });
        sendInventory();
        flush();
        break;
      case 'desired':
        board.accept(message.epoch, message.state);
        if (message.state.maintenance !== undefined || inMaintenance) {
          inMaintenance = message.state.maintenance === true;
          sendInventory();
        }
        full = true;
        flushSoon();
        break;
      case 'refused':
        refused = message.message;
        break;
      case 'path-probe': {
        const outcome = options.probe?.(message);
        if (outcome !== undefined) send({ type: 'path-probe', id: message.id, outcome });
        break;
      }
      case 'stream':
        void dialSimulatedStream(identity, message.url ?? url, message.ticket)
          .then((carrier) => {
            if (typeof carrier !== 'number') options.place?.(message, carrier);
          })
          .catch(() => undefined);
        break;
    }
    wake();
  }

  const agent: SimulatedAgent = {
    get identity() {
      return identity;
    },
    hosts,
    get connected() {
      return welcomed;
    },
    get generation() {
      return board.generation;
    },
    get desired() {
      return board.desired;
    },
    get overlay() {
      return board.desired.overlay;
    },
    measure: (report) => send({ type: 'overlay', at: new Date().toISOString(), report }),
    describe(facts) {
      described = { ...described, ...facts };
      sendInventory();
    },
    get refused() {
      return refused;
    },
    observed: board.get,
    all: board.all,
    until: async (what, found, timeoutMs = 20_000) =>
      await new Promise((resolve, reject) => {
        const look = (): void => {
          const answer = found();
          if (answer === undefined || answer === false) return;
          watchers.delete(look);
          clearTimeout(timer);
          resolve(answer);
        };
        const timer = setTimeout(() => {
          watchers.delete(look);
          reject(new Problem('unavailable', `host ${identity.host}: this did not happen within ${timeoutMs} ms: ${what}`));
        }, timeoutMs);
        watchers.add(look);
        look();
      }),
    hold: board.hold,
    release: board.release,
    post: board.post,
    cling: board.cling,
    corrupt: board.corrupt,
    unplug() {
      plugged = false;
      clearTimeout(redial);
      socket?.terminate();
    },
    async plug() {
      plugged = true;
      if (socket === undefined) dial();
      await agent.until('the link is up', () => welcomed);
    },
    cut: () => socket?.terminate(),
    kill() {
      board.setAlive(false);
      agent.unplug();
    },
    async restart() {
      board.setAlive(true);
      // The dead process's socket may not have closed yet.
      await agent.until('the old link is gone', () => socket === undefined);
      await agent.plug();
    },
    async reboot() {
      agent.kill();
      board.reboot();
      await agent.restart();
    },
    async renew() {
      identity = await renewHost(url, identity);
    },
    sample: (samples) => send({ type: 'samples', at: new Date().toISOString(), ...samples }),
    sendRaw: (text) => socket?.send(text),
    async stop() {
      plugged = false;
      clearTimeout(redial);
      board.setAlive(false);
      const open = socket;
      if (open === undefined || open.readyState === WebSocket.CLOSED) return;
      // A socket that is still dialling says first that it failed, which `once` would take for the answer.
      const closed = new Promise((resolve) => open.once('close', resolve));
      open.terminate();
      await closed;
    },
  };
  dial();
  await agent.until('the server welcomes it', () => welcomed || refused !== undefined);
  if (!welcomed) throw new Problem('forbidden', `host ${identity.host} was refused: ${refused}`);
  return agent;
}

function inventoryFrom({ host }: SimulatedIdentity, bootId: string, facts: Partial<HostInventory> = {}): HostInventory {
  return {
    hostname: host,
    bootId,
    architecture: 'amd64',
    kernel: '6.1.0-simulated',
    cpu: { model: 'Simulated', cores: 4, threads: 8, numaCells: 1 },
    memoryMiB: 16_384,
    memoryAvailableMiB: 15_000,
    storage: { totalBytes: 100e9, freeBytes: 90e9 },
    nics: [{ name: 'eth0', mac: '52:54:00:00:00:01', addresses: ['192.0.2.1/24'] }],
    gpus: [],
    hypervisor: { qemuVersion: '7.2.0', accelerator: 'tcg', reason: 'simulated', machines: ['pc-q35-7.2'], cpuModels: ['qemu64-v1'] },
    network: { mode: 'bridge', reason: 'simulated' },
    capacity: { vCPU: 8, memoryMiB: 12_288, storageBytes: 80e9 },
    agent: { version: 'simulated', rssMiB: 40, uptimeSeconds: 1 },
    ...facts,
  };
}
