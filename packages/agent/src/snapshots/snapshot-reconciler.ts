import { type DesiredSnapshot, type ObservedSnapshot, Problem, toProblem } from '@virt8ra/contract';
import { takePointInTime, wakeGuest } from '../backups/point-in-time.js';
import { type PointWorld, stillInTheWay } from '../backups/still-in-the-way.js';
import type { NextLook } from '../desired/converger.js';
import { type HostContext, troubleFrom } from '../host-context.js';
import { inspectImage } from '../storage/qemu-img.js';
import {
  dropDiskSnapshot,
  dropFileSnapshot,
  fileHasSnapshot,
  nameInFile,
  revertFile,
  snapshotDisks,
  snapshotFile,
} from './disk-snapshots.js';
import type { SnapshotRecord, SnapshotStore } from './snapshot-store.js';

const waitMs = 2_000;

/** Keeps points in time of volumes in their own files, forgets them, and makes the volumes what they were. */
export class SnapshotReconciler {
  readonly #context: HostContext;
  readonly #store: SnapshotStore;
  readonly #world: PointWorld;

  constructor(context: HostContext, store: SnapshotStore, world: PointWorld) {
    this.#context = context;
    this.#store = store;
    this.#world = world;
  }

  keys(): string[] {
    return this.#store.all().map(({ key }) => key);
  }

  async pass(key: string): Promise<NextLook> {
    const desired = this.#context.ledger.state.snapshots?.find((snapshot) => snapshot.key === key);
    if (desired === undefined) return await this.#remove(key);
    try {
      return await this.#converge(desired);
    } catch (error) {
      const problem = toProblem(error);
      this.#post(desired, { problem: troubleFrom(problem) });
      throw problem;
    }
  }

