import { join } from 'node:path';
import { type DesiredOverlay, type OverlayFacts, type OverlayReport, toProblem, tunnelMtu } from '@virt8ra/contract';
import { writeJsonAtomic } from '../disk/atomic-file.js';
import { type Quarantine, readJsonOrQuarantine } from '../disk/quarantine.js';
import type { Log } from '../log.js';
import { interfaceName } from '../network/interface-name.js';
import { overlayEndpoints } from './endpoints.js';
import { keyInUse, peerChanges } from './peer-changes.js';
import { PeerWatch, type WatchClock } from './peer-watch.js';
import type { TunnelBackend } from './tunnel-backend.js';
import { type DeviceState, TunnelDevice } from './tunnel-device.js';
import { tunnelGuard } from './tunnel-guard.js';
import { TunnelKeys } from './tunnel-keys.js';
import { type BridgePlace, joinNetwork, leaveNetwork, type VxlanDevice, vxlanName, vxlanUdpPort } from './vxlan-port.js';

export interface OverlayOptions {
  readonly stateDirectory: string;
  readonly agentId: string;
  /** SHA-256 of the control plane's CA certificate. */
  readonly controlPlane: string;
  readonly backend: TunnelBackend;
  readonly segment: string;
  /** UDP port of the tunnels on this host. */
  readonly port: number;
  /** Where peers reach it, as the operator said; empty: found out. */
  readonly endpoints: readonly string[];
  readonly dataAddress: () => string;
  /** Age at which a key is changed. */
  readonly keyDays: number;
  readonly clock: WatchClock;
  /** `untold`: no control plane has said it to this ledger, so that everything stays as it is. */
  readonly desired: () => DesiredOverlay | 'untold' | undefined;
  /** VXLAN identifiers of the networks that this host has, to look for what was made of them where the memory of that is damaged. */
  readonly networks: () => readonly number[];
  readonly quarantine: Quarantine;
  readonly placeOf: (vni: number) => BridgePlace;
  readonly log: Log;
  readonly on: {
    readonly facts: () => void;
    readonly report: (report: OverlayReport) => void;
  };
}

/** Everything is compared with what should be so often, besides when something changes. */
const verifyMs = 15_000;
/** While a peer's key is being changed it is looked so often which of both it uses. */
const rotationMs = 500;
/** The same while a network's bridge is waited for. */
const waitingMs = 1_000;
/** A network that is being made has no bridge for a moment; after this long it is said. */
const absentMs = 10_000;
const retryMs = 3_000;
/** What changed in measurements alone is told so often. */
const measurementsMs = 30_000;
const dayMs = 86_400_000;
/** Peers asked at the same time. */
const mostAsked = 16;

/** Makes and measures this machine's tunnels and the networks in them. What it made outlives the agent and is taken over by the next one. */
export class Overlay {
  readonly #options: OverlayOptions;
  readonly #keys: TunnelKeys | undefined;
  readonly #device: TunnelDevice;
  readonly #file: string;
  readonly #watches = new Map<string, PeerWatch>();
  readonly #ended: Promise<void>;
  readonly #asking = new Set<Promise<void>>();
  #joined: readonly number[];
  #failed: OverlayReport['failed'] = [];
  #waiting = false;
  /** Networks whose bridge is not there, and since when. */
  readonly #absent = new Map<number, number>();
  #problem: string | undefined;
  #configured: DeviceState | undefined;
  #dirty = true;
  #verifiedAt = Number.NEGATIVE_INFINITY;
  #told = { key: '', at: Number.NEGATIVE_INFINITY };
  #stopped = false;
  #wake: () => void = () => {};
  #woken = false;

