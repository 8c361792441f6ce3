import { readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Problem } from '@virt8ra/contract';
import { errorCode, makeDirectory, readJson, syncDirectory, writeJsonAtomic } from '../disk/atomic-file.js';
import { createOverlay } from './qemu-img.js';

export type VolumeStage =
  /** Its file is being made; whatever lies there is worthless. */
  | 'creating'
  /** `base.qcow2` is the whole volume. An `overlay.qcow2` beside it is merged already and goes away. */
  | 'ready'
  /** `base.qcow2` is being filled by a transfer. */
  | 'incoming'
  /** `base.qcow2` has arrived and stays frozen; guests use `overlay.qcow2` above it. */
  | 'arrived';

export interface VolumeRecord {
  readonly version: 1;
  readonly key: string;
  readonly sizeBytes: number;
  readonly stage: VolumeStage;
  readonly digest?: { readonly request: string; readonly root: string; readonly chunkBytes: number };
}

export interface VolumeFiles {
  readonly directory: string;
  readonly base: string;
  readonly overlay: string;
}

const removedPrefix = '.removed-';

/** The volumes on this host's disk: `volumes/KEY/{volume.json,base.qcow2,overlay.qcow2}`. */
export class VolumeStore {
  readonly #root: string;
  readonly #records = new Map<string, VolumeRecord>();

  private constructor(root: string) {
    this.#root = root;
  }

  /** Reads what is there and finishes removals that were cut. */
  static async open(root: string): Promise<VolumeStore> {
    await makeDirectory(root, 0o711);
    const store = new VolumeStore(root);
    for (const name of await readdir(root)) {
      if (name.startsWith(removedPrefix)) await rm(join(root, name), { recursive: true, force: true });
      else {
        const record = (await readJson(join(root, name, 'volume.json'))) as VolumeRecord | undefined;
        if (record === undefined) await rm(join(root, name), { recursive: true, force: true });
        else if (record.version !== 1) throw new Problem('internal', `${join(root, name)} was written by another version of the agent`);
        else store.#records.set(record.key, record);
      }
    }
    return store;
  }

  get(key: string): VolumeRecord | undefined {
    return this.#records.get(key);
  }

  all(): VolumeRecord[] {
    return [...this.#records.values()];
  }

  files(key: string): VolumeFiles {
    const directory = join(this.#root, key);
    return { directory, base: join(directory, 'base.qcow2'), overlay: join(directory, 'overlay.qcow2') };
  }

  /** Begins a volume, or begins it again after a cut: everything made so far is thrown away. */
  async begin(key: string, sizeBytes: number): Promise<VolumeFiles> {
    const files = this.files(key);
    await makeDirectory(files.directory, 0o711);
    await this.#write({ version: 1, key, sizeBytes, stage: 'creating' });
    for (const name of await readdir(files.directory)) {
      if (name !== 'volume.json') await rm(join(files.directory, name), { force: true });
    }
    return files;
  }

  async update(key: string, change: Partial<Pick<VolumeRecord, 'stage' | 'digest' | 'sizeBytes'>>): Promise<VolumeRecord> {
    const record = this.#records.get(key);
    if (record === undefined) throw new Problem('not-found', `there is no volume ${key} on this host`);
    const next = { ...record, ...change };
    await this.#write(next);
    return next;
  }

  /** Freezes the filled base and puts the overlay above it. */
  async arrive(key: string): Promise<void> {
    const record = this.#records.get(key);
    if (record === undefined || record.stage !== 'incoming') return;
    await this.layOverlay(key);
    await this.update(key, { stage: 'arrived' });
  }

  /** A blank overlay above the base; its content is the base's as it will be when the overlay is first written. */
  async layOverlay(key: string): Promise<void> {
    const { overlay, directory } = this.files(key);
    await rm(overlay, { force: true });
    await createOverlay(overlay, 'base.qcow2', this.#records.get(key)?.sizeBytes ?? 0);
    await syncDirectory(directory);
  }

  /** Drops the overlay of a volume that is `ready`: its content is in the base. No guest may have it open as its disk. */
  async dropOverlay(key: string): Promise<void> {
    const { overlay, directory } = this.files(key);
    await rm(overlay, { force: true });
    await syncDirectory(directory);
  }

  async hasOverlay(key: string): Promise<boolean> {
    return (await fileBytes(this.files(key).overlay)) !== undefined;
  }

  /** Bytes the volume's files take on disk. */
  async allocatedBytes(key: string): Promise<number> {
    const { base, overlay } = this.files(key);
    return ((await fileBytes(base)) ?? 0) + ((await fileBytes(overlay)) ?? 0);
  }

  /** Removes a volume for good. */
  async remove(key: string): Promise<void> {
    const { directory } = this.files(key);
    const grave = join(this.#root, `${removedPrefix}${key}`);
    await rm(grave, { recursive: true, force: true });
    try {
      await rename(directory, grave);
      await syncDirectory(this.#root);
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error;
    }
    this.#records.delete(key);
    await rm(grave, { recursive: true, force: true });
  }

  async #write(record: VolumeRecord): Promise<void> {
    await writeJsonAtomic(join(this.files(record.key).directory, 'volume.json'), record);
    this.#records.set(record.key, record);
  }
}

async function fileBytes(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).blocks * 512;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
