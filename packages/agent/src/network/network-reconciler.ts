import { createHash } from 'node:crypto';
import { join } from 'node:path';
import {
  type DesiredFilter,
  type DesiredInstance,
  type DesiredNetwork,
  type DesiredNic,
  filterText,
  type ObservedNetwork,
  type ObservedNic,
  Problem,
  toProblem,
} from '@virt8ra/contract';
import type { NextLook } from '../desired/converger.js';
import { writeJsonAtomic } from '../disk/atomic-file.js';
import { type Quarantine, readJsonOrQuarantine } from '../disk/quarantine.js';
import { type HostContext, troubleFrom } from '../host-context.js';
import type { DeviceLook } from '../samples/counters.js';
import { Exclusive } from '../system/exclusive.js';
import { HostRules } from './host-rules.js';
import { tapName } from './interface-name.js';
import { NetworkOnHost } from './network-on-host.js';
import { type NetworkExtension, networkPlace } from './network-place.js';
import type { RuledNic } from './network-rules.js';
import type { PortForward } from './user-network.js';

/** What networks have to know of the guests of this host. */
export interface NetworkUsers {
  usesNetwork(networkKey: string): boolean;
  forwardsOf(instanceKey: string): readonly PortForward[];
  /** Instances whose guest's process has its taps open, paused or not. */
  isUp(instanceKey: string): boolean;
}

/** Namespaces that an agent has taken a share in, by network. */
type Shares = Readonly<Record<string, { readonly vni: number; readonly namespace: string }>>;

/** How long a look at the kernel is believed when nothing else is desired than before. */
const freshMs = 1_000;
const lookAgainMs = 10_000;

/** Makes, keeps and removes the host's part of each network, the rules of its NICs and what leads in and out. */
export class NetworkReconciler {
  readonly #context: HostContext;
  readonly #extensions: readonly NetworkExtension[];
  readonly #file: string;
  readonly #exclusive = new Exclusive();
  readonly #hostRules: HostRules;
  readonly #networks = new Map<string, NetworkOnHost>();
  #users: NetworkUsers = { usesNetwork: () => false, forwardsOf: () => [], isUp: () => false };
  /** Kept on disk so that none is forgotten. */
  #shares: Shares;

  private constructor(context: HostContext, extensions: readonly NetworkExtension[], file: string, shares: Shares) {
    this.#context = context;
    this.#extensions = extensions;
    this.#file = file;
    this.#shares = shares;
    this.#hostRules = new HostRules(context.agentId);
  }

  static async open(
    context: HostContext,
    quarantine: Quarantine,
    extensions: readonly NetworkExtension[] = [],
  ): Promise<NetworkReconciler> {
    const file = join(context.config.stateDirectory, 'networks.json');
    const read = await readJsonOrQuarantine(file, quarantine);
    return new NetworkReconciler(context, extensions, file, read.type === 'content' ? (read.content as Shares) : {});
  }

  useInstances(users: NetworkUsers): void {
    this.#users = users;
  }