  private constructor(options: OverlayOptions, keys: TunnelKeys | undefined, joined: readonly number[]) {
    this.#options = options;
    this.#keys = keys;
    this.#joined = joined;
    this.#file = join(options.stateDirectory, 'overlay-networks.json');
    const log = join(options.stateDirectory, 'overlay', 'wireguard.log');
    const nameOf = (prefix: 'v8o' | 'v8w') => interfaceName(prefix, options.controlPlane, options.agentId);
    // Also where there are to be none any more: an earlier start may have made some.
    this.#device = new TunnelDevice({ device: nameOf('v8w'), namespace: nameOf('v8o') }, options.backend.mode, log, () => this.kick());
    this.#ended = this.#run();
  }

  static async open(options: OverlayOptions): Promise<Overlay> {
    const folder = join(options.stateDirectory, 'overlay');
    const { backend, clock, quarantine } = options;
    const keys = backend.mode === 'none' ? undefined : await TunnelKeys.open(folder, clock.wallMs(), quarantine);
    const read = await readJsonOrQuarantine(join(options.stateDirectory, 'overlay-networks.json'), quarantine);
    const joined = read.type === 'missing' ? [] : joinedIn(read.type === 'content' ? read.content : undefined);
    return new Overlay(options, keys, joined ?? options.networks());
  }

  facts(): OverlayFacts {
    const { backend, segment, endpoints, dataAddress, port } = this.#options;
    const { publicKey, nextPublicKey, rotation = 0 } = this.#keys ?? {};
    return {
      mode: backend.mode,
      reason: backend.reason,
      segment,
      endpoints: this.#keys === undefined ? [] : overlayEndpoints(endpoints, dataAddress(), port),
      rotation,
      ...(publicKey === undefined ? {} : { publicKey }),
      ...(nextPublicKey === undefined ? {} : { nextPublicKey }),
    };
  }

