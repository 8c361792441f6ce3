import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Problem } from '@virt8ra/contract';
import { makeDirectory, readJson, syncDirectory, writeJsonAtomic } from '../disk/atomic-file.js';
import type { PermitAnchor } from '../permits/permit-book.js';

/** One start of a guest's process; present while that process may exist. */
export interface Launch {
  readonly id: string;
  readonly bootId: string;
  readonly at: string;
  readonly epoch: number;
  /** Fingerprint of what the process was started with. */
  readonly plan: string;
  /** By the place of the guest's disks, the boot disk first; null: a place that is free again. A key stands here as long as the guest may have the volume. */
  readonly volumeKeys: readonly (string | null)[];
  readonly networkKeys: readonly string[];
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
  /** The guest switched itself off while this many restarts were desired; it stays off until more are, or power is turned off and on. */
  readonly poweredOff?: number;
  /** When its process ended by itself, newest last. */
  readonly crashes: readonly string[];
  readonly forwards: readonly { readonly port: number; readonly hostPort: number }[];
  readonly anchor?: PermitAnchor;
  /** Bytes of the serial log that were rotated away since the start. */
  readonly serialDropped: number;
}

/** `instances/KEY/instance.json`, and beside it `guest/`, the folder that the guest's own user may write to. */
export class InstanceStore {
  readonly #root: string;
  readonly #records = new Map<string, InstanceRecord>();

  private constructor(root: string) {
    this.#root = root;
  }

  static async open(root: string): Promise<InstanceStore> {
    await makeDirectory(root, 0o711);
    const store = new InstanceStore(root);
    for (const name of await readdir(root)) {
      const record = (await readJson(join(root, name, 'instance.json'))) as InstanceRecord | undefined;
      if (record === undefined) await rm(join(root, name), { recursive: true, force: true });
      else if (record.version !== 1) throw new Problem('internal', `${join(root, name)} was written by another version of the agent`);
      else store.#records.set(record.key, record);
    }
    return store;
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
  }

  async remove(key: string): Promise<void> {
    await rm(join(this.#root, key), { recursive: true, force: true });
    this.#records.delete(key);
  }
}
