import { lstat, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Problem } from '@virt8ra/contract';
import { errorCode, makeDirectory, syncDirectory, writeJsonAtomic } from '../disk/atomic-file.js';
import type { DiskDriver } from '../disk/disk-driver.js';
import { type Quarantine, readJsonOrQuarantine } from '../disk/quarantine.js';
import type { Filling } from '../disk/room.js';
import { folderBackEnd } from './folder-back-end.js';
import { createBlank, createOverlay } from './qemu-img.js';
import type { LayerPlace, VolumeBackEnd, VolumeLayer } from './volume-back-end.js';

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

/** The volumes of this host: `volumes/KEY/{volume.json,base.qcow2,overlay.qcow2}`, where the latter two are files or links to what the back end has. */
export class VolumeStore {
  readonly #root: string;
  readonly #backEnd: VolumeBackEnd;
  readonly #records = new Map<string, VolumeRecord>();
  readonly #damaged = new Set<string>();

  private constructor(root: string, backEnd: VolumeBackEnd) {
    this.#root = root;
    this.#backEnd = backEnd;
  }

  /**
   * Reads what is there and finishes removals that were cut. A damaged record goes to the quarantine; the volume's files stay. Raises as `open` of the
   * back end does.
   */
  static async open(root: string, quarantine: Quarantine, backEnd = folderBackEnd(root)): Promise<VolumeStore> {
    await makeDirectory(root, 0o711);
    const store = new VolumeStore(root, backEnd);
    const removed: string[] = [];
    for (const name of await readdir(root)) {
      if (name.startsWith(removedPrefix)) removed.push(name.slice(removedPrefix.length));
      else await store.#read(name, join(root, name, 'volume.json'), quarantine);
    }
    for (const key of removed) {
      if (!store.#records.has(key) && !store.#damaged.has(key)) await backEnd.dropAll(key);
      await rm(join(root, `${removedPrefix}${key}`), { recursive: true, force: true });
    }
    const keys = [...store.#records.keys(), ...store.#damaged];
    await backEnd.open(keys.map((key) => ({ ...store.files(key), key, overlaid: store.#isOverlaid(key) })));
    return store;
  }

  /** What QEMU finds at the paths of volumes. */
  get driver(): DiskDriver {
    return this.#backEnd.driver;
  }

  /** What volumes fill up. */
  get room(): Filling {
    return this.#backEnd.room;
  }

  /** Thin pool that they take their room from; undefined: they share the state directory's. */
  get pool(): string | undefined {
    return this.#backEnd.pool;
  }

  /** What a person should know of the back end, each a sentence. */
  async strays(): Promise<readonly string[]> {
    return await this.#backEnd.strays();
  }

  #isOverlaid(key: string): boolean | undefined {
    const stage = this.#records.get(key)?.stage;
    return stage === undefined ? undefined : stage === 'arrived';
  }

  #place(key: string, layer: VolumeLayer, path = this.files(key)[layer]): LayerPlace {
    return { key, layer, path };
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
    if (read.type === 'damaged' || (await isThere(this.files(name).base))) this.#damaged.add(name);
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
    await this.#backEnd.dropAll(key);
    for (const name of await readdir(files.directory)) {
      if (name !== 'volume.json') await rm(join(files.directory, name), { force: true });
    }
    return files;
  }

  /** A place for the base of a volume that was begun, at `path` in its folder. */
  async makeBase(key: string, path: string): Promise<void> {
    await this.#backEnd.make(this.#place(key, 'base', path), this.#records.get(key)?.sizeBytes ?? 0);
  }

  async dropBase(key: string, path: string): Promise<void> {
    await this.#backEnd.drop(this.#place(key, 'base', path));
  }

  /** The base of a volume that was begun, without content. */
  async makeBlank(key: string): Promise<void> {
    const { base, directory } = this.files(key);
    await this.makeBase(key, base);
    await createBlank(base, this.#records.get(key)?.sizeBytes ?? 0);
    await syncDirectory(directory);
  }

  /** Must come before a volume's disk grows by `bytes`, or is to keep so many apart from what is written later. */
  async widen(key: string, bytes: number): Promise<void> {
    await this.#backEnd.widen(this.#place(key, 'base'), bytes);
    if (await this.hasOverlay(key)) await this.#backEnd.widen(this.#place(key, 'overlay'), bytes);
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
    const sizeBytes = this.#records.get(key)?.sizeBytes ?? 0;
    await this.#backEnd.make(this.#place(key, 'overlay'), sizeBytes);
    await createOverlay(overlay, 'base.qcow2', sizeBytes);
    await syncDirectory(directory);
  }

  /** Drops the overlay of a volume that is `ready`: its content is in the base. No guest may have it open as its disk. */
  async dropOverlay(key: string): Promise<void> {
    await this.#backEnd.drop(this.#place(key, 'overlay'));
  }

  async hasOverlay(key: string): Promise<boolean> {
    return await isThere(this.files(key).overlay);
  }

  /** Bytes the volume takes of the room, rounded up to whole MiB: what is said of them changes less often. */
  async allocatedBytes(key: string): Promise<number> {
    const bytes =
      (await this.#backEnd.takenBytes(this.#place(key, 'base'))) + (await this.#backEnd.takenBytes(this.#place(key, 'overlay')));
    return Math.ceil(bytes / mib) * mib;
  }

  /** Removes a volume for good. */
  async remove(key: string): Promise<void> {
    const { directory } = this.files(key);
    const grave = join(this.#root, `${removedPrefix}${key}`);
    // Where the back end has not let go of it yet, the grave stays: a later start reads there what is still to be dropped.
    if (await isThere(directory)) {
      await rm(grave, { recursive: true, force: true });
      await rename(directory, grave);
      await syncDirectory(this.#root);
    }
    this.#records.delete(key);
    this.#damaged.delete(key);
    await this.#backEnd.dropAll(key);
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

/** A link that leads nowhere is there, too. */
async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
}
