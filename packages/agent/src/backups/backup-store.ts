import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type BackupConsistency, type ObservedBackup, Problem } from '@virt8ra/contract';
import { makeDirectory, writeJsonAtomic } from '../disk/atomic-file.js';
import { type Quarantine, readJsonOrQuarantine } from '../disk/quarantine.js';

/** What this host remembers of a backup. */
export interface BackupRecord {
  readonly version: 1;
  readonly key: string;
  /** `copying`: the point in time is taken, or about to be. `copied`: its files are whole. `sent`: the control plane has them. */
  readonly stage: 'copying' | 'copied' | 'sent';
  /** Launch of the guest whose process makes the copies; absent: they are made of files that nobody uses. */
  readonly launchId?: string;
  /** The guest's file systems may be at rest still, and must be woken. */
  readonly resting?: boolean;
  readonly takenAt: string;
  readonly consistency: BackupConsistency;
  readonly volumes: ObservedBackup['volumes'];
}

/** `backups/KEY/{backup.json,volume-N.qcow2}`. */
export class BackupStore {
  readonly #root: string;
  readonly #records = new Map<string, BackupRecord>();

  private constructor(root: string) {
    this.#root = root;
  }

  /** Reads what is there. A backup whose record is damaged begins anew: what it was of is still where it was. */
  static async open(root: string, quarantine: Quarantine): Promise<BackupStore> {
    await makeDirectory(root, 0o711);
    const store = new BackupStore(root);
    for (const name of await readdir(root)) {
      const path = join(root, name, 'backup.json');
      const read = await readJsonOrQuarantine(path, quarantine);
      const record = read.type === 'content' ? (read.content as Partial<BackupRecord> | null) : null;
      if (isBackupRecord(record, name)) store.#records.set(name, record);
      else if (typeof record?.version === 'number' && record.version !== 1)
        throw new Problem('internal', `${join(root, name)} was written by another version of the agent`);
      else {
        if (read.type === 'content') await quarantine.move(path, `${path} has not the form of a backup’s record`);
        await rm(join(root, name), { recursive: true, force: true });
      }
    }
    return store;
  }

  get(key: string): BackupRecord | undefined {
    return this.#records.get(key);
  }

  all(): BackupRecord[] {
    return [...this.#records.values()];
  }

  directory(key: string): string {
    return join(this.#root, key);
  }

  /** Where the copy of the volume at that position goes. */
  file(key: string, position: number): string {
    return join(this.directory(key), `volume-${position}.qcow2`);
  }

  /** Throws copies away that were begun, and makes the folder for new ones. The guest's user may pass through it. */
  async clear(key: string): Promise<void> {
    await makeDirectory(this.directory(key), 0o711);
    for (const name of await readdir(this.directory(key))) {
      if (name !== 'backup.json') await rm(join(this.directory(key), name), { force: true });
    }
  }

  async write(record: BackupRecord): Promise<void> {
    await makeDirectory(this.directory(record.key), 0o711);
    await writeJsonAtomic(join(this.directory(record.key), 'backup.json'), record);
    this.#records.set(record.key, record);
  }

  /** The copies are not to be had: it begins anew. */
  async forget(key: string): Promise<void> {
    await rm(join(this.directory(key), 'backup.json'), { force: true });
    this.#records.delete(key);
  }

  async remove(key: string): Promise<void> {
    await rm(this.directory(key), { recursive: true, force: true });
    this.#records.delete(key);
  }
}

function isBackupRecord(record: Partial<BackupRecord> | null, key: string): record is BackupRecord {
  if (typeof record !== 'object' || record === null || record.version !== 1 || record.key !== key) return false;
  const { stage, volumes, takenAt, consistency } = record;
  const known = stage === 'copying' || stage === 'copied' || stage === 'sent';
  return known && Array.isArray(volumes) && typeof takenAt === 'string' && typeof consistency === 'string';
}
