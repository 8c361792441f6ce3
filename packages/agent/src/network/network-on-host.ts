import type { FileHandle } from 'node:fs/promises';
import {
  type DesiredFilter,
  type DesiredNetwork,
  type DesiredNic,
  type ObservedNetwork,
  type ObservedNic,
  Problem,
  toProblem,
} from '@virt8ra/contract';
import type { HostContext } from '../host-context.js';
import { addressOf } from './address.js';
import { announceAddress } from './announcement.js';
import { tapName } from './interface-name.js';
import { ensureNameService, type NameServiceState } from './name-service.js';
import { ensureNamespace, type HostSide, holdNamespace, releaseNamespace } from './namespaces.js';
import { applyNeighbours, desiredNeighbours, type Neighbours } from './neighbours.js';
import { lookAtNetwork, missingOf, type NetworkLook } from './network-look.js';
import { type NetworkPlace, runInside } from './network-place.js';
import { networkRules, type RuledNic, tableName } from './network-rules.js';
import { leadIn, leadOut, leadsTo } from './public-addresses.js';
import { limitRate } from './rates.js';
import { applyRoutes, sourceTables } from './routes.js';
import { createTap, plugTap } from './taps.js';

/** What is desired of a network on this host. */
export interface NetworkWish {
  readonly network: DesiredNetwork;
  readonly nics: readonly (RuledNic & { readonly hostname: string; readonly up: boolean })[];
  /** Those of this network. */
  readonly filters: readonly DesiredFilter[];
}

/** A text that the kernel took over, and the fingerprint of what it showed right after. */
interface Applied {
  readonly text: string;
  readonly seen: string | undefined;
}

/**
 * One network's part of this host: looks at what the kernel has, makes what is missing, and counts what it had to mend although it had
 * stood before.
 */
export class NetworkOnHost {
  readonly place: NetworkPlace;
  readonly #context: HostContext;
  #held: FileHandle | undefined;
  #side: HostSide | undefined;
  #rules: Applied | undefined;
  #routes: Applied | undefined;
  #neighbours: Neighbours = new Map();
  #wish: NetworkWish | undefined;
  #look: NetworkLook | undefined;
  #lookedAt = Number.NEGATIVE_INFINITY;
  /** This pass changed something of the kernel's. */
  #touched = false;
  #observed: ObservedNetwork | undefined;
  #publics: readonly string[] = [];
  #healed: NonNullable<ObservedNetwork['healed']> | undefined;

  constructor(context: HostContext, place: NetworkPlace) {
    this.#context = context;
    this.place = place;
  }

  /** What the kernel had counted of its devices at the last look; undefined before the first. */
  get devices(): NetworkLook['devices'] {
    return this.#look?.devices;
  }

  /** Addresses between host and namespace, once it stands. */
  get side(): HostSide | undefined {
    return this.#side;
  }

