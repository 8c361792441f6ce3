import { stat } from 'node:fs/promises';
import { type DesiredBackup, type ObservedBackup, Problem, toProblem } from '@virt8ra/contract';
import type { NextLook } from '../desired/converger.js';
import { syncDirectory } from '../disk/atomic-file.js';
import { diskFull, isDiskFull, roomAt } from '../disk/room.js';
import { type HostContext, troubleFrom } from '../host-context.js';
import { guestUser } from '../instances/guest-starter.js';
import type { Progress } from '../link/outbox.js';
import { type Guest, guestStatus } from '../qemu/guest.js';
import { presentDisks } from '../qemu/guest-disks.js';
import { convertCompressed } from '../storage/qemu-img.js';
import type { VolumeUsers } from '../storage/volume-reconciler.js';
import type { VolumeStore } from '../storage/volume-store.js';
import type { BackupRecord, BackupStore } from './backup-store.js';
import { type CopiedDisk, GuestCopy } from './guest-copy.js';
import { takePointInTime, wakeGuest } from './point-in-time.js';
import { type PointWorld, stillInTheWay } from './still-in-the-way.js';

export type UploadProgress = Omit<Progress, 'transferId'>;

/** Sends a file to the control plane below its path; answers the file's digest. Raises Problem unavailable, exhausted, too-large, cancelled. */
export type BackupUploader = (
  upload: { readonly file: string; readonly path: string },
  onProgress: (progress: UploadProgress) => void,
  signal: AbortSignal,
) => Promise<string>;

interface Place {
  readonly key: string;
  readonly guest: Guest;
  readonly index: number;
}

const lookMs = 500;
const waitMs = 2_000;
/** Room that a copy leaves free on the host's disk beside the reserve: the guests write there too. */
const leastFreeBytes = 64 * 1024 * 1024;
/** What the control plane refuses for good. */
const hopeless: readonly Problem['kind'][] = ['exhausted', 'too-large', 'validation', 'forbidden', 'invalid-request'];

/** Copies volumes as they are at one point in time and sends the copies to the control plane. */
export class BackupReconciler {
  readonly #context: HostContext;
  readonly #store: BackupStore;
  readonly #world: PointWorld;
  readonly #volumes: VolumeStore;
  readonly #users: VolumeUsers;
  readonly #upload: BackupUploader;
  readonly #onProgress: (progress: Progress) => void;
  /** Backups that repeating cannot mend, with the reason. A later agent tries once more. */
  readonly #failed = new Map<string, Problem>();

  constructor(
    context: HostContext,
    store: BackupStore,
    world: PointWorld,
    upload: BackupUploader,
    onProgress: (progress: Progress) => void,
  ) {
    this.#context = context;
    this.#store = store;
    this.#world = world;
    this.#volumes = world.volumes;
    this.#users = world.users;
    this.#upload = upload;
    this.#onProgress = onProgress;
  }

  keys(): string[] {
    return this.#store.all().map(({ key }) => key);
  }

  async pass(key: string, signal: AbortSignal): Promise<NextLook> {
    const desired = this.#context.ledger.state.backups?.find((backup) => backup.key === key);
    if (desired === undefined) return await this.#remove(key);
    if (this.#failed.has(key)) return undefined;
    try {
      return await this.#converge(desired, signal);
    } catch (error) {
      const problem = toProblem(error);
      if (hopeless.includes(problem.kind)) {
        await this.#giveUp(desired, problem);
        return undefined;
      }
      if (problem.kind !== 'cancelled') this.#post(desired, this.#store.get(key), { problem: troubleFrom(problem) });
      throw problem;
    }
  }

  async #converge(desired: DesiredBackup, signal: AbortSignal): Promise<NextLook> {
    const { key } = desired;
    let record = this.#store.get(key);
    if (record === undefined || record.stage === 'copying') {
      const looked = await this.#copy(desired, record, signal);
      if (typeof looked === 'number') return looked;
      record = looked;
    }
    if (record.stage === 'copied') record = await this.#send(desired, record, signal);
    this.#post(desired, record);
    return undefined;
  }

