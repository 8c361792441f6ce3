import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, lstatSync, mkdirSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { placeBytes } from '../thin-pool-back-end.js';
import { type LayerPlace, linkOf, otherBackEnd, type VolumeBackEnd } from '../volume-back-end.js';

/** Why this machine has no block devices for tests; undefined: it has. */
export function noLoopDevices(): string | undefined {
  if (process.getuid?.() !== 0) return 'only root may set up loop devices';
  try {
    execFileSync('losetup', ['--find'], { stdio: 'ignore' });
    return undefined;
  } catch {
    return 'there are no loop devices here';
  }
}

/** A block device whose content is a file. */
export function attachLoop(file: string): string {
  const device = execFileSync('losetup', ['--find', '--show', file], { encoding: 'utf8' }).trim();
  return device;
}

/** Volumes on block devices that need no device mapper: each is a file behind a loop device, and as large as a thin volume would be. */
export class LoopBackEnd implements VolumeBackEnd {
  readonly driver = 'host_device';
  readonly room: string;
  readonly #files: string;

  constructor(folder: string) {
    this.room = folder;
    this.#files = join(folder, 'loops');
    mkdirSync(this.#files, { recursive: true });
  }

  async open(volumes: Parameters<VolumeBackEnd['open']>[0]): Promise<void> {
    for (const { key, base } of volumes) {
      const link = await linkOf(base);
      if (link !== undefined && link.device === undefined) throw otherBackEnd(key, base, 'loop devices', 'directory');
    }
  }

  async make(place: LayerPlace, sizeBytes: number): Promise<void> {
    await this.drop(place);
    const file = this.#file(place.key, place.layer);
    writeFileSync(file, '');
    truncateSync(file, placeBytes(sizeBytes));
    symlinkSync(attachLoop(file), place.path);
  }

  async widen({ key, layer }: LayerPlace, bytes: number): Promise<void> {
    const file = this.#file(key, layer);
    truncateSync(file, statSync(file).size + placeBytes(bytes));
    for (const device of this.#devices(file)) execFileSync('losetup', ['--set-capacity', device]);
  }

  async drop({ key, layer, path }: LayerPlace): Promise<void> {
    rmSync(path, { force: true });
    this.#remove(this.#file(key, layer));
  }

  async dropAll(key: string): Promise<void> {
    for (const layer of ['base', 'overlay'] as const) this.#remove(this.#file(key, layer));
  }

  async takenBytes({ key, layer }: LayerPlace): Promise<number> {
    const file = this.#file(key, layer);
    return existsSync(file) ? lstatSync(file).blocks * 512 : 0;
  }

  async strays(): Promise<readonly string[]> {
    return [];
  }

  #file(key: string, layer: string): string {
    return join(this.#files, `${createHash('sha256').update(key).digest('hex').slice(0, 12)}-${layer}`);
  }

  #devices(file: string): string[] {
    const lines = execFileSync('losetup', ['--noheadings', '--output', 'NAME', '--associated', file], { encoding: 'utf8' });
    return lines
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '');
  }

  #remove(file: string): void {
    if (!existsSync(file)) return;
    for (const device of this.#devices(file)) execFileSync('losetup', ['--detach', device]);
    rmSync(file);
  }
}
