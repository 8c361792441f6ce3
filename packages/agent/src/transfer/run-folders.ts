import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

/** Folders for the sockets of movers, in the run directory: `t-…` for each transfer, `digests` for images that are read. */
export class RunFolders {
  readonly #root: string;

  constructor(runtimeDirectory: string) {
    this.#root = runtimeDirectory;
  }

  get digests(): string {
    return join(this.#root, 'digests');
  }

  /** Short, because socket paths end at 107 bytes. */
  of(transferId: string): string {
    return join(this.#root, `t-${transferId.slice(-12)}`);
  }

  async remove(transferId: string): Promise<void> {
    await rm(this.of(transferId), { recursive: true, force: true });
  }

  /** Takes away what earlier agents left, but for the `live` transfers; answers which folders that were. */
  async sweep(live: readonly string[]): Promise<string[]> {
    const kept = new Set(live.map((id) => this.of(id)));
    const names = await readdir(this.#root).catch(() => []);
    const left = names
      .filter((name) => name.startsWith('t-') || name === 'digests')
      .map((name) => join(this.#root, name))
      .filter((folder) => !kept.has(folder));
    for (const folder of left) await rm(folder, { recursive: true, force: true });
    return left;
  }
}
