import { join } from 'node:path';
import { type DesiredInstance, type HostPci, Problem, toProblem } from '@virt8ra/contract';
import type { Quarantine } from '../disk/quarantine.js';
import type { Log } from '../log.js';
import { Exclusive } from '../system/exclusive.js';
import type { Allowance } from './allowance.js';
import { bindToVfio, requireVfio, restoreDriver } from './bind.js';
import { describePci } from './describe-pci.js';
import type { PciUnit } from './judge-functions.js';
import { lookAtPci, type PciSight } from './look.js';
import { type PciClaim, PciClaims } from './pci-claims.js';
import { isBridge, readFunction, readFunctions, vfioDriver } from './pci-function.js';
import { PciNames } from './pci-names.js';
import type { PciSystem } from './pci-system.js';

/** A unit as a guest's process is given it: a place of its own on the guest's bus, and the functions there. */
export interface HostDevice {
  readonly place: number;
  /** The main function first. */
  readonly functions: readonly string[];
}

type Wanted = NonNullable<DesiredInstance['pciDevices']>;

/** Places for such devices on a guest's bus. */
export const hostDevicesMost = 16;

/**
 * PCI devices of the host that guests have for themselves. Which guest holds which is written down before a driver is touched, and stays so while
 * the instance is on this host, running or not; whatever was begun when this process was killed is finished or undone by the next.
 */
export class PciPassthrough {
  readonly #system: PciSystem;
  readonly #allowances: readonly Allowance[];
  readonly #release: 'keep' | 'driver';
  readonly #claims: PciClaims;
  readonly #log: Log;
  readonly #names = new PciNames();
  readonly #turns = new Exclusive();

  private constructor(parts: PassthroughParts, claims: PciClaims) {
    this.#system = parts.system;
    this.#allowances = parts.allowances;
    this.#release = parts.release;
    this.#log = parts.log;
    this.#claims = claims;
  }

  static async open(path: string, parts: PassthroughParts): Promise<PciPassthrough> {
    return new PciPassthrough(parts, await PciClaims.open(path, parts.quarantine));
  }

