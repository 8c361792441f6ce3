import { diskCounters, type Guest } from '../qemu/guest.js';
import { guestMemory } from '../qemu/guest-memory.js';
import { beginMemoryLook, guestChanges, memoryChangesPerSecond } from './guest-changes.js';
import type { MeasuredGuest } from './sampler.js';

/** The running guests of a host as they are measured: what QEMU calls by place is told by the keys of volumes. */
export function measuredGuests(host: {
  readonly guests: () => ReadonlyMap<string, Guest>;
  readonly volumeKeysOf: (key: string) => readonly (string | null)[];
  readonly tapsOf: (key: string) => MeasuredGuest['nics'];
  /** Payload bytes of a guest's move away so far; undefined: there is none. */
  readonly transferredOf: (key: string) => number | undefined;
}): () => readonly MeasuredGuest[] {
  const askedForMemory = new WeakSet<Guest>();
  const byVolume = <Value>(key: string, found: Iterable<readonly [place: number, value: Value]>): readonly (readonly [string, Value])[] => {
    const volumeKeys = host.volumeKeysOf(key);
    return [...found].flatMap(([place, value]) => {
      const volumeKey = volumeKeys[place];
      return typeof volumeKey === 'string' ? [[volumeKey, value] as const] : [];
    });
  };
  return () =>
    [...host.guests()].map(([key, guest]): MeasuredGuest => {
      const changes = guestChanges(guest);
      return {
        key,
        pid: guest.process.pid,
        nics: host.tapsOf(key),
        disks: async () =>
          byVolume(
            key,
            (await diskCounters(guest)).map(({ place, ...counted }) => [place, counted] as const),
          ).map(([volume, counted]) => ({
            key: volume,
            ...counted,
          })),
        changes: {
          ...changes,
          count: async () => new Map(byVolume(key, await changes.count())),
          beginMemory: async () => await beginMemoryLook(guest),
          memoryPerSecond: async () => await memoryChangesPerSecond(guest),
        },
        memory: async () => await guestMemory(guest, askedForMemory),
        transferred: () => host.transferredOf(key),
      };
    });
}