  keys(): string[] {
    return Object.keys(this.#shares);
  }

  /** Namespaces that taps of this agent may be in. */
  namespaces(): string[] {
    return Object.values(this.#shares).map(({ namespace }) => namespace);
  }

  /** What the last look into each network counted of its devices. */
  devices(): DeviceLook[] {
    return [...this.#networks.values()].flatMap(({ devices }) => devices ?? []);
  }

  /** Makes a NIC's tap anew, which a process of `uid` may open; `plug` connects it. Raises Problem unavailable when its network is not desired. */
  async makeTap(nic: DesiredNic, uid: number): Promise<string> {
    return await this.#exclusive.run(nic.networkKey, async () => {
      const network = this.#desired(nic.networkKey);
      if (network === undefined) throw new Problem('unavailable', `network ${nic.networkKey} is not ready`);
      return await this.#open(network).makeTap(nic, uid);
    });
  }

  /**
   * Connects a guest's taps, which its process has open, to their networks, whose rules hold before. Raises Problem when they do not, or when
   * a tap is not there: the guest must not run then. May be repeated.
   */
  async plug(instance: DesiredInstance): Promise<void> {
    if (this.#context.networking.mode === 'user') return;
    for (const nic of instance.nics) {
      await this.#exclusive.run(nic.networkKey, async () => {
        const network = this.#desired(nic.networkKey);
        if (network === undefined) throw new Problem('unavailable', `network ${nic.networkKey} is not ready`);
        await this.#converge(network);
        if (!(await this.#open(network).plug(nic, network)))
          throw new Problem('internal', `the tap of NIC ${nic.key} is gone; the guest gets it back when it is restarted`);
      });
    }
  }

  /** Whether all NICs were connected under their rules at the last look. */
  isPlugged({ nics }: DesiredInstance): boolean {
    return this.#context.networking.mode === 'user' || nics.every((nic) => this.#networks.get(nic.networkKey)?.isPlugged(nic) === true);
  }

  /** NICs of a running guest, as the kernel has them. */
  nicsSeen(instance: DesiredInstance): ObservedNic[] {
    return instance.nics.map((nic) => this.#networks.get(nic.networkKey)?.nicSeen(nic) ?? { key: nic.key, antiSpoof: false });
  }

  async pass(key: string): Promise<NextLook> {
    return await this.#exclusive.run(key, async () => {
      const desired = this.#desired(key);
      if (desired === undefined) return await this.#remove(key);
      if (this.#context.networking.mode === 'user') {
        const limits = userModeLimits(desired);
        const observed: ObservedNetwork = { key, state: 'ready', mode: 'user', ...(limits.length === 0 ? {} : { limits }) };
        this.#context.board.post('network', key, observed);
        return undefined;
      }
      await this.#converge(desired);
      return lookAgainMs;
    });
  }

  async passFilter(key: string): Promise<NextLook> {
    const { board, ledger, networking } = this.#context;
    const desired = ledger.state.filters?.find((filter) => filter.key === key);
    if (desired === undefined) {
      if (ledger.mayRemove({ type: 'filter', key })) board.remove({ type: 'filter', key });
      return undefined;
    }
    const network = this.#desired(desired.networkKey);
    try {
      if (networking.mode === 'user')
        throw new Problem('unsupported', `security groups need bridges, and this host has user-mode networking only: ${networking.reason}`);
      if (network === undefined)
        throw new Problem('unavailable', `filter ${key} is for network ${desired.networkKey}, which is not on this host`);
      const nics = await this.#exclusive.run(desired.networkKey, async () => {
        await this.#converge(network);
        return this.#nicsOf(desired.networkKey).filter(({ nic }) => nic.filters?.includes(key) === true).length;
      });
      board.post('filter', key, { key, state: 'ready', digest: createHash('sha256').update(filterText(desired)).digest('hex'), nics });
    } catch (error) {
      const problem = toProblem(error);
      board.post('filter', key, { key, state: 'failed', problem: troubleFrom(problem) });
      if (problem.kind !== 'unsupported') throw problem;
    }
    return undefined;
  }

  #desired(key: string): DesiredNetwork | undefined {
    return this.#context.ledger.state.networks.find((network) => network.key === key);
  }

  #open(network: DesiredNetwork): NetworkOnHost {
    const place = networkPlace(this.#context.controlPlane, network.vni);
    const known = this.#networks.get(network.key);
    if (known?.place.namespace === place.namespace) return known;
    const made = new NetworkOnHost(this.#context, place);
    this.#networks.set(network.key, made);
    return made;
  }

  /** NICs of all desired instances, running or not: rules are there before a guest is. */
  #nicsOf(networkKey: string): (RuledNic & { readonly hostname: string; readonly up: boolean })[] {
    const { agentId, ledger } = this.#context;
    return ledger.state.instances.flatMap((instance) =>
      instance.nics.flatMap((nic, index) =>
        nic.networkKey === networkKey
          ? [
              {
                nic,
                tap: tapName(agentId, nic.key),
                forwards: index === 0 ? this.#users.forwardsOf(instance.key) : [],
                hostname: instance.seed.hostname,
                up: this.#users.isUp(instance.key),
              },
            ]
          : [],
      ),
    );
  }

  async #converge(network: DesiredNetwork): Promise<void> {
    const { board } = this.#context;
    const { key } = network;
    const one = this.#open(network);
    try {
      if (this.#shares[key]?.vni !== network.vni) {
        await this.#leave(key);
        await this.#remember({ ...this.#shares, [key]: { vni: network.vni, namespace: one.place.namespace } });
      }
      const filters = (this.#context.ledger.state.filters ?? []).filter((filter: DesiredFilter) => filter.networkKey === key);
      const observed = await one.converge({ network, nics: this.#nicsOf(key), filters }, freshMs, async (place) => {
        const limits: string[] = [];
        for (const extension of this.#extensions) limits.push(...(await extension.attach(key, place)));
        return limits;
      });
      await this.#applyHostRules();
      board.post('network', key, observed);
    } catch (error) {
      const problem = toProblem(error);
      const { bridge, namespace } = one.place;
      board.post('network', key, { key, state: 'failed', mode: 'bridge', bridge, namespace, problem: troubleFrom(problem) });
      throw problem;
    }
  }

  async #applyHostRules(): Promise<void> {
    const { dataAddress, ledger, log } = this.#context;
    await this.#exclusive.run('/host', async () => {
      const forwards = ledger.state.networks.flatMap(({ key }) => {
        const side = this.#networks.get(key)?.side;
        if (side === undefined) return [];
        return this.#nicsOf(key).flatMap((nic) => nic.forwards.map(({ hostPort }) => ({ hostPort, side })));
      });
      const leaves = ledger.state.networks.some(({ routes }) => routes?.some(({ via }) => via.type === 'internet') === true);
      if (await this.#hostRules.ensure(dataAddress(), forwards, leaves)) log.warn('the host’s rules had been changed and were made anew');
    });
  }

  async #remove(key: string): Promise<NextLook> {
    const { board, ledger } = this.#context;
    const vni = this.#shares[key]?.vni;
    if (!ledger.mayRemove({ type: 'network', key })) {
      if (vni !== undefined) {
        const { bridge, namespace } = networkPlace(this.#context.controlPlane, vni);
        board.post('network', key, { key, state: 'ready', mode: 'bridge', bridge, namespace });
      }
      return undefined;
    }
    if (this.#users.usesNetwork(key)) return 2_000;
    await this.#leave(key);
    board.remove({ type: 'network', key });
    return undefined;
  }

  async #leave(key: string): Promise<void> {
    const vni = this.#shares[key]?.vni;
    if (vni === undefined) return;
    const place = networkPlace(this.#context.controlPlane, vni);
    for (const extension of this.#extensions) await extension.detach(key, place);
    await (this.#networks.get(key) ?? new NetworkOnHost(this.#context, place)).leave();
    this.#networks.delete(key);
    const { [key]: _, ...others } = this.#shares;
    await this.#remember(others);
    if (Object.keys(others).length === 0) await this.#hostRules.clear();
  }

  async #remember(shares: Shares): Promise<void> {
    await writeJsonAtomic(this.#file, shares);
    this.#shares = shares;
  }
}

/** What of a network user-mode networking cannot do. */
function userModeLimits({ routes, dhcp, dns }: DesiredNetwork): string[] {
  return [
    'this host has user-mode networking only: each guest is alone, behind the host’s address',
    ...(routes === undefined ? ['what leaves a guest is not limited by route tables'] : []),
    ...(dhcp === true || dns !== undefined ? ['DHCP and names are those of QEMU and know one guest only'] : []),
  ];
}