  report(): OverlayReport {
    return {
      peers: [...this.#watches.values()].map((watch) => watch.report(this.#configured?.peers ?? [])),
      failed: this.#failed,
      ...(this.#problem === undefined ? {} : { problem: this.#problem.slice(0, 4096) }),
    };
  }

  /** Something changed that the overlay may depend on. */
  kick(): void {
    this.#dirty = true;
    this.#woken = true;
    this.#wake();
  }

  /** Tunnels and networks stay as they are. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wake();
    await this.#ended;
    await Promise.all(this.#asking);
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      let pauseMs = retryMs;
      this.#woken = false;
      try {
        pauseMs = await this.#pass();
        this.#problem = undefined;
      } catch (error) {
        const { message } = toProblem(error);
        if (message !== this.#problem) this.#options.log.warn('the overlay could not be made', { problem: message });
        this.#problem = message;
        this.#dirty = true;
        // What was measured before says nothing about what is left.
        this.#askPeers();
      }
      this.#tell();
      if (this.#stopped || this.#woken) continue;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, pauseMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = () => {};
    }
  }

  /** Answers after how many milliseconds the next pass is due. */
  async #pass(): Promise<number> {
    const { clock, desired: desiredNow } = this.#options;
    const desired = desiredNow();
    if (desired === 'untold') return verifyMs;
    await this.#changeKey(desired);
    const now = clock.sinceBootMs();
    const verify = this.#dirty || now - this.#verifiedAt >= (this.#waiting ? waitingMs : verifyMs);
    this.#dirty = false;
    if (this.#keys === undefined || desired === undefined || desired.peers.length === 0) {
      if (verify) await this.#takeDown();
      this.#verifiedAt = now;
      return verifyMs * 4;
    }
    if (verify) await this.#verifyDevice(desired, this.#device, this.#keys);
    this.#configured = await this.#device.look();
    if (this.#configured === undefined) {
      this.#dirty = true;
      return 0;
    }
    await this.#configurePeers(desired, this.#device, this.#configured);
    if (verify) {
      await this.#device.inside('nft', ['-f', '-'], tunnelGuard(vxlanUdpPort(this.#options.controlPlane), desired.networks));
      await this.#joinNetworks(desired);
      this.#verifiedAt = now;
    }
    this.#askPeers();
    const rotating = desired.peers.some(({ publicKeys }) => publicKeys.length > 1);
    const due = Math.min(...[...this.#watches.values()].map(({ dueAt }) => dueAt)) - clock.sinceBootMs();
    return Math.max(Math.min(due, rotating ? rotationMs : verifyMs, this.#waiting ? waitingMs : verifyMs), 10);
  }

  /** A new key is made by order or by age, told to the peers by way of the control plane, and used once they all have it. */
  async #changeKey(desired: DesiredOverlay | undefined): Promise<void> {
    const keys = this.#keys;
    if (keys === undefined) return;
    const { clock, keyDays, on, log } = this.#options;
    const ordered = desired !== undefined && desired.rotation > keys.rotation;
    const old = keys.ageMs(clock.wallMs()) > keyDays * dayMs;
    if (ordered || (old && keys.nextPublicKey === undefined)) {
      await keys.prepare(Math.max(desired?.rotation ?? 0, keys.rotation));
      log.info('a new tunnel key was made', { rotation: keys.rotation });
      on.facts();
    }
    const { nextPublicKey } = keys;
    const alone = desired === undefined || desired.peers.length === 0;
    if (nextPublicKey === undefined || (!alone && desired.acceptedKey !== nextPublicKey)) return;
    await keys.promote(clock.wallMs());
    log.info('the new tunnel key is in use', { publicKey: keys.publicKey });
    // Peers learn it from the first packet that reaches them.
    for (const watch of this.#watches.values()) watch.dueAt = 0;
    this.#dirty = true;
    on.facts();
  }

  async #verifyDevice(desired: DesiredOverlay, device: TunnelDevice, keys: TunnelKeys): Promise<void> {
    const { clock, port } = this.#options;
    const { privateKeyPath, publicKey } = keys;
    await device.ensure({ privateKeyPath, publicKey, port, address: desired.address, mtu: tunnelMtu });
    const routes = await device.routes();
    for (const address of routes.keys()) {
      if (address !== desired.address && !desired.peers.some((peer) => peer.address === address)) await device.unroute(address);
    }
    for (const [host, { peer }] of this.#watches)
      if (!desired.peers.some((each) => each.host === host && each.address === peer.address)) this.#watches.delete(host);
    for (const peer of desired.peers) {
      const known = this.#watches.get(peer.host);
      const watch =
        known ??
        new PeerWatch(
          peer,
          clock,
          async (command, args) => await device.inside(command, args),
          async (mtu) => await device.route(peer.address, mtu),
        );
      watch.peer = peer;
      this.#watches.set(peer.host, watch);
      const mtu = routes.get(peer.address);
      // An earlier agent's measurement is as good as ours.
      if (known === undefined && mtu !== undefined) watch.mtu = Math.min(mtu, tunnelMtu);
      if (mtu !== watch.mtu) await device.route(peer.address, watch.mtu);
    }
  }

  async #configurePeers(desired: DesiredOverlay, device: TunnelDevice, { peers: configured }: DeviceState): Promise<void> {
    const watchOf = (peer: { readonly host: string }) => this.#watches.get(peer.host);
    const agreedAt = (key: string) => configured.find(({ publicKey }) => publicKey === key)?.handshakeAt ?? 0;
    const changes = peerChanges(
      desired.peers,
      configured,
      (peer) => watchOf(peer)?.endpoint,
      (peer) => watchOf(peer)?.isStuck(agreedAt(keyInUse(peer, configured))) === true,
    );
    if (changes.length === 0) return;
    for (const watch of this.#watches.values()) watch.fault = undefined;
    for (const { publicKey, words } of changes) {
      try {
        await device.setPeer(publicKey, words);
      } catch (error) {
        const watch = [...this.#watches.values()].find(({ peer }) => peer.publicKeys.includes(publicKey));
        if (watch !== undefined) watch.fault = toProblem(error).message;
      }
    }
    this.#configured = await device.look();
  }

  async #joinNetworks({ address, networks }: DesiredOverlay): Promise<void> {
    const { controlPlane, placeOf } = this.#options;
    const wanted = new Set(networks.map(({ vni }) => vni));
    // Written first: what is not in the file is never looked for again.
    await this.#remember([...new Set([...this.#joined, ...wanted])]);
    const failed: OverlayReport['failed'] = [];
    this.#waiting = false;
    for (const vni of this.#absent.keys()) if (!wanted.has(vni)) this.#absent.delete(vni);
    for (const { vni, mtu, peers } of networks) {
      const port = { vni, mtu, peers, local: address };
      try {
        const outcome = await joinNetwork(this.#vxlan(vni), vxlanUdpPort(controlPlane), port, placeOf(vni));
        if (outcome === 'joined') this.#absent.delete(vni);
        else {
          this.#waiting = true;
          const now = this.#options.clock.sinceBootMs();
          const since = this.#absent.get(vni) ?? now;
          this.#absent.set(vni, since);
          if (now - since >= absentMs) failed.push({ vni, reason: 'its bridge is not there' });
        }
      } catch (error) {
        failed.push({ vni, reason: toProblem(error).message.slice(0, 1024) });
      }
    }
    this.#failed = failed;
    await this.#leave(this.#joined.filter((vni) => !wanted.has(vni)));
  }

  async #leave(vnis: readonly number[]): Promise<void> {
    for (const vni of vnis) await leaveNetwork(this.#vxlan(vni), this.#options.placeOf(vni));
    await this.#remember(this.#joined.filter((vni) => !vnis.includes(vni)));
  }

  async #takeDown(): Promise<void> {
    await this.#leave(this.#joined);
    this.#watches.clear();
    this.#failed = [];
    this.#waiting = false;
    await this.#device.remove();
    this.#configured = undefined;
  }

  /** Each peer is asked on its own, so that one that does not answer holds nobody up. */
  #askPeers(): void {
    const now = this.#options.clock.sinceBootMs();
    for (const watch of this.#watches.values()) {
      if (watch.dueAt > now) continue;
      if (this.#asking.size >= mostAsked) return;
      watch.dueAt = Number.POSITIVE_INFINITY;
      const asked = watch
        .look(this.#watches.size)
        .catch((error: unknown) => {
          watch.fault = toProblem(error).message;
          watch.dueAt = this.#options.clock.sinceBootMs() + retryMs;
        })
        .finally(() => {
          this.#asking.delete(asked);
          this.#woken = true;
          this.#wake();
        });
      this.#asking.add(asked);
    }
  }

  #tell(): void {
    const report = this.report();
    const { clock, on } = this.#options;
    const essence = report.peers.map(({ host, state, mtu, publicKeys, reason }) => ({ host, state, mtu, publicKeys, reason }));
    const key = JSON.stringify([essence, report.failed, report.problem]);
    const now = clock.sinceBootMs();
    if (key === this.#told.key && now - this.#told.at < measurementsMs) return;
    this.#told = { key, at: now };
    on.report(report);
  }

  #vxlan(vni: number): VxlanDevice {
    const { agentId, controlPlane } = this.#options;
    const alias = `virt8ra-overlay:${agentId}:${vni}`;
    return { name: vxlanName(controlPlane, vni), alias, tunnels: this.#device.namespace };
  }

  async #remember(vnis: readonly number[]): Promise<void> {
    if (JSON.stringify(vnis) === JSON.stringify(this.#joined)) return;
    await writeJsonAtomic(this.#file, vnis);
    this.#joined = vnis;
  }
}

function joinedIn(content: unknown): readonly number[] | undefined {
  return Array.isArray(content) && content.every((vni) => Number.isInteger(vni)) ? (content as number[]) : undefined;
}
