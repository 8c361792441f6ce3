import { lstat, readlink } from 'node:fs/promises';
import { Problem } from '@virt8ra/contract';
import type { DiskDriver } from '../disk/disk-driver.js';
import type { Filling } from '../disk/room.js';

/** A volume's own bytes, or those above them while a move settles. */
export type VolumeLayer = 'base' | 'overlay';

/** What lies, or will lie, at a path in a volume's folder. */
export interface LayerPlace {
  readonly key: string;
  readonly layer: VolumeLayer;
  readonly path: string;
}

/** A volume as its folder tells of it. */
export interface KnownVolume {
  readonly key: string;
  readonly base: string;
  readonly overlay: string;
  /** Its overlay holds what guests wrote; undefined: not known. */
  readonly overlaid: boolean | undefined;
}

/**
 * Where the bytes of a host's volumes are. A volume has the same paths in its folder whatever back end there is, qcow2 is the format in each, and a path may be
 * renamed within its folder; what lies behind it is the back end's.
 */
export interface VolumeBackEnd {
  /** What QEMU finds at the paths. */
  readonly driver: DiskDriver;
  /** What fills up. */
  readonly room: Filling;
  /** Thin pool that the volumes take their room from, `group/name`; absent: they share the state directory's. */
  readonly pool?: string;
  /**
   * Readies what is there, before anything else is asked. Raises Problem invalid-request when a volume lies in another back end or this one is not as it must be,
   * unavailable when it is not there.
   */
  open(volumes: readonly KnownVolume[]): Promise<void>;
  /** An empty place that a qcow2 file of a disk of `sizeBytes` fits into whatever is written; what was there is gone. */
  make(place: LayerPlace, sizeBytes: number): Promise<void>;
  /** Makes it larger by what a disk of so many bytes may take. */
  widen(place: LayerPlace, bytes: number): Promise<void>;
  /** May be repeated. */
  drop(place: LayerPlace): Promise<void>;
  /** Drops everything of a volume, wherever its folder went. May be repeated. */
  dropAll(key: string): Promise<void>;
  /** Bytes it takes of the room; 0: it is not there. */
  takenBytes(place: LayerPlace): Promise<number>;
  /** What lies here, is marked as this agent's and belongs to no volume: each a sentence for people. */
  strays(): Promise<readonly string[]>;
}

/** Where a volume's bytes are, told by what lies at its path: a link to a device, or a file; undefined: nothing does. */
export async function linkOf(path: string): Promise<{ readonly device: string | undefined } | undefined> {
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return undefined;
  return { device: found.isSymbolicLink() ? await readlink(path) : undefined };
}

/** Problem invalid-request for a volume that lies elsewhere than this agent was told to keep volumes. */
export function otherBackEnd(key: string, where: string, wanted: string, option: string): Problem {
  return new Problem(
    'invalid-request',
    `volume ${key} lies in ${where}, and this agent is to keep volumes in ${wanted}. A host has one back end: start with --storage ${option} and move its block storages away first (virt8ra drain).`,
  );
}
