import { createHash } from 'node:crypto';
import { lstat, rm, symlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Problem } from '@virt8ra/contract';
import { syncDirectory } from '../disk/atomic-file.js';
import { type LogicalVolume, listLogicalVolumes, type PoolName, poolAmong, runLvm, takenBytes } from '../disk/logical-volumes.js';
import { poolFilling, poolText } from '../disk/pool-room.js';
import type { RoomSource } from '../disk/room.js';
import type { Log } from '../log.js';
import { type KnownVolume, type LayerPlace, linkOf, otherBackEnd, type VolumeBackEnd, type VolumeLayer } from './volume-back-end.js';

const mib = 1024 * 1024;
const lookMs = 3_000;
const tag = 'virt8ra';
const fullWords = /reached threshold|[Ii]nsufficient free space/;
const strayTag = 'virt8ra.stray';

/**
 * Volumes are thin logical volumes, and what lies in a volume's folder are links to them. Their names follow from the agent and the volume's key, and they carry its
 * tag, so that whatever a kill leaves behind is found again; nothing without that tag is ever changed.
 */
export class ThinPoolBackEnd implements VolumeBackEnd {
  readonly driver = 'host_device';
  readonly room: RoomSource;
  readonly pool: string;
  readonly #name: PoolName;
  readonly #agentId: string;
  readonly #log: Log;
  /** Many ask at once what the same look answers. */
  #looked: { readonly at: number; readonly volumes: Promise<readonly LogicalVolume[]> } | undefined;

