import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type ObservedTransfer, Problem } from '@virt8ra/contract';
import { makeDirectory, writeJsonAtomic } from '../disk/atomic-file.js';
import { type Quarantine, readJsonOrQuarantine } from '../disk/quarantine.js';

/** What this host remembers of a transfer. `over` ones only answer what came of them. */
export interface TransferRecord {
  readonly version: 1;
  readonly id: string;
  readonly observed: ObservedTransfer;
  readonly volumeKeys: readonly string[];
  readonly instanceKey?: string;
  /** One end of a live move. */
  readonly live?: boolean;
  /** Of a live move. Sender: the attempt whose memory is being sent. Receiver: the attempt that its process receives. */
  readonly attempt?: string;
}

/** `transfers/ID/{transfer.json,…}`; the rest of the folder is the mover's journal. */
export class TransferStore {
  readonly #root: string;
  readonly #records = new Map<string, TransferRecord>();

  private constructor(root: string) {
    this.#root = root;
  }

  /** Reads what is there. A damaged record goes to the quarantine; its transfer begins anew, from what its mover has journaled. */
  static async open(root: string, quarantine: Quarantine): Promise<TransferStore> {
    await makeDirectory(root, 0o711);
    const store = new TransferStore(root);
    for (const name of await readdir(root)) {
      const path = join(root, name, 'transfer.json');
      const read = await readJsonOrQuarantine(path, quarantine);
      if (read.type === 'missing') await rm(join(root, name), { recursive: true, force: true });
      if (read.type !== 'content') continue;
      const record = read.content as TransferRecord | null;
      if (record?.version === 1 && record.id === name && typeof record.observed === 'object') store.#records.set(name, record);
      else if (typeof record?.version === 'number' && (record.version as number) !== 1)
        throw new Problem('internal', `${join(root, name)} was written by another version of the agent`);
      else await quarantine.move(path, `${path} has not the form of a transfer’s record`);
    }
    return store;
  }

  get(id: string): TransferRecord | undefined {
    return this.#records.get(id);
  }

  all(): TransferRecord[] {
    return [...this.#records.values()];
  }

  directory(id: string): string {
    return join(this.#root, id);
  }

  async write(record: TransferRecord): Promise<void> {
    await makeDirectory(this.directory(record.id));
    await writeJsonAtomic(join(this.directory(record.id), 'transfer.json'), record);
    this.#records.set(record.id, record);
  }

  async remove(id: string): Promise<void> {
    await rm(this.directory(id), { recursive: true, force: true });
    this.#records.delete(id);
  }
}
