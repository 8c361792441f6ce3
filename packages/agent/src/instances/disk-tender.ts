import { chown } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { type DesiredInstance, type ObservedInstance, toProblem, type VolumeLimits } from '@virt8ra/contract';
import type { HostContext } from '../host-context.js';
import type { Guest } from '../qemu/guest.js';
import { askForDisk, closeDisk, diskPlaces, limitDisk, type PresentDisk, plugDisk, presentDisks } from '../qemu/guest-disks.js';
import { endMergeWithoutGuest, isSettling } from '../storage/settle.js';
import type { VolumeStore } from '../storage/volume-store.js';
import { guestDisk, guestUser } from './guest-starter.js';
import type { InstanceStore } from './instance-store.js';

type ObservedDisk = NonNullable<ObservedInstance['disks']>[number];

export interface DiskRules {
  /** Why this instance may not have the volume yet; undefined: it may. */
  missing(volumeKey: string): string | undefined;
  /** A transfer that is not over reads the volume under the guest. */
  moves(volumeKey: string): boolean;
}

/** A guest is asked again to let go of a disk after this long: one that was booting has not heard it. */
const askAgainMs = 5_000;
const lookMs = 1_000;
/** A guest that has not let go of a disk after so long is said to keep it. */
const patienceMs = 10_000;

/**
 * Gives running guests the disks they should have and takes away those they should not. The record names a volume before the guest has it and
 * until the guest has let go of it, so that nobody else touches its files; what the guest really has is asked of QEMU each time.
 */
export class DiskTender {
  readonly #context: HostContext;
  readonly #store: InstanceStore;
  readonly #volumes: VolumeStore;
  readonly #rules: DiskRules;
  /** When a guest was first and last asked to let go of a disk, by launch and place. */
  readonly #asked = new Map<string, { readonly first: number; last: number }>();

  constructor(context: HostContext, store: InstanceStore, volumes: VolumeStore, rules: DiskRules) {
    this.#context = context;
    this.#store = store;
    this.#volumes = volumes;
    this.#rules = rules;
  }

  /** One step towards the desired disks. The boot disk stays what it was at the start. Answers what the guest has, and when to look again. */
  async tend(
    desired: DesiredInstance,
    guest: Guest,
  ): Promise<{ readonly disks: readonly ObservedDisk[]; readonly lookMs: number | undefined }> {
    const { key } = desired;
    const present = await presentDisks(guest);
    const disks: ObservedDisk[] = [];
    for (const [place, volumeKey] of this.#places(key).entries()) {
      if (volumeKey === null) continue;
      const disk =
        place === 0 || desired.volumeKeys.includes(volumeKey) ? await this.#hold(key, guest, volumeKey, place, present) : undefined;
      const seen = disk ?? (await this.#letGo(key, guest, volumeKey, place, present));
      if (seen !== undefined) disks.push(seen);
    }
    for (const volumeKey of desired.volumeKeys.slice(1)) {
      if (!this.#places(key).includes(volumeKey)) disks.push(await this.#attach(key, guest, volumeKey));
    }
    return { disks, lookMs: disks.every(({ state }) => state === 'attached') ? undefined : lookMs };
  }

  #places(key: string): readonly (string | null)[] {
    return this.#store.get(key)?.launch?.volumeKeys ?? [];
  }

  async #setPlace(key: string, place: number, volumeKey: string | null): Promise<void> {
    const record = this.#store.get(key);
    if (record?.launch === undefined) return;
    const volumeKeys = Array.from({ length: Math.max(record.launch.volumeKeys.length, place + 1) }, (_, index) =>
      index === place ? volumeKey : (record.launch?.volumeKeys[index] ?? null),
    );
    await this.#store.write({ ...record, launch: { ...record.launch, volumeKeys } });
  }