  /**
   * Brings the host's part to what is desired and answers what was seen at the end. `freshMs`: how old a look may be that is believed when
   * nothing else is desired than before. `extend` joins what others add to the network, and answers what they lack.
   */
  async converge(
    wish: NetworkWish,
    freshMs: number,
    extend: (place: NetworkPlace) => Promise<readonly string[]>,
  ): Promise<ObservedNetwork> {
    const same = JSON.stringify(wish) === JSON.stringify(this.#wish);
    if (same && this.#observed !== undefined && performance.now() - this.#lookedAt < freshMs) return this.#observed;
    const before = this.#look;
    let look = await lookAtNetwork(this.place, this.#context.agentId);
    const mended: string[] = [];
    const missing = missingOf(look, wish.network);
    this.#touched = false;
    if (this.#side === undefined || missing.length > 0) {
      const held = this.#held === undefined ? undefined : `/proc/${process.pid}/fd/${this.#held.fd}`;
      this.#side = await ensureNamespace(this.place, this.#context.agentId, wish.network, held);
      this.#held ??= await holdNamespace(this.place.namespace);
      if (before !== undefined && missingOf(before, wish.network).length === 0) mended.push(...missing);
      look = await lookAtNetwork(this.place, this.#context.agentId);
      this.#touched = true;
    }
    mended.push(...(await this.#applyRules(wish, look)));
    mended.push(...(await this.#applyRoutes(wish, look)));
    mended.push(...(await this.#applyNeighbours(wish, look)));
    mended.push(...(await this.#mendTaps(wish, look)));
    const services = await ensureNameService(this.#context.agentId, this.place, wish.network, wish.nics);
    if (services.revived) mended.push('dnsmasq');
    const limits = [...services.limits, ...(await extend(this.place)), ...(await this.#leadPublicAddresses(wish))];
    this.#look = this.#touched ? await lookAtNetwork(this.place, this.#context.agentId) : look;
    const lacking = [...missingOf(this.#look, wish.network), ...(this.#look.rules === undefined ? ['its rules'] : [])];
    if (lacking.length > 0) throw new Problem('unavailable', `the kernel does not have what was just made: ${lacking.join(', ')}`);
    if (this.#rules !== undefined) this.#rules = { ...this.#rules, seen: this.#look.rules };
    if (this.#routes !== undefined) this.#routes = { ...this.#routes, seen: this.#look.routes };
    this.#lookedAt = performance.now();
    this.#wish = wish;
    if (mended.length > 0) this.#noteHealed(wish.network.key, mended);
    this.#observed = this.#describe(wish.network, this.#look, services, limits);
    return this.#observed;
  }

  /** Makes a NIC's tap anew, unconnected. */
  async makeTap(nic: DesiredNic, uid: number): Promise<string> {
    if (this.#look !== undefined) {
      const taps = new Map(this.#look.taps);
      taps.delete(tapName(this.#context.agentId, nic.key));
      this.#look = { ...this.#look, taps };
    }
    return await createTap(this.#context.agentId, nic.key, this.place, uid);
  }

  /** Whether the last look saw a NIC's tap connected, and the rules for just this NIC. */
  isPlugged(nic: DesiredNic): boolean {
    const ruled = this.#ruled(nic.key);
    return (
      this.#look?.taps.get(tapName(this.#context.agentId, nic.key))?.attached === true && JSON.stringify(ruled) === JSON.stringify(nic)
    );
  }

  /** A NIC as the rules have it that the last look saw; undefined: they were not what was made, or do not know it. */
  #ruled(nicKey: string): DesiredNic | undefined {
    if (this.#look?.rules === undefined || this.#look.rules !== this.#rules?.seen) return undefined;
    return this.#wish?.nics.find(({ nic }) => nic.key === nicKey)?.nic;
  }

  /** Connects a tap that a guest's process has open; the rules must hold before. False: there is no such tap. */
  async plug(nic: DesiredNic, network: DesiredNetwork): Promise<boolean> {
    const plugged = await plugTap(this.#context.agentId, nic, this.place, network.mtu);
    this.#lookedAt = Number.NEGATIVE_INFINITY;
    if (plugged) this.#look = await lookAtNetwork(this.place, this.#context.agentId);
    return plugged;
  }

  /** A NIC as the last look saw it. */
  nicSeen(nic: DesiredNic): ObservedNic {
    const tap = tapName(this.#context.agentId, nic.key);
    const seen = this.#look?.taps.get(tap);
    const held = this.#ruled(nic.key);
    const packets = held?.rate?.packetsPerSecond;
    const rate = {
      ...(seen?.megabits === undefined ? {} : { megabitsPerSecond: seen.megabits }),
      ...(packets === undefined ? {} : { packetsPerSecond: packets }),
    };
    const publics = (held?.publicAddresses ?? []).map(({ address }) => address).filter((address) => this.#publics.includes(address));
    return {
      key: nic.key,
      ...(seen?.attached === true ? { tap } : {}),
      ...(held?.filters === undefined ? {} : { filters: held.filters }),
      antiSpoof: held !== undefined && held.antiSpoof !== false,
      ...(Object.keys(rate).length === 0 ? {} : { rate }),
      ...(publics.length === 0 ? {} : { publicAddresses: publics }),
    };
  }

  /** This agent's part goes; the last agent of the machine takes the namespace with it. */
  async leave(): Promise<void> {
    const { agentId } = this.#context;
    await leadOut(new Set(), agentId, this.place);
    const table = tableName(agentId);
    const text = ['inet', 'bridge'].map((family) => `table ${family} ${table} {\n}\ndelete table ${family} ${table}\n`).join('');
    await runInside(this.place.namespace, 'nft', ['-f', '-'], text).catch(() => {});
    await releaseNamespace(this.place, agentId);
    await this.#held?.close();
    this.#held = undefined;
  }

  async #applyRules(wish: NetworkWish, look: NetworkLook): Promise<string[]> {
    const { agentId } = this.#context;
    if (this.#side === undefined) return [];
    const taps = new Set(wish.nics.map(({ tap }) => tap));
    const strays = [...look.taps.keys()].filter((tap) => !taps.has(tap)).sort();
    const text = networkRules({ ...wish, agent: agentId, place: this.place, side: this.#side, strays });
    const before = this.#rules;
    if (before?.text === text && before.seen === look.rules && look.rules !== undefined) return [];
    await runInside(this.place.namespace, 'nft', ['-f', '-'], text);
    this.#touched = true;
    this.#rules = { text, seen: undefined };
    return before !== undefined && before.seen !== undefined && before.seen !== look.rules ? ['the rules'] : [];
  }

  async #applyRoutes(wish: NetworkWish, look: NetworkLook): Promise<string[]> {
    if (this.#side === undefined) return [];
    const tables = sourceTables(wish.network, this.place, this.#side);
    const text = JSON.stringify(tables);
    const before = this.#routes;
    if (before?.text === text && before.seen === look.routes) return [];
    await applyRoutes(this.place.namespace, tables);
    this.#touched = true;
    this.#routes = { text, seen: undefined };
    return before?.seen !== undefined && before.seen !== look.routes ? ['the routes'] : [];
  }

  async #applyNeighbours({ network }: NetworkWish, look: NetworkLook): Promise<string[]> {
    const wanted = desiredNeighbours(network);
    const before = this.#neighbours;
    const done = await applyNeighbours(this.place, wanted, before, look.neighbours);
    this.#neighbours = wanted;
    if (!done) return [];
    this.#touched = true;
    const stood = [...before].every(([address, mac]) => !wanted.has(address) || look.neighbours.get(address) === mac);
    return stood ? [] : ['the gateway’s neighbours'];
  }

  async #mendTaps(wish: NetworkWish, look: NetworkLook): Promise<string[]> {
    const mended: string[] = [];
    for (const { nic, tap, up } of wish.nics) {
      const seen = look.taps.get(tap);
      if (up && seen?.attached !== true) {
        const was = this.#look?.taps.get(tap)?.attached === true;
        this.#touched = true;
        if ((await this.plug(nic, wish.network)) && was) mended.push(`the tap of NIC ${nic.key}`);
      } else if (seen !== undefined && seen.megabits !== nic.rate?.megabitsPerSecond) {
        const was = this.#look?.taps.get(tap)?.megabits;
        await limitRate(this.place.namespace, tap, nic.rate);
        this.#touched = true;
        if (was !== undefined && was === nic.rate?.megabitsPerSecond) mended.push(`the rate of NIC ${nic.key}`);
      }
    }
    return mended;
  }

  /** Answers what stands in the way; other NICs are not kept waiting for it. */
  async #leadPublicAddresses(wish: NetworkWish): Promise<string[]> {
    const { agentId } = this.#context;
    if (this.#side === undefined) return [];
    const wanted = wish.nics.flatMap(({ nic }) => (nic.publicAddresses ?? []).map(({ address }) => addressOf(address)));
    if (wanted.length === 0 && this.#publics.length === 0) return [];
    await leadOut(new Set(wanted), agentId, this.place);
    const limits: string[] = [];
    for (const address of wanted) {
      try {
        const device = await leadIn(address, agentId, this.place, this.#side);
        if (!this.#publics.includes(address)) this.#announce(address, device);
      } catch (error) {
        limits.push(error instanceof Error ? error.message : String(error));
      }
    }
    this.#publics = await leadsTo(this.place);
    return limits;
  }

  /** Nothing waits for it: neighbours that do not hear it ask again within about a minute. */
  #announce(address: string, device: string): void {
    announceAddress(address, device).catch((error: unknown) =>
      this.#context.log.warn('a public address could not be announced', { address, device, problem: toProblem(error).message }),
    );
  }

  #noteHealed(networkKey: string, mended: readonly string[]): void {
    const what = [...new Set(mended)].join(', ');
    this.#healed = {
      times: (this.#healed?.times ?? 0) + 1,
      what: what.slice(0, 1024),
      at: new Date(this.#context.clock.wallMs()).toISOString(),
    };
    this.#context.log.warn('a part of a network was changed by somebody else and made anew', { network: networkKey, what });
  }

  #describe(
    { key, routes }: DesiredNetwork,
    look: NetworkLook,
    { dhcp, dns }: NameServiceState,
    limits: readonly string[],
  ): ObservedNetwork {
    const { bridge, namespace } = this.place;
    const leavesBySix = this.#context.networking.features.includes('ipv6-routes');
    return {
      key,
      state: 'ready',
      mode: 'bridge',
      bridge,
      namespace,
      ...(this.#side === undefined ? {} : { hostSide: [this.#side.inside4, this.#side.inside6] }),
      ...(routes === undefined ? {} : { egress: look.egress.filter((version) => version === 'IPv4' || leavesBySix) }),
      dhcp,
      dns,
      ...(this.#healed === undefined ? {} : { healed: this.#healed }),
      ...(limits.length === 0 ? {} : { limits: [...limits] }),
    };
  }
}