  constructor(name: PoolName, agentId: string, log: Log) {
    this.#name = name;
    this.#agentId = agentId;
    this.#log = log;
    this.pool = poolText(name);
    this.room = poolFilling(name, async () => await this.#look());
  }

  async open(volumes: readonly KnownVolume[]): Promise<void> {
    await this.#openPool();
    await this.#refuseOthers(volumes);
    const known = new Map(
      volumes.flatMap((volume) => (['base', 'overlay'] as const).map((layer) => [this.nameOf(volume.key, layer), { volume, layer }])),
    );
    for (const { name, tags, active } of await this.#own()) {
      const found = known.get(name);
      if (found === undefined) {
        if (!tags.includes(strayTag)) await this.#setAside(name);
        continue;
      }
      if (!active) await runLvm('lvchange', ['--activate', 'y', this.#path(name)]);
      await this.#relink(name, found.volume, found.layer);
    }
    this.#looked = undefined;
  }

  async make(place: LayerPlace, sizeBytes: number): Promise<void> {
    await this.drop(place);
    const name = this.nameOf(place.key, place.layer);
    await this.#change('lvcreate', [
      ...['--thin', '--virtualsize', `${placeBytes(sizeBytes)}b`, '--name', name, '--addtag', tag, '--addtag', this.#ownTag],
      ...['--setactivationskip', 'n', '--wipesignatures', 'n', '--yes', this.pool],
    ]);
    await symlink(this.#device(name), place.path);
    await syncDirectory(dirname(place.path));
  }

  async widen({ key, layer }: LayerPlace, bytes: number): Promise<void> {
    const name = this.nameOf(key, layer);
    if (!(await this.#own()).some((volume) => volume.name === name)) return;
    await this.#change('lvextend', ['--size', `+${placeBytes(bytes)}b`, this.#path(name)]);
  }

  async drop({ key, layer, path }: LayerPlace): Promise<void> {
    await this.#remove(this.nameOf(key, layer));
    // Last, so that what could not be removed is still seen, and tried again.
    await rm(path, { force: true });
    await syncDirectory(dirname(path));
  }

  async dropAll(key: string): Promise<void> {
    for (const layer of ['base', 'overlay'] as const) await this.#remove(this.nameOf(key, layer));
  }

  async takenBytes({ key, layer }: LayerPlace): Promise<number> {
    const name = this.nameOf(key, layer);
    const found = (await this.#look()).find((volume) => volume.name === name);
    return found === undefined ? 0 : takenBytes(found);
  }

  async strays(): Promise<readonly string[]> {
    const strays = (await this.#look()).filter(({ tags }) => tags.includes(this.#ownTag) && tags.includes(strayTag));
    return strays.map(
      ({ name, sizeBytes }) =>
        `the logical volume ${this.#path(name)} (${Math.ceil(sizeBytes / mib)} MiB) carries this agent’s mark and belongs to no volume here. It was put aside and is left alone; remove it by lvremove once you have looked at it.`,
    );
  }

  /** Names of logical volumes are short and of few characters; keys are neither. */
  nameOf(key: string, layer: VolumeLayer): string {
    return `v8-${this.#agentId}-${createHash('sha256').update(key).digest('hex').slice(0, 20)}-${layer}`;
  }

  get #ownTag(): string {
    return `virt8ra.agent.${this.#agentId}`;
  }

  #path(name: string): string {
    return `${this.#name.group}/${name}`;
  }

  #device(name: string): string {
    return `/dev/${this.#path(name)}`;
  }

  async #openPool(): Promise<void> {
    const { dataPercent, whenFull } = poolAmong(await listLogicalVolumes(this.#name.group), this.#name);
    if (whenFull !== 'error')
      throw new Problem(
        'invalid-request',
        `the thin pool ${this.pool} lets writes wait when it is full, and guests would hang: run \`lvchange --errorwhenfull y ${this.pool}\` first`,
      );
    if (dataPercent === undefined) await runLvm('lvchange', ['--activate', 'y', this.pool]);
  }

  async #refuseOthers(volumes: readonly KnownVolume[]): Promise<void> {
    for (const { key, base } of volumes) {
      const link = await linkOf(base);
      if (link === undefined || link.device === this.#device(this.nameOf(key, 'base'))) continue;
      const option = link.device === undefined ? 'directory' : `thin-pool:${link.device.split('/')[2]}/POOL`;
      throw otherBackEnd(key, link.device ?? `the file ${base}`, `the thin pool ${this.pool}`, option);
    }
  }

  /** A kill between making and linking, or a lost link: it is laid again where the volume needs it. Worthless is an overlay that was merged. */
  async #relink(name: string, { key, base, overlay, overlaid }: KnownVolume, layer: VolumeLayer): Promise<void> {
    const path = layer === 'base' ? base : overlay;
    if ((await lstat(path).catch(() => undefined)) !== undefined) return;
    if (layer === 'overlay' && overlaid === false) return await this.#remove(name);
    await symlink(this.#device(name), path);
    await syncDirectory(dirname(path));
    this.#log.warn('a volume was linked to its logical volume again', { volume: key, logicalVolume: this.#path(name) });
  }

  /** Somebody’s data may be in it: it gets another name, so that it is in nobody’s way, and a person decides. */
  async #setAside(name: string): Promise<void> {
    const stray = `${name}.stray-${Date.now().toString(36)}`;
    await runLvm('lvchange', ['--addtag', strayTag, this.#path(name)]);
    await runLvm('lvrename', [this.#name.group, name, stray]);
    this.#log.error('a logical volume that belongs to no volume was put aside', { from: this.#path(name), to: this.#path(stray) });
  }

  async #own(): Promise<readonly LogicalVolume[]> {
    return (await listLogicalVolumes(this.#name.group)).filter(({ pool, tags }) => pool === this.#name.pool && tags.includes(this.#ownTag));
  }

  async #remove(name: string): Promise<void> {
    if (!(await this.#own()).some((volume) => volume.name === name)) return;
    await this.#change('lvremove', ['--yes', this.#path(name)]);
  }

  async #change(command: string, args: readonly string[]): Promise<void> {
    this.#looked = undefined;
    try {
      await runLvm(command, args);
    } catch (error) {
      if (error instanceof Problem && fullWords.test(error.message))
        throw new Problem('exhausted', `the thin pool ${this.pool} has no room: ${error.message}`, { cause: error });
      throw error;
    } finally {
      this.#looked = undefined;
    }
  }

  /** At most three seconds old, and never older than what this agent has changed. */
  async #look(): Promise<readonly LogicalVolume[]> {
    const now = performance.now();
    if (this.#looked === undefined || now - this.#looked.at > lookMs) {
      const volumes = listLogicalVolumes(this.#name.group);
      this.#looked = { at: now, volumes };
      volumes.catch(() => {
        this.#looked = undefined;
      });
    }
    return await this.#looked.volumes;
  }
}

/**
 * Bytes of addresses, which cost nothing, that a qcow2 file of a disk of `sizeBytes` may ever take: every cluster of it with its entries (1/8192) and their
 * counts (1/32768), and what QEMU lets lie while it moves those.
 */
export function placeBytes(sizeBytes: number): number {
  return Math.ceil((sizeBytes + sizeBytes / 2048 + 64 * mib) / (4 * mib)) * 4 * mib;
}
