import { createHash } from 'node:crypto';
import { chown, open } from 'node:fs/promises';
import { Problem } from '@virt8ra/contract';
import type { Guest } from '../qemu/guest.js';
import type { GuestUser } from '../qemu/guest-user.js';
import { createBlank } from '../storage/qemu-img.js';

/** One disk of the guest, and the file that its content at the point in time goes to. */
export interface CopiedDisk {
  readonly node: string;
  readonly sizeBytes: number;
  readonly file: string;
}

export type CopyState =
  | { readonly type: 'none' }
  | { readonly type: 'running'; readonly doneBytes: number; readonly totalBytes: number }
  | { readonly type: 'done' }
  | { readonly type: 'failed'; readonly message: string };

interface JobFacts {
  readonly id: string;
  readonly status: string;
  readonly 'current-progress': number;
  readonly 'total-progress': number;
  readonly error?: string;
}

const goneMs = 60_000;

/**
 * Copies of a running guest's disks at one point in time, made by its own process into compressed files: what the guest is about to overwrite is
 * copied first. Everything made in QEMU carries the backup's prefix, so that an agent that comes later finds it. Everything may be repeated.
 */
export class GuestCopy {
  readonly #guest: Guest;
  readonly #prefix: string;

  constructor(guest: Guest, backupKey: string) {
    this.#guest = guest;
    // Names of block nodes end at 31 characters.
    this.#prefix = `bk-${createHash('sha256').update(backupKey).digest('hex').slice(0, 10)}-`;
  }

  /** Makes the files and opens them. They belong to the guest's user from here on. */
  async prepare(disks: readonly CopiedDisk[], user: GuestUser | undefined): Promise<void> {
    await this.clear();
    for (const [position, { sizeBytes, file }] of disks.entries()) {
      await createBlank(file, sizeBytes);
      if (user !== undefined) await chown(file, user.uid, user.gid);
      await this.#guest.monitor.run('blockdev-add', {
        driver: 'qcow2',
        'node-name': this.#target(position),
        'detect-zeroes': 'unmap',
        discard: 'unmap',
        file: { driver: 'file', filename: file, discard: 'unmap' },
      });
    }
  }

  /** Takes the point in time of all disks at once. */
  async begin(disks: readonly CopiedDisk[]): Promise<void> {
    const actions = disks.map(({ node }, position) => ({
      type: 'blockdev-backup',
      data: {
        'job-id': this.#job(position),
        device: node,
        target: this.#target(position),
        sync: 'full',
        compress: true,
        'auto-dismiss': false,
      },
    }));
    await this.#guest.monitor.run('transaction', { actions });
  }

  async state(disks: number): Promise<CopyState> {
    const jobs = await this.#jobs();
    if (jobs.length === 0) return { type: 'none' };
    const failed = jobs.find(({ error }) => error !== undefined);
    if (failed !== undefined) return { type: 'failed', message: failed.error ?? '' };
    const doneBytes = jobs.reduce((sum, job) => sum + job['current-progress'], 0);
    const totalBytes = jobs.reduce((sum, job) => sum + job['total-progress'], 0);
    if (jobs.some(({ status }) => status !== 'concluded')) return { type: 'running', doneBytes, totalBytes };
    return jobs.length === disks ? { type: 'done' } : { type: 'failed', message: 'a copy is missing' };
  }

  /** Closes what is copied whole, and makes it durable. */
  async close(files: readonly string[]): Promise<void> {
    await this.clear();
    for (const file of files) {
      const handle = await open(file, 'r+');
      try {
        await handle.sync();
      } finally {
        await handle.close();
      }
    }
  }

  /** Takes everything of this backup out of the guest's process, however far it came. Raises Problem unavailable when it does not go. */
  async clear(): Promise<void> {
    const { monitor } = this.#guest;
    const end = performance.now() + goneMs;
    for (let jobs = await this.#jobs(); jobs.length > 0; jobs = await this.#jobs()) {
      for (const { id, status } of jobs) {
        if (status === 'concluded') await monitor.run('job-dismiss', { id }).catch(() => {});
        else await monitor.run('block-job-cancel', { device: id, force: true }).catch(() => {});
      }
      if (performance.now() > end) throw new Problem('unavailable', 'QEMU does not end a backup’s copy');
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const nodes = (await monitor.run('query-named-block-nodes', { flat: true })) as { 'node-name'?: string }[];
    for (const { 'node-name': name } of nodes) {
      if (name?.startsWith(this.#prefix) === true) await monitor.run('blockdev-del', { 'node-name': name });
    }
  }

  #target(position: number): string {
    return `${this.#prefix}t${position}`;
  }

  #job(position: number): string {
    return `${this.#prefix}j${position}`;
  }

  async #jobs(): Promise<readonly JobFacts[]> {
    return ((await this.#guest.monitor.run('query-jobs')) as JobFacts[]).filter(({ id }) => id.startsWith(this.#prefix));
  }
}
