import { createHash } from 'node:crypto';
import { chmod, chown, mkdir, rm, stat, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Problem } from '@virt8ra/contract/plain';
import { errorCode } from '../disk/atomic-file.js';
import { diskFull } from '../disk/room.js';
import type { Monitor } from '../qemu/monitor.js';
import { runCommand } from '../system/run-command.js';
import { GuestBlocks } from './guest-blocks.js';
import { NbdClient } from './nbd/client.js';
import { allocationContext, bitmapContext } from './nbd/extents.js';
import type { SourceDisk } from './send-plan.js';

export interface GuestPointsOptions {
  readonly monitor: Monitor;
  /** The monitor's socket: who owns it is who QEMU is. */
  readonly qmpSocket: string;
  readonly transferId: string;
  readonly disks: readonly { readonly node: string; readonly sizeBytes: number }[];
  /** Durable folder with room for what the guest overwrites during a pass. */
  readonly directory: string;
  /** Folder for the socket that QEMU serves. */
  readonly runtimeDirectory: string;
  readonly signal: AbortSignal;
}

/** All disks of a guest at one point in time, to be read over NBD. */
export interface GuestPoint {
  readonly disks: readonly SourceDisk[];
  /** Why the disks cannot be read any more: Problem exhausted when the point was given up for lack of room. */
  starved(): Problem | undefined;
  /** Every chunk of the pass is durable at the receiver: what it carried need not be remembered. */
  release(): Promise<void>;
  /** The pass was cut: what it carried goes into the next one. */
  drop(): Promise<void>;
}

/** Below this much room the frozen point is given up before the guest would be stopped for lack of it. */
const leastFreeBytes = 256 * 1024 * 1024;
const watchMs = 1_000;

/**
 * Frozen points of a running guest's disks. Every object made in QEMU carries this transfer's prefix, so that a mover that comes after a killed
 * one finds and removes them: `bN` a bitmap of what changes between points N-1 and N, to be sent in pass N; `fN-D` the frozen view of disk D at
 * point N; `jN-D` the job that fills it with what the guest overwrites; `eN-D` its export.
 */
export class GuestPoints {
  readonly #options: GuestPointsOptions;
  readonly #blocks: GuestBlocks;
  readonly #socket: string;
  readonly #scratch: string;
  readonly #nodes: readonly string[];
  /** Pass whose bitmap records now; undefined: nothing is recorded. */
  #recording: number | undefined;

  constructor(options: GuestPointsOptions) {
    this.#options = options;
    // Names of block nodes end at 31 characters, ids of transfers are longer.
    const prefix = `mv-${createHash('sha256').update(options.transferId).digest('hex').slice(0, 8)}-`;
    this.#blocks = new GuestBlocks(options.monitor, prefix);
    this.#socket = join(options.runtimeDirectory, 'guest', 'nbd');
    this.#scratch = join(options.directory, 'scratch');
    this.#nodes = options.disks.map(({ node }) => node);
  }

  /**
   * Takes away what an earlier mover left and merges the bitmaps it left into one. True when changes have been recorded all along; then
   * `nextPass` is the pass that will carry them. A guest that QEMU stopped for lack of room for an abandoned frozen view goes on.
   */
  async adopt(): Promise<boolean> {
    await this.#makeFolders();
    await this.#abandonPoint();
    return this.#recording !== undefined;
  }

