import { Problem } from '@virt8ra/contract/plain';
import type { Monitor, MonitorEvent } from '../qemu/monitor.js';

interface BitmapFacts {
  readonly name?: string;
  readonly count: number;
}

interface NodeFacts {
  readonly 'node-name'?: string;
  readonly 'dirty-bitmaps'?: readonly BitmapFacts[];
}

const goneMs = 60_000;

/** The block layer's objects of one transfer inside a QEMU, known by the prefix of their names. Everything may be repeated. */
export class GuestBlocks {
  readonly #monitor: Monitor;
  readonly #prefix: string;

  constructor(monitor: Monitor, prefix: string) {
    this.#monitor = monitor;
    this.#prefix = prefix;
  }

  name(letter: 'f' | 'j' | 'e', pass: number, disk: number): string {
    return `${this.#prefix}${letter}${pass}-${disk}`;
  }

  bitmap(pass: number): string {
    return `${this.#prefix}b${pass}`;
  }

  async startServer(path: string): Promise<void> {
    const start = async () => await this.#monitor.run('nbd-server-start', { addr: { type: 'unix', data: { path } } });
    try {
      await start();
    } catch (error) {
      if (!(error instanceof Problem) || !error.message.includes('already running')) throw error;
      // It may be one that an earlier mover started, on a socket that is gone.
      const exports = (await this.#monitor.run('query-block-exports')) as readonly unknown[];
      if (exports.length > 0) throw new Problem('conflict', 'the guest’s disks are exported to someone else', { cause: error });
      await this.#monitor.run('nbd-server-stop');
      await start();
    }
  }

  async stopServer(): Promise<void> {
    const exports = (await this.#monitor.run('query-block-exports')) as readonly unknown[];
    if (exports.length === 0) await this.#monitor.run('nbd-server-stop').catch(() => {});
  }

  async removeExports(): Promise<void> {
    const list = async () => {
      const found = (await this.#monitor.run('query-block-exports')) as readonly { readonly id: string }[];
      return found.map(({ id }) => id).filter((id) => id.startsWith(this.#prefix));
    };
    for (const id of await list()) await this.#monitor.run('block-export-del', { id, mode: 'hard' }).catch(ignoreGone);
    await this.#until(async () => (await list()).length === 0, ['BLOCK_EXPORT_DELETED'], 'exports');
  }

  async removeJobs(): Promise<void> {
    const list = async () => {
      const found = (await this.#monitor.run('query-jobs')) as readonly { readonly id: string }[];
      return found.map(({ id }) => id).filter((id) => id.startsWith(this.#prefix));
    };
    for (const id of await list()) await this.#monitor.run('job-cancel', { id }).catch(ignoreGone);
    await this.#until(async () => (await list()).length === 0, ['JOB_STATUS_CHANGE'], 'jobs');
  }

  async removeNodes(): Promise<void> {
    for (const { 'node-name': name } of await this.#nodes())
      if (name?.startsWith(this.#prefix) === true) await this.#monitor.run('blockdev-del', { 'node-name': name }).catch(ignoreGone);
  }

  async dirtyBytes(nodes: readonly string[], bitmap: string): Promise<number> {
    const found = await this.#bitmaps(nodes);
    return found.flat().reduce((sum, { name, count }) => sum + (name === bitmap ? count : 0), 0);
  }

  async removeBitmap(nodes: readonly string[], name: string): Promise<void> {
    const found = await this.#bitmaps(nodes);
    const actions = nodes
      .filter((_, disk) => found[disk]?.some((bitmap) => bitmap.name === name) === true)
      .map((node) => ({ type: 'block-dirty-bitmap-remove', data: { node, name } }));
    if (actions.length > 0) await this.#monitor.run('transaction', { actions });
  }

  async removeAllBitmaps(nodes: readonly string[]): Promise<void> {
    const names = new Set((await this.#bitmaps(nodes)).flat().flatMap(({ name }) => (name === undefined ? [] : [name])));
    for (const name of names) await this.removeBitmap(nodes, name);
  }

  /** The latest pass that every disk has a bitmap for; undefined when they differ or there is none. */
  async latestBitmap(nodes: readonly string[]): Promise<number | undefined> {
    const latest = (await this.#passes(nodes)).map((passes) => Math.max(-1, ...passes));
    const pass = latest[0] ?? -1;
    return pass < 0 || latest.some((other) => other !== pass) ? undefined : pass;
  }

  /**
   * Merges all bitmaps of a disk into the one of the latest pass, which is the one that records, and answers that pass. Without a bitmap of the
   * same latest pass on every disk the record has a gap: all are removed and the answer is undefined.
   */
  async mergeBitmaps(nodes: readonly string[]): Promise<number | undefined> {
    const pass = await this.latestBitmap(nodes);
    if (pass === undefined) {
      await this.removeAllBitmaps(nodes);
      return undefined;
    }
    const found = await this.#passes(nodes);
    const target = this.bitmap(pass);
    const actions = nodes.flatMap((node, disk) => {
      const earlier = (found[disk] ?? []).filter((other) => other !== pass).map((other) => this.bitmap(other));
      if (earlier.length === 0) return [];
      return [
        { type: 'block-dirty-bitmap-merge', data: { node, target, bitmaps: earlier } },
        ...earlier.map((name) => ({ type: 'block-dirty-bitmap-remove', data: { node, name } })),
      ];
    });
    if (actions.length > 0) await this.#monitor.run('transaction', { actions });
    return pass;
  }

  async #nodes(): Promise<readonly NodeFacts[]> {
    return (await this.#monitor.run('query-named-block-nodes', { flat: true })) as readonly NodeFacts[];
  }

  /** Passes that this transfer has bitmaps for, by disk. */
  async #passes(nodes: readonly string[]): Promise<number[][]> {
    return (await this.#bitmaps(nodes)).map((bitmaps) => bitmaps.map(({ name = '' }) => Number(name.slice(this.#prefix.length + 1))));
  }

  /** This transfer's bitmaps, by disk. */
  async #bitmaps(nodes: readonly string[]): Promise<BitmapFacts[][]> {
    const found = await this.#nodes();
    return nodes.map((node) => {
      const facts = found.find(({ 'node-name': name }) => name === node);
      if (facts === undefined) throw new Problem('not-found', `the guest has no block node ${node}`);
      return (facts['dirty-bitmaps'] ?? []).filter(({ name }) => name?.startsWith(`${this.#prefix}b`) === true);
    });
  }

  /** Waits until `test` holds, looking again at each of the events. */
  async #until(test: () => Promise<boolean>, events: readonly string[], what: string): Promise<void> {
    let wake: () => void = () => {};
    const stop = this.#monitor.onEvent(({ event }: MonitorEvent) => {
      if (events.includes(event)) wake();
    });
    const end = performance.now() + goneMs;
    try {
      for (;;) {
        const woken = new Promise<void>((resolve) => {
          wake = resolve;
          setTimeout(resolve, 200).unref();
        });
        if (await test()) return;
        if (performance.now() > end) throw new Problem('unavailable', `QEMU does not end the ${what} of a transfer`);
        await woken;
      }
    } finally {
      stop();
    }
  }
}

/** Someone else, or QEMU itself, was faster. */
function ignoreGone(error: unknown): void {
  if (error instanceof Problem && /not found|does not exist|no such|Failed to find/i.test(error.message)) return;
  throw error;
}
