import type { GuestEdit } from '@virt8ra/contract';
import { driverFiles, replaceWords } from '../edit-text.js';
import type { GuestTree } from '../guest-disks.js';

/** A guest's files in memory: text, or `-> target` for a link. */
export class MemoryTree implements GuestTree {
  readonly files: Map<string, string>;
  /** What is in its initramfs. */
  readonly drivers: Set<string>;

  constructor(files: Readonly<Record<string, string>>, drivers: readonly string[] = []) {
    this.files = new Map(Object.entries(files));
    this.drivers = new Set(drivers);
  }

  async text(path: string): Promise<string | undefined> {
    const text = this.files.get(path);
    return text?.startsWith('-> ') === true ? undefined : text;
  }

  async exists(path: string): Promise<boolean> {
    return [...this.files.keys()].some((each) => each === path || each.startsWith(`${path}/`));
  }

  async isLink(path: string): Promise<boolean> {
    return this.files.get(path)?.startsWith('-> ') === true;
  }

  async list(pattern: string): Promise<readonly string[]> {
    const expression = new RegExp(`^${pattern.replaceAll('.', '\\.').replaceAll('*', '[^/]*')}$`);
    return [...this.files.keys()].filter((path) => expression.test(path)).sort();
  }

  async output([command]: readonly string[]): Promise<string | undefined> {
    return command === 'lsinitramfs' || command === 'lsinitrd'
      ? [...this.drivers].map((driver) => `usr/lib/modules/6.1/kernel/drivers/${driver}.ko\n`).join('')
      : undefined;
  }

  /** As the appliance does it. */
  apply(path: string, edit: GuestEdit): void {
    switch (edit.type) {
      case 'write':
        this.files.set(path, edit.content);
        return;
      case 'replace':
        this.files.set(path, replaceWords(this.files.get(path) ?? '', edit.words));
        return;
      case 'link':
        this.files.set(path, `-> ${edit.to}`);
        return;
      case 'copy':
        this.files.set(path, this.files.get(edit.from) ?? '');
        return;
      case 'initramfs': {
        const { file, content } = driverFiles(edit);
        this.files.set(file, content);
        for (const driver of edit.drivers) this.drivers.add(driver);
      }
    }
  }
}