  /** True when the guest changed nothing since the last point that was taken, by this mover or an earlier one. Must be asked before `adopt`. */
  async isUnchanged(): Promise<boolean> {
    const latest = await this.#blocks.latestBitmap(this.#nodes);
    return latest !== undefined && (await this.#blocks.dirtyBytes(this.#nodes, this.#blocks.bitmap(latest))) === 0;
  }

  /** Pass that will carry what is recorded now; undefined when nothing is. */
  get nextPass(): number | undefined {
    return this.#recording;
  }

  /**
   * Freezes all disks at one point and starts to record what changes after it. `direct`: the guest is paused, so that its disks themselves
   * are the frozen view.
   */
  async take(pass: number, direct: boolean): Promise<GuestPoint> {
    const { monitor, disks } = this.#options;
    const tracked = this.#recording !== undefined;
    if (tracked && this.#recording !== pass) throw new Problem('internal', `pass ${pass} is not the one that was recorded`);
    const bitmap = tracked ? this.#blocks.bitmap(pass) : undefined;
    const views = direct ? this.#nodes : disks.map((_, disk) => this.#blocks.name('f', pass, disk));
    try {
      if (!direct) await this.#openScratch(pass);
      const actions = disks.flatMap(({ node }, disk) => [
        ...(bitmap === undefined ? [] : [{ type: 'block-dirty-bitmap-disable', data: { node, name: bitmap } }]),
        { type: 'block-dirty-bitmap-add', data: { node, name: this.#blocks.bitmap(pass + 1), granularity: 65_536 } },
        ...(direct
          ? []
          : [
              {
                type: 'blockdev-backup',
                data: { 'job-id': this.#blocks.name('j', pass, disk), device: node, target: views[disk], sync: 'none' },
              },
            ]),
      ]);
      await monitor.run('transaction', { actions });
      this.#recording = pass + 1;
      const clients = await this.#serve(pass, views, bitmap, direct);
      let starved: Problem | undefined;
      const stopWatching = direct
        ? () => {}
        : this.#watchRoom((problem) => {
            starved ??= problem;
            for (const client of clients) client.destroy();
          });
      const close = async () => {
        stopWatching();
        for (const client of clients) await client.close();
        await this.#blocks.removeExports();
      };
      return {
        disks: clients.map((client) => ({ client, ...(bitmap === undefined ? {} : { bitmap }) })),
        starved: () => starved,
        release: async () => {
          await close();
          // A busy bitmap cannot go, so that it goes after its export; killed here, the next mover merges it, which costs time alone.
          if (bitmap !== undefined) await this.#blocks.removeBitmap(this.#nodes, bitmap);
          await this.#removePoint();
        },
        drop: async () => {
          await close();
          await this.#abandonPoint();
        },
      };
    } catch (error) {
      await this.#abandonPoint();
      throw error;
    }
  }

  /** Where the disks of a point are served, for as long as it is kept. */
  exportsOf(pass: number): readonly { readonly socket: string; readonly exportName: string }[] {
    return this.#nodes.map((_, disk) => ({ socket: this.#socket, exportName: this.#blocks.name('e', pass, disk) }));
  }

  /** Bytes that the guest has changed since the last point. */
  async dirtyBytes(): Promise<number> {
    return this.#recording === undefined ? 0 : await this.#blocks.dirtyBytes(this.#nodes, this.#blocks.bitmap(this.#recording));
  }

  /** Takes everything of this transfer out of QEMU. */
  async clear(): Promise<void> {
    await this.#abandonPoint();
    await this.#blocks.removeAllBitmaps(this.#nodes);
    await this.#blocks.stopServer();
    this.#recording = undefined;
  }

  /** The same for a view that may have been cut: what it carried goes into the next pass, and a guest that QEMU stopped for its sake goes on. */
  async #abandonPoint(): Promise<void> {
    const { monitor } = this.#options;
    const starved = ((await monitor.run('query-status')) as { readonly status: string }).status === 'io-error';
    await this.#removePoint();
    this.#recording = await this.#blocks.mergeBitmaps(this.#nodes);
    if (starved) await monitor.run('cont');
  }

  /** Takes the frozen view away, but goes on recording. */
  async #removePoint(): Promise<void> {
    await this.#blocks.removeExports();
    await this.#blocks.removeJobs();
    await this.#blocks.removeNodes();
    await rm(this.#scratch, { recursive: true, force: true });
  }

  async #makeFolders(): Promise<{ readonly uid: number; readonly gid: number }> {
    const { uid, gid } = await stat(this.#options.qmpSocket);
    for (const folder of [dirname(this.#socket), this.#scratch]) {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      if (process.getuid?.() !== 0) continue;
      // QEMU runs as the guest's user; of the folder above it may only pass through.
      await chown(folder, uid, gid);
      await chmod(dirname(folder), 0o711);
    }
    return { uid, gid };
  }

  async #openScratch(pass: number): Promise<void> {
    const { monitor, disks } = this.#options;
    const owner = await this.#makeFolders();
    await this.#checkRoom();
    for (const [disk, { node, sizeBytes }] of disks.entries()) {
      const filename = join(this.#scratch, `${pass}-${disk}.qcow2`);
      await runCommand('qemu-img', ['create', '-q', '-f', 'qcow2', filename, String(sizeBytes)]);
      if (process.getuid?.() === 0) await chown(filename, owner.uid, owner.gid);
      await monitor.run('blockdev-add', {
        driver: 'qcow2',
        'node-name': this.#blocks.name('f', pass, disk),
        file: { driver: 'file', filename },
        backing: node,
      });
    }
  }

  async #serve(pass: number, views: readonly string[], bitmap: string | undefined, direct: boolean): Promise<NbdClient[]> {
    const { monitor, signal } = this.#options;
    await this.#blocks.startServer(this.#socket);
    const clients: NbdClient[] = [];
    for (const [disk, view] of views.entries()) {
      const name = this.#blocks.name('e', pass, disk);
      const bitmaps = bitmap === undefined ? {} : { bitmaps: [{ node: this.#nodes[disk], name: bitmap }] };
      await monitor.run('block-export-add', { type: 'nbd', id: name, 'node-name': view, name, writable: false, ...bitmaps });
      // While the guest waits, the little that changed is read as it is, rather than asking what all of the disk is made of.
      const allocation = direct && bitmap !== undefined ? [] : [allocationContext];
      const contexts = [...allocation, ...(bitmap === undefined ? [] : [bitmapContext(bitmap)])];
      clients.push(await NbdClient.connect({ address: { path: this.#socket }, exportName: name, contexts, signal }));
    }
    return clients;
  }

  async #freeBytes(): Promise<number> {
    try {
      const { bavail, bsize } = await statfs(this.#scratch);
      return bavail * bsize;
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return Number.POSITIVE_INFINITY;
      throw error;
    }
  }

  async #checkRoom(): Promise<void> {
    if ((await this.#freeBytes()) < leastFreeBytes) throw await this.#noRoom();
  }

  async #noRoom(): Promise<Problem> {
    const { kind, message, facts } = await diskFull(this.#scratch, leastFreeBytes);
    return new Problem(kind, `the guest’s disks cannot be frozen while they are copied: on the source host ${message}`, { facts });
  }

  /** The guest’s writes must not wait for room that is not there: the pass ends first. */
  #watchRoom(giveUp: (problem: Problem) => void): () => void {
    const starve = () => void this.#noRoom().then(giveUp, () => {});
    const timer = setInterval(() => {
      this.#freeBytes().then(
        (free) => {
          if (free < leastFreeBytes) starve();
        },
        () => {},
      );
    }, watchMs);
    const stop = this.#options.monitor.onEvent(({ event, data }) => {
      if (event === 'BLOCK_IO_ERROR' && data['nospace'] === true) starve();
    });
    return () => {
      clearInterval(timer);
      stop();
    };
  }
}