  /** One step of the copy; answers the record once it is whole, else when to look again. */
  async #copy(desired: DesiredBackup, record: BackupRecord | undefined, signal: AbortSignal): Promise<BackupRecord | number> {
    const places = desired.volumes.map(({ volumeKey }) => this.#users.guestWith(volumeKey));
    const place = places[0];
    if (record !== undefined && place !== undefined && record.launchId === place.guest.launchId)
      return await this.#watch(desired, record, place);
    if (record?.launchId !== undefined) {
      // Its guest ended before the copies were whole.
      await this.#store.forget(desired.key);
      record = undefined;
    }
    const waitingFor = record === undefined ? await stillInTheWay(this.#world, desired.volumes, 'layered') : undefined;
    if (waitingFor !== undefined) {
      this.#post(desired, undefined, { waitingFor });
      return waitMs;
    }
    await this.#assertRoom(desired);
    if (place !== undefined) return await this.#begin(desired, place);
    return await this.#copyFiles(desired, record, signal);
  }

  /** The copies are compressed and hold no zeros, so that what the volumes take is more than enough. */
  async #assertRoom({ key, volumes }: DesiredBackup): Promise<void> {
    const sizes = await Promise.all(volumes.map(async ({ volumeKey }) => await this.#volumes.allocatedBytes(volumeKey)));
    const neededBytes = sizes.reduce((sum, bytes) => sum + bytes, 0);
    const { stateDirectory, reserveStorageBytes } = this.#context.config;
    const { freeBytes } = await roomAt(stateDirectory);
    if (neededBytes + leastFreeBytes <= freeBytes - reserveStorageBytes) return;
    const { message, facts } = await diskFull(stateDirectory, neededBytes + leastFreeBytes + reserveStorageBytes);
    throw new Problem('exhausted', `there is no room for the copy of backup ${key}: ${message}`, { facts });
  }

  async #begin(desired: DesiredBackup, place: Place): Promise<number> {
    const { key } = desired;
    await this.#users.exclusive(place.key, async () => {
      const disks = await this.#disksOf(desired, place.guest);
      const copy = new GuestCopy(place.guest, key);
      let record: BackupRecord = {
        version: 1,
        key,
        stage: 'copying',
        launchId: place.guest.launchId,
        takenAt: this.#now(),
        consistency: 'crash',
        volumes: disks.map(({ volumeKey, sizeBytes }) => ({ volumeKey, sizeBytes })),
      };
      const note = async (change: Partial<BackupRecord>) => {
        record = { ...record, ...change };
        await this.#store.write(record);
      };
      await this.#store.clear(key);
      // Before anything is made in the guest's process, so that it is found and taken away whatever happens to this agent.
      await note({});
      await copy.prepare(disks, await guestUser(this.#context.config.root, place.key));
      let takenAt = record.takenAt;
      const consistency = await takePointInTime({
        guest: place.guest,
        log: this.#context.log,
        take: async () => {
          takenAt = this.#now();
          await copy.begin(disks);
        },
        note: async (resting) => await note({ resting }),
      });
      await note({ takenAt, consistency });
      this.#post(desired, record);
      this.#context.log.info('a backup of a running guest was begun', { backup: key, instance: place.key, consistency });
    });
    return lookMs;
  }

  async #disksOf({ key, volumes }: DesiredBackup, guest: Guest): Promise<readonly (CopiedDisk & { readonly volumeKey: string })[]> {
    const present = await presentDisks(guest);
    return volumes.map(({ volumeKey }, position) => {
      const sizeBytes = this.#volumes.get(volumeKey)?.sizeBytes;
      const node = present.get(this.#users.guestWith(volumeKey)?.index ?? -1)?.node;
      if (sizeBytes === undefined || node === undefined)
        throw new Problem('unavailable', `volume ${volumeKey} is no disk of the guest now`);
      return { volumeKey, node, sizeBytes, file: this.#store.file(key, position) };
    });
  }

  async #watch(desired: DesiredBackup, record: BackupRecord, { guest, key: instanceKey }: Place): Promise<BackupRecord | number> {
    const { key } = desired;
    if (record.resting === true) {
      await wakeGuest(guest);
      await this.#store.write({ ...record, resting: false });
      return 0;
    }
    const copy = new GuestCopy(guest, key);
    const state = await copy.state(desired.volumes.length);
    // A pool of the volumes' own is not emptier without the copy.
    const stopped = this.#volumes.pool === undefined && (await guestStatus(guest)) === 'io-error';
    const full = stopped || (await this.#isNearlyFull());
    if (state.type === 'none' || (state.type === 'failed' && !fullWords.test(state.message) && !full)) {
      // The point in time was never taken, or what was taken of it is lost.
      await copy.clear();
      await this.#store.forget(key);
      if (state.type === 'failed') throw new Problem('unavailable', `the copy broke off and begins anew: ${state.message}`);
      return 0;
    }
    if (state.type === 'failed' || (state.type === 'running' && full)) {
      await copy.clear();
      await this.#store.clear(key);
      this.#context.nudge({ type: 'instance', key: instanceKey });
      const { message, facts } = await diskFull(this.#context.config.stateDirectory, 0);
      throw new Problem('exhausted', `the copy for backup ${key} was given up, so that the guest can go on writing: ${message}`, { facts });
    }
    if (state.type === 'running') {
      this.#post(desired, record);
      const { doneBytes, totalBytes } = state;
      this.#tell(key, { phase: 'copying', pass: 0, bytes: doneBytes, totalBytes, bytesPerSecond: 0, etaSeconds: null });
      return lookMs;
    }
    await copy.close(desired.volumes.map((_, position) => this.#store.file(key, position)));
    return await this.#copied(record);
  }

  async #isNearlyFull(): Promise<boolean> {
    return (await roomAt(this.#context.config.stateDirectory)).freeBytes < leastFreeBytes / 2;
  }

  /** Nobody uses the volumes; from the record on nobody may begin to, until the copies are whole. */
  async #copyFiles(desired: DesiredBackup, before: BackupRecord | undefined, signal: AbortSignal): Promise<BackupRecord | number> {
    const { key, volumes } = desired;
    const record = before ?? (await this.#hold(desired));
    if (record === undefined) return 0;
    this.#post(desired, record);
    await this.#store.clear(key);
    for (const [position, { volumeKey }] of volumes.entries()) {
      const { base, overlay } = this.#volumes.files(volumeKey);
      const from = this.#volumes.get(volumeKey)?.stage === 'arrived' ? overlay : base;
      const file = this.#store.file(key, position);
      try {
        await convertCompressed(from, file, signal);
      } catch (error) {
        if (!isDiskFull(error)) throw error;
        const { message, facts } = await diskFull(this.#context.config.stateDirectory, 0, error);
        throw new Problem('exhausted', `the copy for backup ${key} has no room: ${message}`, { facts });
      }
    }
    await syncDirectory(this.#store.directory(key));
    return await this.#copied(record);
  }

  /** Undefined: a guest was quicker. */
  async #hold(desired: DesiredBackup): Promise<BackupRecord | undefined> {
    const { key, volumes } = desired;
    const keys = new Set(volumes.map(({ volumeKey }) => volumeKey));
    const instance = this.#context.ledger.state.instances.find(({ volumeKeys }) => volumeKeys.some((volumeKey) => keys.has(volumeKey)));
    return await this.#users.exclusive(instance?.key ?? key, async () => {
      if (volumes.some(({ volumeKey }) => this.#users.usesVolume(volumeKey))) return undefined;
      const record: BackupRecord = {
        version: 1,
        key,
        stage: 'copying',
        takenAt: this.#now(),
        consistency: 'offline',
        volumes: volumes.map(({ volumeKey }) => ({ volumeKey, sizeBytes: this.#volumes.get(volumeKey)?.sizeBytes ?? 0 })),
      };
      await this.#store.write(record);
      return record;
    });
  }

  async #copied(record: BackupRecord): Promise<BackupRecord> {
    const copied: BackupRecord = { ...record, stage: 'copied' };
    await this.#store.write(copied);
    this.#context.log.info('a backup is copied', { backup: record.key, consistency: record.consistency });
    return copied;
  }

  async #send(desired: DesiredBackup, record: BackupRecord, signal: AbortSignal): Promise<BackupRecord> {
    const { key } = record;
    const sizes = await Promise.all(record.volumes.map(async (_, position) => (await stat(this.#store.file(key, position))).size));
    const totalBytes = sizes.reduce((sum, bytes) => sum + bytes, 0);
    let current = record;
    let before = 0;
    for (const [position, bytes] of sizes.entries()) {
      this.#post(desired, current);
      if (current.volumes[position]?.file === undefined) {
        const sha256 = await this.#upload(
          { file: this.#store.file(key, position), path: `/agent/v1/backups/${key}/${position}` },
          (progress) => this.#tell(key, { ...progress, bytes: before + progress.bytes, totalBytes }),
          signal,
        );
        const volumes = current.volumes.map((volume, at) => (at === position ? { ...volume, file: { sha256, bytes } } : volume));
        current = { ...current, volumes };
        await this.#store.write(current);
      }
      before += bytes;
    }
    const sent: BackupRecord = { ...current, stage: 'sent' };
    await this.#store.write(sent);
    await this.#store.clear(key);
    this.#context.log.info('a backup was sent', { backup: key, bytes: totalBytes });
    return sent;
  }

  async #giveUp(desired: DesiredBackup, problem: Problem): Promise<void> {
    const { key } = desired;
    await this.#leave(desired.volumes, key);
    await this.#store.clear(key);
    await this.#store.forget(key);
    this.#failed.set(key, problem);
    this.#context.log.error('a backup has failed', { backup: key, code: problem.kind, problem: problem.message });
    this.#post(desired, undefined, { problem: troubleFrom(problem) });
  }

  async #remove(key: string): Promise<NextLook> {
    if (!this.#context.ledger.mayRemove({ type: 'backup', key })) return undefined;
    const record = this.#store.get(key);
    if (record?.stage === 'copying') await this.#leave(record.volumes, key);
    await this.#store.remove(key);
    this.#failed.delete(key);
    this.#context.board.remove({ type: 'backup', key });
    return undefined;
  }

  /** Takes everything of a backup out of the guests that have its volumes. One that cannot be woken has lost the agent that could do it. */
  async #leave(volumes: readonly { readonly volumeKey: string }[], key: string): Promise<void> {
    const places = volumes.flatMap(({ volumeKey }) => this.#users.guestWith(volumeKey) ?? []);
    for (const guest of new Set(places.map((place) => place.guest))) {
      if (this.#store.get(key)?.resting === true) {
        await wakeGuest(guest).catch((error: unknown) =>
          this.#context.log.error('a guest does not wake its file systems', { backup: key, problem: toProblem(error).message }),
        );
      }
      await new GuestCopy(guest, key).clear();
    }
  }

  #now(): string {
    return new Date(this.#context.clock.wallMs()).toISOString();
  }

  #tell(key: string, progress: UploadProgress): void {
    this.#onProgress({ transferId: key, ...progress });
  }

  #post(desired: DesiredBackup, record: BackupRecord | undefined, now: Pick<ObservedBackup, 'waitingFor' | 'problem'> = {}): void {
    const { key } = desired;
    const state = this.#failed.has(key) ? 'failed' : record === undefined ? 'waiting' : stateOf[record.stage];
    this.#context.board.post('backup', key, {
      key,
      state,
      ...(record === undefined ? {} : { takenAt: record.takenAt, consistency: record.consistency }),
      volumes:
        record?.volumes ?? desired.volumes.map(({ volumeKey }) => ({ volumeKey, sizeBytes: this.#volumes.get(volumeKey)?.sizeBytes ?? 0 })),
      ...now,
    });
  }
}

const stateOf = { copying: 'copying', copied: 'sending', sent: 'sent' } as const;
const fullWords = /No space left on device|Disk quota exceeded/;