  /** What this host can give to guests, and why not more. */
  async describe(): Promise<HostPci> {
    return await describePci(await this.#look(), this.#claims.all(), this.#names);
  }

  async #look(): Promise<PciSight> {
    return await lookAtPci(this.#system, this.#allowances, (address) => this.#claims.holderOf(address) !== undefined);
  }

  /** Which of its PCI devices an instance holds, by the id it asked for. */
  of(key: string): readonly { readonly id: string; readonly address: string }[] {
    return this.#claims.of(key).map(({ id, functions: [main] }) => ({ id, address: main?.address ?? '' }));
  }

  /**
   * Makes what is wanted an instance's own: chosen, written down, bound to the driver for guests, and what it does not need any more given back. What it
   * holds already it keeps. Raises Problem exhausted when too few are free, unsupported and unavailable when they cannot be bound; it holds then
   * what it held before.
   */
  async take(key: string, wanted: Wanted): Promise<readonly HostDevice[]> {
    return await this.#turns.run('', async () => {
      if (wanted.length === 0 && this.#claims.of(key).length === 0) return [];
      const { judged, iommu } = await this.#look();
      const units = judged.flatMap((each) => (each.type === 'unit' ? [each.unit] : []));
      await this.#give([...this.#claims.going(), ...this.#surplus(key, wanted, units)]);
      const added = this.#choose(key, wanted, units, { judged, iommu });
      if (this.#claims.of(key).length + added.length > 0) await requireVfio(this.#system);
      await this.#claims.replace([...this.#claims.all(), ...added]);
      try {
        for (const { functions } of this.#claims.of(key)) for (const { address } of functions) await bindToVfio(this.#system, address);
        await this.#assertWhole(key);
      } catch (error) {
        await this.#undo(added);
        throw error;
      }
      const mine = this.#claims.of(key);
      if (mine.some(({ stage }) => stage !== 'bound'))
        await this.#claims.replace(this.#claims.all().map((claim) => (claim.key === key ? { ...claim, stage: 'bound' } : claim)));
      return mine.map(({ place, functions }) => ({ place, functions: functions.map(({ address }) => address) }));
    });
  }

  /** Lets the user of a guest's process open what its instance holds, and nobody else. */
  async grant(key: string, uid: number): Promise<void> {
    for (const node of await this.#nodesOf(this.#claims.of(key))) await this.#system.give(node, uid);
  }

  /** The process is gone: its user opens nothing any more. */
  async revoke(key: string): Promise<void> {
    for (const node of await this.#nodesOf(this.#claims.of(key))) await this.#system.give(node, 0);
  }

  /** Gives back what an instance without a process holds and does not want any more. */
  async trim(key: string, wanted: Wanted): Promise<void> {
    if (this.#claims.of(key).length === 0) return;
    await this.#turns.run('', async () => await this.#give(this.#surplus(key, wanted)));
  }

  /** Gives everything of an instance back that is gone for good. May be repeated. */
  async giveBack(key: string): Promise<void> {
    await this.trim(key, []);
  }

  /**
   * What guests' processes were seen to have, by key, after a start of this agent: the truth, whatever was written down. Then gives back what is
   * held by instances that are not `known`, and what was half given back.
   */
  async adopt(seen: ReadonlyMap<string, readonly HostDevice[]>, known: (key: string) => boolean): Promise<void> {
    await this.#turns.run('', async () => {
      for (const [key, devices] of seen) {
        for (const { place, functions: addresses } of devices) {
          const holder = this.#claims.holderOf(addresses[0] ?? '');
          if (holder?.key === key && holder.stage === 'bound') continue;
          const functions = await Promise.all(
            addresses.map(async (address) => ({ address, id: (await readFunction(this.#system, address))?.id ?? '' })),
          );
          const others = this.#claims.all().filter((claim) => claim.functions.every(({ address }) => !addresses.includes(address)));
          await this.#claims.replace([...others, { key, id: functions[0]?.id ?? '', place, functions, stage: 'bound' }]);
          this.#log.warn('a guest has a PCI device that the list of this agent does not give it', { key, addresses });
        }
      }
      await this.#give([...this.#claims.going(), ...this.#claims.all().filter(({ key }) => !(known(key) || seen.has(key)))]);
    });
  }

  /** What is wrong with the devices that a running guest has; undefined: nothing that can be seen. */
  async fault(key: string): Promise<string | undefined> {
    for (const { functions } of this.#claims.of(key)) {
      for (const { address } of functions) {
        const device = await readFunction(this.#system, address);
        if (device === undefined) return `its PCI device ${address} has vanished from this host; the guest goes on without it`;
        if (device.driver !== vfioDriver)
          return `driver ${device.driver ?? 'none'} of this host has its PCI device ${address}, not the guest`;
      }
    }
    return undefined;
  }

  /** What an instance holds beyond what it wants, or what is not offered any more; without `units` only the former. */
  #surplus(key: string, wanted: Wanted, units?: readonly PciUnit[]): readonly PciClaim[] {
    const left = new Map(wanted.map(({ id, count }) => [id, count]));
    return this.#claims.of(key).filter((claim) => {
      const more = left.get(claim.id) ?? 0;
      const offered = units === undefined || units.some((unit) => isSame(unit, claim));
      if (more > 0 && offered) left.set(claim.id, more - 1);
      else return true;
      return false;
    });
  }

  #choose(key: string, wanted: Wanted, units: readonly PciUnit[], sight: PciSight): readonly PciClaim[] {
    const held = this.#claims.of(key);
    const places = new Set(held.map(({ place }) => place));
    const added: PciClaim[] = [];
    for (const { id, count } of wanted) {
      const free = units.filter(({ main, functions }) => {
        const taken = functions.some(({ address }) => this.#claims.holderOf(address) !== undefined);
        return main.id === id && !taken;
      });
      const missing = count - held.filter((claim) => claim.id === id).length;
      if (free.length < missing) throw new Problem('exhausted', shortage(id, count, count - missing + free.length, sight));
      for (const { functions } of free.slice(0, Math.max(missing, 0))) {
        const place = Array.from({ length: hostDevicesMost }, (_, index) => index).find((index) => !places.has(index));
        if (place === undefined) throw new Problem('unsupported', `a guest takes at most ${hostDevicesMost} PCI devices of its host`);
        places.add(place);
        const own = functions.map((each) => ({ address: each.address, id: each.id, former: each.driver ?? null }));
        added.push({ key, id, place, functions: own, stage: 'binding' });
      }
    }
    return added;
  }

  /** Raises Problem unavailable when somebody else has a part of a group: no guest's process could open it. */
  async #assertWhole(key: string): Promise<void> {
    const functions = await readFunctions(this.#system);
    for (const claim of this.#claims.of(key)) {
      const group = functions.find(({ address }) => address === claim.functions[0]?.address)?.group;
      if (group === undefined) throw new Problem('unavailable', `PCI device ${claim.functions[0]?.address} is in no IOMMU group any more`);
      const other = functions.find(
        (each) => each.group === group && !isBridge(each) && each.driver !== undefined && each.driver !== vfioDriver,
      );
      if (other !== undefined)
        throw new Problem(
          'unavailable',
          `driver ${other.driver} has ${other.address}, which is in IOMMU group ${group} with a device of the guest`,
        );
    }
  }

  /** Undoes a binding that no guest had any use of. */
  async #undo(added: readonly PciClaim[]): Promise<void> {
    await this.#give(added.filter((claim) => this.#claims.all().includes(claim)));
  }

  /** Gives claims back. What cannot be given back stays written down as leaving, and is tried again at the next start of this agent. */
  async #give(claims: readonly PciClaim[]): Promise<void> {
    if (claims.length === 0) return;
    const going = new Map<PciClaim, PciClaim>(
      claims.map((claim) => [claim, { ...claim, stage: claim.stage === 'binding' || claim.stage === 'undoing' ? 'undoing' : 'leaving' }]),
    );
    await this.#claims.replace(this.#claims.all().map((claim) => going.get(claim) ?? claim));
    for (const node of await this.#nodesOf(claims)) await this.#system.give(node, 0);
    const gone = new Set<PciClaim>();
    for (const claim of going.values()) {
      if (claim.stage === 'leaving' && this.#release === 'keep') gone.add(claim);
      else if (await this.#restored(claim)) gone.add(claim);
    }
    await this.#claims.replace(this.#claims.all().filter((claim) => !gone.has(claim)));
  }

  async #restored({ functions }: PciClaim): Promise<boolean> {
    let done = true;
    for (const { address, former } of functions) {
      try {
        await restoreDriver(this.#system, address, former);
      } catch (error) {
        done = false;
        this.#log.warn('a PCI device was not given back to its driver', { address, problem: toProblem(error).message });
      }
    }
    return done;
  }

  /** Device files of the groups of claims that are there. */
  async #nodesOf(claims: readonly PciClaim[]): Promise<readonly string[]> {
    const groups = await Promise.all(
      claims.map(async ({ functions: [main] }) =>
        main === undefined ? undefined : (await readFunction(this.#system, main.address))?.group,
      ),
    );
    return [...new Set(groups)].flatMap((group) => (group === undefined ? [] : [join(this.#system.dev, 'vfio', String(group))]));
  }
}

export interface PassthroughParts {
  readonly system: PciSystem;
  readonly allowances: readonly Allowance[];
  /** What becomes of a device that is given back: it keeps the driver for guests, or gets back the one it had. */
  readonly release: 'keep' | 'driver';
  readonly quarantine: Quarantine;
  readonly log: Log;
}

function isSame(unit: PciUnit, { functions }: PciClaim): boolean {
  return functions.every(({ address, id }) => unit.functions.some((each) => each.address === address && each.id === id));
}

function shortage(id: string, count: number, have: number, { judged, iommu }: PciSight): string {
  const needs = `the guest needs ${count} PCI device${count === 1 ? '' : 's'} ${id}, and this host has ${have} for it`;
  if (!iommu.on) return `${needs}: ${iommu.reason}`;
  const refused = judged.flatMap((each) =>
    each.type === 'refused' && each.device.id === id ? [`${each.device.address}: ${each.reason}`] : [],
  );
  return refused.length === 0 ? needs : `${needs} (${refused.slice(0, 4).join('; ')})`;
}
