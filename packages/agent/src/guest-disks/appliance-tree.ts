import { randomBytes } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { GuestEdit } from '@virt8ra/contract';
import type { ApplianceSession } from './appliance-session.js';
import { driverFiles, replaceWords } from './edit-text.js';
import type { GuestTree } from './guest-disks.js';

const textBytes = 1024 * 1024;
const programMs = 1_200_000;

/** The guest's file systems as the appliance has mounted them. */
export class ApplianceTree implements GuestTree {
  readonly #session: ApplianceSession;
  /** Where both this agent and the appliance's user may read. */
  readonly #folder: string;

  constructor(session: ApplianceSession, folder: string) {
    this.#session = session;
    this.#folder = folder;
  }

  async text(path: string): Promise<string | undefined> {
    if ((await this.#session.run(['is-file-opts', path, 'followsymlinks:true'])).trim() !== 'true') return undefined;
    if (Number(await this.#session.run(['filesize', path])) > textBytes) return undefined;
    return await this.#session.run(['cat', path]);
  }

  async exists(path: string): Promise<boolean> {
    return (await this.#session.run(['exists', path])).trim() === 'true';
  }

  async isLink(path: string): Promise<boolean> {
    return (await this.#session.run(['is-symlink', path])).trim() === 'true';
  }

  async list(pattern: string): Promise<readonly string[]> {
    return (await this.#session.run(['glob-expand', pattern]))
      .split('\n')
      .filter((path) => path !== '')
      .sort();
  }

  async output(command: readonly string[]): Promise<string | undefined> {
    return await this.#command(command).catch(() => undefined);
  }

  /** Raises Problem internal with the guest's words when it cannot be made. */
  async apply(path: string, edit: GuestEdit): Promise<void> {
    switch (edit.type) {
      case 'write':
        return await this.#write(path, edit.content);
      case 'replace': {
        const text = await this.text(path);
        if (text !== undefined) await this.#write(path, replaceWords(text, edit.words));
        return;
      }
      case 'link':
        await this.#makeParent(path);
        await this.#session.run(['ln-sf', edit.to, path]);
        return;
      case 'copy':
        await this.#makeParent(path);
        await this.#session.run(['cp', edit.from, path]);
        return;
      case 'initramfs': {
        const { file, content, command } = driverFiles(edit);
        await this.#write(file, content);
        await this.#command(command);
      }
    }
  }

  /** A guest's program that hangs is ended with the whole appliance. */
  async #command(command: readonly string[]): Promise<string> {
    return await this.#session.run(['sh', command.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ')], programMs);
  }

  async #makeParent(path: string): Promise<void> {
    const parent = path.slice(0, path.lastIndexOf('/')) || '/';
    // A link to a folder is one, but nothing that could be made.
    if (!(await this.exists(parent))) await this.#session.run(['mkdir-p', parent]);
  }

  /** In place of the content that is there: owner and mode of the file stay. */
  async #write(path: string, content: string): Promise<void> {
    await this.#makeParent(path);
    const local = join(this.#folder, `w-${randomBytes(6).toString('hex')}`);
    await writeFile(local, content, { mode: 0o644, flag: 'wx' });
    try {
      await this.#session.run(['upload', local, path]);
    } finally {
      await rm(local, { force: true });
    }
  }
}