  /** A disk that the guest should have and has a place for: plugged in when it is not there, such as after this agent died half-way. */
  async #hold(
    key: string,
    guest: Guest,
    volumeKey: string,
    place: number,
    present: ReadonlyMap<number, PresentDisk>,
  ): Promise<ObservedDisk> {
    this.#asked.delete(askedId(guest, place));
    const disk = present.get(place);
    if (disk !== undefined) return { volumeKey, state: 'attached', ...(await this.#limit(guest, volumeKey, disk)) };
    if (place === 0) return { volumeKey, state: 'attached' };
    return await this.#plug(key, guest, volumeKey, place);
  }

  /** Has the limits that are desired now; answers those in force. */
  async #limit(guest: Guest, volumeKey: string, disk: PresentDisk): Promise<Pick<ObservedDisk, 'limits'>> {
    const desired = this.#context.ledger.state.volumes.find((volume) => volume.key === volumeKey);
    const limits: VolumeLimits = desired?.limits ?? {};
    const inForce = disk.limits;
    if (desired !== undefined && !isDeepStrictEqual(limits, inForce)) await limitDisk(guest, disk, limits);
    const now = desired === undefined ? inForce : limits;
    return Object.keys(now).length === 0 ? {} : { limits: now };
  }

  async #attach(key: string, guest: Guest, volumeKey: string): Promise<ObservedDisk> {
    const missing = this.#rules.missing(volumeKey);
    if (missing !== undefined) return { volumeKey, state: 'attaching', reason: `it waits for ${missing}` };
    const most = await diskPlaces(guest);
    const places = this.#places(key);
    const place = Array.from({ length: most }, (_, index) => index + 1).find((candidate) => (places[candidate] ?? null) === null);
    if (place === undefined) {
      const reason = `the guest has places for ${most} disks beside its boot disk and all are taken; it gets more with a restart`;
      return { volumeKey, state: 'attaching', reason };
    }
    await this.#setPlace(key, place, volumeKey);
    return await this.#plug(key, guest, volumeKey, place);
  }

  async #plug(key: string, guest: Guest, volumeKey: string, place: number): Promise<ObservedDisk> {
    try {
      const disk = await guestDisk(this.#volumes, volumeKey);
      const user = await guestUser(this.#context.config.root, key);
      if (user !== undefined) {
        for (const path of [disk.base, ...(disk.overlay === undefined ? [] : [disk.overlay])]) await chown(path, user.uid, user.gid);
      }
      await plugDisk(guest, disk, place);
      const present = (await presentDisks(guest)).get(place);
      this.#context.log.info('a guest was given a disk', { key, volume: volumeKey, place });
      this.#context.nudge({ type: 'volume', key: volumeKey });
      return { volumeKey, state: 'attached', ...(present === undefined ? {} : await this.#limit(guest, volumeKey, present)) };
    } catch (error) {
      return { volumeKey, state: 'attaching', reason: toProblem(error).message.slice(0, 1024) };
    }
  }

  /** A disk that the guest should not have any more. Undefined: it is out, and its files are closed. */
  async #letGo(
    key: string,
    guest: Guest,
    volumeKey: string,
    place: number,
    present: ReadonlyMap<number, PresentDisk>,
  ): Promise<ObservedDisk | undefined> {
    if (!present.has(place)) {
      if (!(await endMergeWithoutGuest(this.#volumes, volumeKey, guest, place))) return { volumeKey, state: 'detaching' };
      await closeDisk(guest, place);
      await this.#setPlace(key, place, null);
      this.#asked.delete(askedId(guest, place));
      this.#context.log.info('a guest has let go of a disk', { key, volume: volumeKey, place });
      this.#context.nudge({ type: 'volume', key: volumeKey });
      for (const other of this.#context.ledger.state.instances)
        if (other.key !== key && other.volumeKeys.includes(volumeKey)) this.#context.nudge({ type: 'instance', key: other.key });
      return undefined;
    }
    if (this.#rules.moves(volumeKey)) return { volumeKey, state: 'detaching', reason: 'it is being moved or copied for a backup' };
    if (await isSettling(guest, place)) return { volumeKey, state: 'detaching', reason: 'it is being merged after a move' };
    const now = performance.now();
    const asked = this.#asked.get(askedId(guest, place)) ?? { first: now, last: 0 };
    this.#asked.set(askedId(guest, place), asked);
    if (now - asked.last >= askAgainMs || asked.last === 0) {
      asked.last = now;
      await askForDisk(guest, place);
    }
    if (now - asked.first < patienceMs) return { volumeKey, state: 'detaching' };
    const reason = 'the guest does not let go of it; it goes when the guest answers, or when the instance is stopped';
    return { volumeKey, state: 'detaching', reason };
  }
}

function askedId(guest: Guest, place: number): string {
  return `${guest.launchId}/${place}`;
}
