import { type DesiredInstance, Problem } from '@virt8ra/contract';
import type { Guest } from '../qemu/guest.js';
import { allowedCpus, pinProcess, pinThread, processorThreads } from './affinity.js';
import { chooseCpus } from './choose-cpus.js';
import { listFromCpus } from './cpu-list.js';
import { type HardwareThread, readThreads } from './topology.js';

/** Guests' processes that may be there, with the threads that each has for itself, by instance key. */
export type HeldCpus = () => ReadonlyMap<string, readonly number[]>;

/**
 * Hardware threads set apart for guests that have theirs for themselves. Which guest has which stands in the records, so that it survives this
 * agent; everything else that this agent runs stays off them.
 */
export class DedicatedCpus {
  /** Those that the operator has set apart. */
  readonly cpus: readonly number[];
  readonly #threads: readonly HardwareThread[];
  /** Where this agent was let run when it was started, by systemd or whoever did. */
  readonly #allowed: readonly number[];
  readonly #held: HeldCpus;
  /** Chosen for guests whose records do not say so yet. */
  readonly #chosen = new Map<string, readonly number[]>();

  private constructor(cpus: readonly number[], threads: readonly HardwareThread[], allowed: readonly number[], held: HeldCpus) {
    this.cpus = cpus;
    this.#threads = threads;
    this.#allowed = allowed;
    this.#held = held;
  }

  /** Keeps this agent and what it starts off them. Raises Problem validation for threads that this machine does not have, or when none is left to others. */
  static async open(cpus: readonly number[], held: HeldCpus): Promise<DedicatedCpus> {
    const threads = await readThreads();
    const online = threads.map(({ cpu }) => cpu);
    const absent = cpus.filter((cpu) => !online.includes(cpu));
    if (absent.length > 0)
      throw new Problem('validation', `--dedicated-cpus names ${listFromCpus(absent)}; this machine has ${listFromCpus(online)} online`);
    const allowed = (await allowedCpus(process.pid)) ?? online;
    const dedicated = new DedicatedCpus(cpus, threads, allowed, held);
    if (cpus.length === 0) return dedicated;
    if (dedicated.#shared().length === 0) {
      const message = `--dedicated-cpus leaves none of the CPUs that this agent may use (${listFromCpus(allowed)}); leave at least one to it and to other guests`;
      throw new Problem('validation', message);
    }
    await pinProcess(process.pid, dedicated.#shared());
    return dedicated;
  }

  /**
   * Threads for a guest that is about to start, kept from others until `settle`, when its record says so; and the NUMA node of all of them where there are several nodes. Undefined: it shares. Raises Problem
   * exhausted when too few are free.
   */
  choose({ key, vCPU, cpuPolicy }: DesiredInstance): { readonly cpus: readonly number[]; readonly node?: number } | undefined {
    if (cpuPolicy !== 'dedicated') return undefined;
    const taken = this.#taken(key);
    const free = this.#threads.filter(({ cpu }) => this.cpus.includes(cpu) && !taken.has(cpu));
    const cpus = chooseCpus(free, vCPU);
    if (cpus === undefined) {
      const apart =
        this.cpus.length === 0 ? 'none is set apart (--dedicated-cpus)' : `${free.length} of ${this.cpus.length} set apart are free`;
      throw new Problem('exhausted', `the guest needs ${vCPU} CPU${vCPU === 1 ? '' : 's'} for itself, and ${apart} on this host`);
    }
    this.#chosen.set(key, cpus);
    const nodes = new Set(free.flatMap(({ cpu, node }) => (cpus.includes(cpu) ? [node] : [])));
    const several = new Set(this.#threads.map(({ node }) => node)).size > 1;
    const [node] = nodes;
    return { cpus, ...(several && nodes.size === 1 && node !== undefined ? { node } : {}) };
  }

  settle(key: string): void {
    this.#chosen.delete(key);
  }

  /** Those that a guest has for itself whose record is lost. */
  async recall(guest: Guest): Promise<readonly number[] | undefined> {
    const seen = await Promise.all((await processorThreads(guest)).map(async (thread) => (await allowedCpus(thread)) ?? []));
    const own = seen.flatMap((cpus) => (cpus.length === 1 && cpus.every((cpu) => this.cpus.includes(cpu)) ? cpus : []));
    return own.length > 0 && own.length === seen.length ? own : undefined;
  }

  /**
   * Has a guest's processors run where its record says, and everything else of it elsewhere, whoever changed that. Answers where its processors
   * were seen to run; undefined for a guest that shares.
   */
  async hold(key: string, guest: Guest): Promise<readonly number[] | undefined> {
    const cpus = this.#held().get(key);
    if (cpus === undefined && this.cpus.length === 0) return undefined;
    const { pid } = guest.process;
    const shared = listFromCpus(this.#shared());
    const isOff = listFromCpus((await allowedCpus(pid)) ?? []) === shared;
    if (!isOff) await pinProcess(pid, this.#shared());
    if (cpus === undefined) return undefined;
    const threads = await processorThreads(guest);
    const seen: number[] = [];
    for (const [index, thread] of threads.entries()) {
      const cpu = cpus[index];
      if (cpu === undefined)
        throw new Problem('internal', `the guest has ${threads.length} processors and its record CPUs for ${cpus.length}`);
      if (listFromCpus((await allowedCpus(thread)) ?? []) !== String(cpu)) await pinThread(thread, [cpu]);
      seen.push(...((await allowedCpus(thread)) ?? []));
    }
    return seen;
  }

  #taken(except?: string): ReadonlySet<number> {
    return new Set([...this.#held(), ...this.#chosen].flatMap(([key, cpus]) => (key === except ? [] : cpus)));
  }

  /** Where everything runs that has none for itself; a guest keeps what it was given, whatever is set apart now. */
  #shared(): readonly number[] {
    const apart = new Set([...this.cpus, ...this.#taken()]);
    return this.#allowed.filter((cpu) => !apart.has(cpu));
  }
}
