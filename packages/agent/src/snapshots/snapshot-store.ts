import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type BackupConsistency, type ObservedSnapshot, Problem } from '@virt8ra/contract';
import { makeDirectory, writeJsonAtomic } from '../disk/atomic-file.js';
import { type Quarantine, readJsonOrQuarantine } from '../disk/quarantine.js';

/** What this host remembers of a snapshot; its content is in the volumes' own files. */
export interface SnapshotRecord {
  readonly version: 1;
  readonly key: string;
  /** `taking`: it may be in some of the volumes. `taken`: it is in all of them. */
  readonly stage: 'taking' | 'taken';
  /** The guest's file systems may be at rest still, and must be woken. */
  readonly resting?: boolean;
  readonly takenAt: string;
  readonly consistency: BackupConsistency;
  readonly volumes: ObservedSnapshot['volumes'];
  /** How often the volumes have become what they were. */
  readonly reverted: number;
}

/** `snapshots/KEY.json`. */
export class SnapshotStore {
  readonly #root: string;
  readonly #records = new Map<string, SnapshotRecord>();

  private constructor(root: string) {
    this.#root = root;
  }

  /** Reads what is there. One whose record is damaged is taken anew where it is wanted still. */
  static async open(root: string, quarantine: Quarantine): Promise<SnapshotStore> {
    await makeDirectory(root);
    const store = new SnapshotStore(root);
    for (const name of await readdir(root)) {
      if (!name.endsWith('.json')) continue;
      const path = join(root, name);
      const key = name.slice(0, -'.json'.length);
      const read = await readJsonOrQuarantine(path, quarantine);
      if (read.type !== 'content') continue;
      const record = read.content as Partial<SnapshotRecord> | null;
      if (isSnapshotRecord(record, key)) store.#records.set(key, record);
      else if (typeof record?.version === 'number' && record.version !== 1)
        throw new Problem('internal', `${path} was written by another version of the agent`);
      else await quarantine.move(path, `${path} has not the form of a snapshot’s record`);
    }
    return store;
  }

  get(key: string): SnapshotRecord | undefined {
    return this.#records.get(key);
  }

  all(): SnapshotRecord[] {
    return [...this.#records.values()];
  }

  /** Durable when it returns. */
  async write(record: SnapshotRecord): Promise<void> {
    await writeJsonAtomic(join(this.#root, `${record.key}.json`), record);
    this.#records.set(record.key, record);
  }

  async remove(key: string): Promise<void> {
    await rm(join(this.#root, `${key}.json`), { force: true });
    this.#records.delete(key);
  }
}

function isSnapshotRecord(record: Partial<SnapshotRecord> | null, key: string): record is SnapshotRecord {
  if (typeof record !== 'object' || record === null || record.version !== 1 || record.key !== key) return false;
  const { stage, volumes, takenAt, consistency, reverted } = record;
  const known = stage === 'taking' || stage === 'taken';
  return (
    known && Array.isArray(volumes) && typeof takenAt === 'string' && typeof consistency === 'string' && Number.isSafeInteger(reverted)
  );
}