  async #converge(desired: DesiredSnapshot): Promise<NextLook> {
    const { key } = desired;
    const record = this.#store.get(key);
    if (record?.resting === true) {
      const guest = this.#world.users.guestWith(desired.volumes[0]?.volumeKey ?? '')?.guest;
      if (guest !== undefined) await wakeGuest(guest);
      await this.#store.write({ ...record, resting: false });
    }
    if (record?.stage !== 'taken') return await this.#take(desired);
    if ((desired.reverts ?? 0) > record.reverted) return await this.#revert(desired, record);
    this.#post(desired);
    return undefined;
  }

  /** What an attempt that was cut has left is taken away first: it is of an earlier moment. */
  async #take(desired: DesiredSnapshot): Promise<NextLook> {
    const waitingFor = await stillInTheWay(this.#world, desired.volumes, 'whole');
    if (waitingFor !== undefined) {
      this.#post(desired, { waitingFor });
      return waitMs;
    }
    return await this.#exclusive(desired, async () => {
      const { users, volumes } = this.#world;
      const { key } = desired;
      const name = nameInFile(key);
      const place = users.guestWith(desired.volumes[0]?.volumeKey ?? '');
      // A guest began or ended since.
      const changed = desired.volumes.some(
        ({ volumeKey }) => users.guestWith(volumeKey)?.guest !== place?.guest || (place === undefined && users.usesVolume(volumeKey)),
      );
      if (changed) return 0;
      let record: SnapshotRecord = {
        version: 1,
        key,
        stage: 'taking',
        takenAt: this.#now(),
        consistency: place === undefined ? 'offline' : 'crash',
        volumes: desired.volumes.map(({ volumeKey }) => ({ volumeKey, sizeBytes: volumes.get(volumeKey)?.sizeBytes ?? 0 })),
        reverted: desired.reverts ?? 0,
      };
      const note = async (change: Partial<SnapshotRecord>) => {
        record = { ...record, ...change };
        await this.#store.write(record);
      };
      await note({});
      for (const { volumeKey } of desired.volumes) await this.#drop(volumeKey, name);
      // What is overwritten from now on stays beside what overwrites it.
      for (const { volumeKey } of desired.volumes) await volumes.widen(volumeKey, volumes.get(volumeKey)?.sizeBytes ?? 0);
      let takenAt = this.#now();
      let consistency = record.consistency;
      if (place === undefined) {
        for (const { volumeKey } of desired.volumes) await snapshotFile(volumes.files(volumeKey).base, name);
      } else {
        const places = desired.volumes.flatMap(({ volumeKey }) => users.guestWith(volumeKey)?.index ?? []);
        consistency = await takePointInTime({
          guest: place.guest,
          log: this.#context.log,
          take: async () => {
            takenAt = this.#now();
            await snapshotDisks(place.guest, places, name);
          },
          note: async (resting) => await note({ resting }),
        });
      }
      await note({ stage: 'taken', takenAt, consistency });
      this.#context.log.info('a snapshot was taken', { snapshot: key, consistency });
      this.#post(desired);
      return 0;
    });
  }

  /** Cut at any point it is done again from its beginning: no guest has the volumes before it is over. */
  async #revert(desired: DesiredSnapshot, record: SnapshotRecord): Promise<NextLook> {
    return await this.#exclusive(desired, async () => {
      const { users, volumes, moves } = this.#world;
      const { key } = desired;
      const name = nameInFile(key);
      const busy = desired.volumes.find(({ volumeKey }) => users.usesVolume(volumeKey) || moves(volumeKey));
      if (busy !== undefined) {
        this.#post(desired, { waitingFor: `volume ${busy.volumeKey} to be used by nobody` });
        return waitMs;
      }
      for (const { volumeKey } of desired.volumes) {
        const { base } = volumes.files(volumeKey);
        if (!(await fileHasSnapshot(base, name))) throw new Problem('conflict', `volume ${volumeKey} does not have this snapshot any more`);
      }
      for (const { volumeKey } of desired.volumes) {
        const { base } = volumes.files(volumeKey);
        await revertFile(base, name);
        const { virtualBytes } = await inspectImage(base, 'qcow2');
        await volumes.update(volumeKey, { sizeBytes: virtualBytes });
        // It may have grown since.
        this.#context.nudge({ type: 'volume', key: volumeKey });
      }
      await this.#store.write({ ...record, reverted: desired.reverts ?? 0 });
      this.#context.log.info('volumes became what a snapshot kept', { snapshot: key });
      this.#post(desired);
      for (const { key: instanceKey } of this.#context.ledger.state.instances) this.#context.nudge({ type: 'instance', key: instanceKey });
      return undefined;
    });
  }

  async #remove(key: string): Promise<NextLook> {
    if (!this.#context.ledger.mayRemove({ type: 'snapshot', key })) return undefined;
    const record = this.#store.get(key);
    if (record !== undefined) {
      const busy = record.volumes.find(({ volumeKey }) => this.#world.moves(volumeKey));
      if (busy !== undefined) return waitMs;
      await this.#exclusive(record, async () => {
        for (const { volumeKey } of record.volumes) await this.#drop(volumeKey, nameInFile(key));
      });
    }
    await this.#store.remove(key);
    this.#context.board.remove({ type: 'snapshot', key });
    return undefined;
  }

  /** Raises Problem unavailable while a process has the volume that cannot be asked. */
  async #drop(volumeKey: string, name: string): Promise<void> {
    const { users, volumes } = this.#world;
    const stage = volumes.get(volumeKey)?.stage;
    if (stage !== 'ready' && stage !== 'arrived') return;
    const place = users.guestWith(volumeKey);
    if (place !== undefined) return await dropDiskSnapshot(place.guest, place.index, name);
    if (users.usesVolume(volumeKey)) throw new Problem('unavailable', `volume ${volumeKey} is used by a process that cannot be asked`);
    await dropFileSnapshot(volumes.files(volumeKey).base, name);
  }

  /** No guest that has, or is to have, one of the volumes starts or ends meanwhile. */
  async #exclusive<Result>({ volumes, key }: Pick<DesiredSnapshot, 'key' | 'volumes'>, task: () => Promise<Result>): Promise<Result> {
    const wanted = new Set(volumes.map(({ volumeKey }) => volumeKey));
    const holder = [...wanted].flatMap((volumeKey) => this.#world.users.guestWith(volumeKey)?.key ?? [])[0];
    const instance = this.#context.ledger.state.instances.find(({ volumeKeys }) => volumeKeys.some((each) => wanted.has(each)));
    return await this.#world.users.exclusive(holder ?? instance?.key ?? key, task);
  }

  #now(): string {
    return new Date(this.#context.clock.wallMs()).toISOString();
  }

  #post(desired: DesiredSnapshot, now: Pick<ObservedSnapshot, 'waitingFor' | 'problem'> = {}): void {
    const { key, reverts = 0 } = desired;
    const record = this.#store.get(key);
    const taken = record?.stage === 'taken';
    this.#context.board.post('snapshot', key, {
      key,
      state: !taken ? 'waiting' : reverts > record.reverted ? 'reverting' : 'taken',
      ...(taken ? { takenAt: record.takenAt, consistency: record.consistency } : {}),
      volumes: record?.volumes ?? desired.volumes.map(({ volumeKey }) => ({ volumeKey, sizeBytes: 0 })),
      reverted: record?.reverted ?? 0,
      ...now,
    });
  }
}
