import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type ObservedTransfer, Problem } from '@virt8ra/contract';
import { makeDirectory, readJson, writeJsonAtomic } from '../disk/atomic-file.js';

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

  static async open(root: string): Promise<TransferStore> {
    await makeDirectory(root, 0o711);
    const store = new TransferStore(root);
    for (const name of await readdir(root)) {
      const record = (await readJson(join(root, name, 'transfer.json'))) as TransferRecord | undefined;
      if (record === undefined) await rm(join(root, name), { recursive: true, force: true });
      else if (record.version !== 1) throw new Problem('internal', `${join(root, name)} was written by another version of the agent`);
      else store.#records.set(record.id, record);
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
