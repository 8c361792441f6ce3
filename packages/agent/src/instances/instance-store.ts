import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type InstanceEnd, Problem } from '@virt8ra/contract';
import { makeDirectory, syncDirectory, writeJsonAtomic } from '../disk/atomic-file.js';
import { type Quarantine, readJsonOrQuarantine } from '../disk/quarantine.js';
import type { PermitAnchor } from '../permits/permit-book.js';
import type { StartedWith } from './started-with.js';

/** One start of a guest's process; present while that process may exist. */
export interface Launch {
  readonly id: string;
  readonly bootId: string;
  readonly at: string;
  readonly epoch: number;
  /** What the process was started with; less of it when the record had to be made again from the process. */
  readonly started?: StartedWith;
  /** Of which its taps are named. */
  readonly nicKeys?: readonly string[];
  /** By the place of the guest's disks, the boot disk first; null: a place that is free again. A key stands here as long as the guest may have the volume. */
  readonly volumeKeys: readonly (string | null)[];
  /** What it booted from instead of its boot disk. */
  readonly rescueVolumeKey?: string;
  readonly networkKeys: readonly string[];
  /** Hardware threads that its processors have for themselves, in their order. */
  readonly cpus?: readonly number[];
  readonly pid?: number;
  readonly startTicks?: number;
}

/** What this host remembers of an instance besides what is desired of it. */
export interface InstanceRecord {
  readonly version: 1;
  readonly key: string;
  readonly instance: string;
  readonly machine?: string;
  readonly cpuModel?: string;
  readonly accelerator?: 'kvm' | 'tcg';
  readonly launch?: Launch;
  readonly startedAt?: string;
  /** How many of the desired restarts were done. */
  readonly restarts: number;
  /** How its process ended last. */
  readonly lastEnd?: { readonly at: string; readonly how: InstanceEnd };
  /** So many restarts were done when it ended without being told to; absent: a start has been asked for since. */
  readonly unasked?: number;
  /** When it ended without being told to, newest last; what counts against the limit of its restart policy. */
  readonly crashes: readonly string[];
  readonly forwards: readonly { readonly port: number; readonly hostPort: number }[];
  readonly anchor?: PermitAnchor;
  /** Bytes of the serial log that were rotated away since the start. */
  readonly serialDropped: number;
}

/** Nobody knows when a permit with an expiry was received: it counts again once it is renewed. */
export function forgottenAnchor(epoch: number, expiresAt: string): PermitAnchor {
  return { epoch, expiresAt, bootId: 'forgotten', sinceBootMs: 0, receivedWallMs: Number.MAX_SAFE_INTEGER };
}

/** `instances/KEY/instance.json`, and beside it `guest/`, the folder that the guest's own user may write to. */
export class InstanceStore {
  readonly #root: string;
  readonly #records = new Map<string, InstanceRecord>();

  readonly #lost = new Set<string>();

  private constructor(root: string) {
    this.#root = root;
  }

  /** Reads what is there. A damaged record goes to the quarantine; the instance's folder stays as it is. */
  static async open(root: string, quarantine: Quarantine): Promise<InstanceStore> {
    await makeDirectory(root, 0o711);
    const store = new InstanceStore(root);
    for (const name of await readdir(root)) {
      const path = join(root, name, 'instance.json');
      const read = await readJsonOrQuarantine(path, quarantine);
      if (read.type !== 'content') {
        store.#lost.add(name);
        continue;
      }
      const record = read.content as InstanceRecord;
      if (recordFault(record, name) === undefined) store.#records.set(name, record);
      else if (typeof record?.version === 'number' && record.version !== 1) {
        throw new Problem('internal', `${join(root, name)} was written by another version of the agent`);
      } else {
        await quarantine.move(path, `${path} has not the form of an instance’s record`);
        store.#lost.add(name);
      }
    }
    return store;
  }

  /** Keys whose folder is there without a record: it was damaged, or never written. */
  lost(): readonly string[] {
    return [...this.#lost];
  }

  isLost(key: string): boolean {
    return this.#lost.has(key);
  }

  get(key: string): InstanceRecord | undefined {
    return this.#records.get(key);
  }

  all(): InstanceRecord[] {
    return [...this.#records.values()];
  }

  /** Folder of what the guest itself may write. */
  guestDirectory(key: string): string {
    return join(this.#root, key, 'guest');
  }

  /** Durable when it returns. */
  async write(record: InstanceRecord): Promise<void> {
    const directory = join(this.#root, record.key);
    if (!this.#records.has(record.key)) {
      await makeDirectory(directory, 0o711);
      await makeDirectory(join(directory, 'guest'), 0o700);
      await syncDirectory(this.#root);
    }
    await writeJsonAtomic(join(directory, 'instance.json'), record);
    this.#records.set(record.key, record);
    this.#lost.delete(record.key);
  }

  async remove(key: string): Promise<void> {
    await rm(join(this.#root, key), { recursive: true, force: true });
    this.#records.delete(key);
    this.#lost.delete(key);
  }
}

function recordFault(record: Partial<InstanceRecord> | null, key: string): string | undefined {
  if (typeof record !== 'object' || record === null || record.version !== 1) return 'version';
  if (record.key !== key || typeof record.instance !== 'string') return 'key';
  if (!Array.isArray(record.crashes) || !Array.isArray(record.forwards)) return 'lists';
  return typeof record.restarts === 'number' && typeof record.serialDropped === 'number' ? undefined : 'counts';
}
