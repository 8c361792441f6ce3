import { readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Problem } from '@virt8ra/contract';
import { errorCode, makeDirectory, syncDirectory, writeJsonAtomic } from '../disk/atomic-file.js';
import { type Quarantine, readJsonOrQuarantine } from '../disk/quarantine.js';
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
const mib = 1024 * 1024;

/** The volumes on this host's disk: `volumes/KEY/{volume.json,base.qcow2,overlay.qcow2}`. */
export class VolumeStore {
  readonly #root: string;
  readonly #records = new Map<string, VolumeRecord>();
  readonly #damaged = new Set<string>();

  private constructor(root: string) {
    this.#root = root;
  }

  /** Reads what is there and finishes removals that were cut. A damaged record goes to the quarantine; the volume's files stay. */
  static async open(root: string, quarantine: Quarantine): Promise<VolumeStore> {
    await makeDirectory(root, 0o711);
    const store = new VolumeStore(root);
    for (const name of await readdir(root)) {
      const path = join(root, name);
      if (name.startsWith(removedPrefix)) await rm(path, { recursive: true, force: true });
      else await store.#read(name, join(path, 'volume.json'), quarantine);
    }
    return store;
  }

  async #read(name: string, path: string, quarantine: Quarantine): Promise<void> {
    const read = await readJsonOrQuarantine(path, quarantine);
    if (read.type === 'content') {
      const record = read.content as VolumeRecord;
      if (isVolumeRecord(record, name)) this.#records.set(name, record);
      else if (typeof record?.version === 'number' && record.version !== 1)
        throw new Problem('internal', `${dirname(path)} was written by another version of the agent`);
      else {
        await quarantine.move(path, `${path} has not the form of a volume’s record`);
        this.#damaged.add(name);
      }
      return;
    }
    // The record is written before anything else: without one and without files the volume had not begun.
    if (read.type === 'damaged' || (await fileBytes(this.files(name).base)) !== undefined) this.#damaged.add(name);
    else await rm(dirname(path), { recursive: true, force: true });
  }

  /** Volumes whose files are here and whose record is not: nobody knows how far they were. They are neither used nor made anew. */
  damaged(): readonly string[] {
    return [...this.#damaged];
  }

  isDamaged(key: string): boolean {
    return this.#damaged.has(key);
  }

  /** Gives a damaged volume a record again, where something else tells what it must be. */
  async mend(key: string, record: Pick<VolumeRecord, 'sizeBytes' | 'stage'>): Promise<void> {
    await this.#write({ version: 1, key, ...record });
    this.#damaged.delete(key);
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

  /** Bytes the volume's files take on disk, rounded up to whole MiB: what is said of them changes less often. */
  async allocatedBytes(key: string): Promise<number> {
    const { base, overlay } = this.files(key);
    const bytes = ((await fileBytes(base)) ?? 0) + ((await fileBytes(overlay)) ?? 0);
    return Math.ceil(bytes / mib) * mib;
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
    this.#damaged.delete(key);
    await rm(grave, { recursive: true, force: true });
  }

  async #write(record: VolumeRecord): Promise<void> {
    await writeJsonAtomic(join(this.files(record.key).directory, 'volume.json'), record);
    this.#records.set(record.key, record);
  }
}

function isVolumeRecord(record: Partial<VolumeRecord> | null, key: string): boolean {
  if (typeof record !== 'object' || record === null) return false;
  const { stage } = record;
  const known = stage === 'creating' || stage === 'ready' || stage === 'incoming' || stage === 'arrived';
  return record.version === 1 && record.key === key && known && Number.isSafeInteger(record.sizeBytes);
}

async function fileBytes(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).blocks * 512;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
