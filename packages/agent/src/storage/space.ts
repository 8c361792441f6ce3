import { readFile } from 'node:fs/promises';
import { Problem } from '@virt8ra/contract';
import { lookAt } from '../disk/room.js';
import type { VolumeStore } from './volume-store.js';

export interface StorageSpace {
  readonly totalBytes: number;
  readonly freeBytes: number;
  /** What volumes may claim in all on this host: what is free and what they take already, less the reserve. */
  readonly capacityBytes: number;
  /** What the volumes here have claimed: their full sizes, not what they take so far. */
  readonly claimedBytes: number;
}

/** The space of where the volumes are. */
export async function storageSpace(volumes: VolumeStore, reserveBytes: number): Promise<StorageSpace> {
  const { freeBytes, totalBytes } = await lookAt(volumes.room);
  const records = volumes.all();
  const taken = await Promise.all(records.map(({ key }) => volumes.allocatedBytes(key)));
  return {
    totalBytes,
    freeBytes,
    capacityBytes: Math.max(freeBytes + taken.reduce((sum, bytes) => sum + bytes, 0) - reserveBytes, 0),
    claimedBytes: records.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
  };
}

/**
 * Raises Problem exhausted when a volume of `sizeBytes` may not be added: its full size would not fit beside what the others may grow to, or
 * the `nowBytes` written at once would eat the reserve.
 */
export function requireSpace(space: StorageSpace, ownClaimBytes: number, sizeBytes: number, nowBytes: number, reserveBytes: number): void {
  const claimed = space.claimedBytes - ownClaimBytes;
  if (claimed + sizeBytes > space.capacityBytes) {
    throw new Problem(
      'exhausted',
      `the host’s disk has no room for ${gib(sizeBytes)} more: ${gib(claimed)} of ${gib(space.capacityBytes)} are claimed by other volumes`,
    );
  }
  if (nowBytes > space.freeBytes - reserveBytes) {
    throw new Problem(
      'exhausted',
      `the host’s disk has ${gib(space.freeBytes)} free; ${gib(nowBytes)} are needed now and ${gib(reserveBytes)} stay in reserve`,
    );
  }
}

function gib(bytes: number): string {
  return `${(bytes / 1024 ** 3).toFixed(2)} GiB`;
}

export interface HostMemory {
  readonly totalMiB: number;
  readonly availableMiB: number;
}

export async function hostMemory(): Promise<HostMemory> {
  const text = await readFile('/proc/meminfo', 'utf8');
  const mib = (name: string) => Math.floor(Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) / 1024);
  return { totalMiB: mib('MemTotal'), availableMiB: mib('MemAvailable') };
}
