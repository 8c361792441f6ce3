import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type DesiredInstance, type ObservedInstance, type Surrender, toProblem } from '@virt8ra/contract';
import type { NextLook } from '../desired/converger.js';
import { type HostContext, troubleFrom } from '../host-context.js';
import { sweepTaps, tapName } from '../network/taps.js';
import type { PermitVerdict } from '../permits/permit-book.js';
import { bytesRead, type Guest, guestStatus, isStoppedByMove, lastWords, quitGuest, shutDownGuest } from '../qemu/guest.js';
import { tendSerialLog } from '../qemu/serial-log.js';
import type { VolumeStore } from '../storage/volume-store.js';
import { Exclusive } from '../system/exclusive.js';
import { isAlive } from '../system/process-identity.js';
import { adoptGuests } from './adoption.js';
import { judgeCrashes, withCrash } from './crash-policy.js';
import { dropTaps, guestPaths, planFingerprint, startGuest } from './guest-starter.js';
import type { InstanceRecord, InstanceStore } from './instance-store.js';
import { type InstanceNow, observedInstance } from './instance-view.js';
import { recordOf } from './record-of.js';
import { noteStart, resumeGuest } from './resume-guest.js';

/** What the transfers of this host want of the guests they move. */
export interface TransferClaims {
  /** `paused`: leave it paused; `stopped`: do not start it; undefined: nothing. */
  claimOn(instanceKey: string): 'paused' | 'stopped' | undefined;
  /** True while a guest that stands still is needed, though its permit was given up: a permit of a later epoch lets it go on. */
  keeps(instanceKey: string): boolean;
  /** True while its memory is to come by a live move: its process receives, permit or not, and runs nothing. */
  isArriving(instanceKey: string): boolean;
}

/** Longest wait for a guest's own shutdown when its permit goes: the other side waits for the promise. */
const surrenderGraceMs = 10_000;
/** QEMU's words for a guest that `cont` would let run; the last two are of one that was sent away and stays. */
const stillStates: readonly string[] = ['prelaunch', 'paused', 'io-error', 'postmigrate', 'finish-migrate'];
const youngMs = 2 * 60_000;

/** Starts, stops, watches and gives up the guests of this host. */
export class InstanceReconciler {
  readonly #context: HostContext;
  readonly #store: InstanceStore;
  readonly #volumes: VolumeStore;
  readonly #claims: TransferClaims;
  readonly #guests = new Map<string, Guest>();
  readonly #exclusive = new Exclusive();
  readonly #life = new Map<string, { readBytes: number; serialBytes: number }>();

  constructor(context: HostContext, store: InstanceStore, volumes: VolumeStore, claims: TransferClaims) {
    this.#context = context;
    this.#store = store;
    this.#volumes = volumes;
    this.#claims = claims;
  }

  /** Takes over the guests that an earlier agent left running. Once, before the first pass. */
  async adopt(): Promise<void> {
    for (const [key, guest] of await adoptGuests(this.#context, this.#store)) this.#keep(key, guest);
  }

  /** The running guest of an instance. */
  guest(key: string): Guest | undefined {
    return this.#guests.get(key);
  }

  /** The running guest that has a volume as one of its disks. */
  guestWith(volumeKey: string): { readonly key: string; readonly guest: Guest; readonly index: number } | undefined {
    for (const [key, guest] of this.#guests) {
      const index = this.#store.get(key)?.launch?.volumeKeys.indexOf(volumeKey) ?? -1;
      if (index >= 0) return { key, guest, index };
    }
    return undefined;
  }

  usesVolume(volumeKey: string): boolean {
    return this.#store.all().some(({ launch }) => launch?.volumeKeys.includes(volumeKey) === true);
  }

  usesNetwork(networkKey: string): boolean {
    return this.#store.all().some(({ launch }) => launch?.networkKeys.includes(networkKey) === true);
  }

  keys(): string[] {
    return this.#store.all().map(({ key }) => key);
  }

  /** Runs a task while no pass of this instance runs. */
  async exclusive<Result>(key: string, task: () => Promise<Result>): Promise<Result> {
    return await this.#exclusive.run(key, task);
  }

  /**
   * The end of a move at its source: journals the release, then ends the process, and answers the signed promise. The guest is paused
   * already and everything it wrote is at the other side. May be repeated.
   */
  async release(key: string, instance: string, epoch: number): Promise<Surrender> {
    return await this.exclusive(key, async () => {
      const guest = this.#guests.get(key);
      if (guest !== undefined) await quitGuest(guest);
      await this.#gone(key);
      return await this.#context.permits.surrender(instance, epoch);
    });
  }

  async pass(key: string): Promise<NextLook> {
    return await this.exclusive(key, async () => {
      try {
        return await this.#converge(key);
      } catch (error) {
        const problem = toProblem(error);
        const desired = this.#desired(key);
        if (desired !== undefined) {
          const running = this.#guests.has(key);
          this.#post(desired, { state: running ? 'running' : 'failed', problem: troubleFrom(problem) });
        }
        throw problem;
      }
    });
  }

  #desired(key: string): DesiredInstance | undefined {
    return this.#context.ledger.state.instances.find((instance) => instance.key === key);
  }

  async #converge(key: string): Promise<NextLook> {
    const desired = this.#desired(key);
    if (desired === undefined) return await this.#remove(key);
    let record = await recordOf(this.#context, this.#store, desired);
    await this.#noticeExit(key, desired);
    record = this.#store.get(key) ?? record;
    const { permits } = this.#context;
    if (desired.surrenderEpoch !== undefined && !permits.hasSurrendered(desired.instance, desired.surrenderEpoch)) {
      await this.#stop(key, desired, Math.min(this.#context.config.shutdownSeconds * 1000, surrenderGraceMs));
      await permits.surrender(desired.instance, desired.surrenderEpoch);
    }
    const verdict = permits.judge(desired.instance, desired.permit, record.anchor);
    const guest = this.#guests.get(key);
    if (this.#claims.isArriving(key)) return await this.#receive(desired, record, guest);
    if (guest !== undefined) {
      if (!verdict.ok && this.#claims.keeps(key) && (await isStoppedByMove(guest))) {
        this.#post(desired, { state: 'paused', waitingFor: verdict.reason });
        return undefined;
      }
      if (!verdict.ok) {
        const expired = desired.permit?.expiresAt !== undefined && permits.remainingMs(desired.permit, record.anchor) <= 0;
        this.#context.log.warn('a guest is stopped because its permit ended', { instance: desired.instance, reason: verdict.reason });
        await this.#stop(key, desired, expired ? 0 : surrenderGraceMs);
        this.#post(desired, { state: 'waiting', waitingFor: verdict.reason });
        return undefined;
      }
      if (desired.power === 'off') {
        await this.#stop(key, desired, this.#context.config.shutdownSeconds * 1000);
        this.#post(desired, { state: 'stopped' });
        return undefined;
      }
      return await this.#keepRunning(desired, guest);
    }
    if (desired.power === 'off') {
      if (record.poweredOff !== undefined || record.crashes.length > 0) {
        const { poweredOff: _, ...rest } = record;
        await this.#store.write({ ...rest, crashes: [] });
      }
      this.#post(desired, { state: 'stopped' });
      return undefined;
    }
    if (!verdict.ok) {
      this.#post(desired, { state: 'waiting', waitingFor: verdict.reason });
      return undefined;
    }
    return await this.#bringUp(desired, record);
  }

  /** A process that waits for what a live move brings; its transfer says when it runs. */
  async #receive(desired: DesiredInstance, record: InstanceRecord, guest: Guest | undefined): Promise<NextLook> {
    const waitingFor = guest === undefined ? this.#missing(desired, 'incoming') : undefined;
    if (guest === undefined && waitingFor === undefined) await this.#launch(desired, record);
    this.#post(desired, { state: 'waiting', waitingFor: waitingFor ?? 'its memory' });
    return undefined;
  }

  /** Ends a receiving process, so that the next look starts a fresh one. */
  async discard(key: string): Promise<void> {
    await this.exclusive(key, async () => {
      const guest = this.#guests.get(key);
      if (guest !== undefined) await quitGuest(guest);
      await this.#gone(key);
    });
    this.#context.nudge({ type: 'instance', key });
  }

  /** Lets a guest run whose memory has arrived, if its permit allows it: with what was `handed` over where the permit awaits it. */
  async resumeArrived(key: string, handed: Surrender | undefined): Promise<PermitVerdict> {
    const desired = this.#desired(key);
    const guest = this.#guests.get(key);
    const record = this.#store.get(key);
    if (desired === undefined || guest === undefined || record === undefined) return { ok: false, reason: 'its process' };
    const verdict = await resumeGuest(this.#context, { desired, guest, record, handed });
    // The other side waits for the verdict only.
    if (verdict.ok)
      void this.exclusive(key, async () => await noteStart(this.#context, this.#store, { desired, guest, record })).catch(() => {});
    return verdict;
  }

  /** A process that ended without being told to is a crash; so is one that a reboot took away. */
  async #noticeExit(key: string, desired: DesiredInstance): Promise<void> {
    const record = this.#store.get(key);
    if (record?.launch === undefined) return;
    const guest = this.#guests.get(key);
    if (guest !== undefined && (await isAlive(guest.process))) return;
    const said = await lastWords(guestPaths(this.#context, this.#store, key).log);
    if (this.#claims.isArriving(key)) this.#context.log.warn('a receiving process ended by itself', { instance: desired.instance, said });
    await this.#gone(key);
    const left = this.#store.get(key);
    if (left === undefined || this.#claims.isArriving(key)) return;
    if (record.launch.bootId !== this.#context.clock.bootId) {
      this.#context.log.info('the host was restarted under a guest', { instance: desired.instance });
      return;
    }
    const crashes = withCrash(left.crashes, this.#context.clock.wallMs());
    await this.#store.write({ ...left, crashes });
    this.#context.log.warn('a guest’s process ended by itself', { instance: desired.instance, crashes: crashes.length });
    this.#post(desired, { state: 'crashed', problem: { code: 'internal', message: 'the guest’s process ended by itself' } });
  }

  async #bringUp(desired: DesiredInstance, record: InstanceRecord): Promise<NextLook> {
    const { key } = desired;
    if (record.poweredOff !== undefined && desired.restarts <= record.poweredOff) {
      this.#post(desired, {
        state: 'stopped',
        problem: { code: 'guest-shutdown', message: 'the guest switched itself off; restart it, or turn its power off and on' },
      });
      return undefined;
    }
    const waitingFor = this.#missing(desired, 'whole');
    if (waitingFor !== undefined) {
      this.#post(desired, { state: 'waiting', waitingFor });
      return undefined;
    }
    const crashed = judgeCrashes(record, this.#context.clock.wallMs());
    if (crashed !== undefined) {
      this.#post(desired, { state: 'crashed', problem: { code: 'internal', message: crashed.message } });
      return crashed.pauseMs;
    }
    await this.#launch(desired, record);
    return await this.#keepRunning(desired, this.#guests.get(key));
  }

  async #launch(desired: DesiredInstance, record: InstanceRecord): Promise<void> {
    const { key, restarts, nics } = desired;
    this.#post(desired, { state: 'starting' });
    try {
      this.#keep(key, await startGuest(this.#context, this.#store, this.#volumes, desired, { ...withoutPoweredOff(record), restarts }));
    } catch (error) {
      await this.#gone(
        key,
        nics.map((nic) => nic.key),
      );
      throw error;
    }
  }

  /** What a guest still needs before it may start. */
  #missing(desired: DesiredInstance, disks: 'whole' | 'incoming'): string | undefined {
    if (this.#context.ledger.state.maintenance === true) return 'the end of the maintenance of this host';
    if (this.#claims.claimOn(desired.key) !== undefined) return 'the transfer of its disks';
    for (const volumeKey of desired.volumeKeys) {
      const stage = this.#volumes.get(volumeKey)?.stage;
      if (disks === 'incoming' ? stage !== 'incoming' : stage !== 'ready' && stage !== 'arrived') return `volume ${volumeKey}`;
      if (this.#context.board.get('volume', volumeKey)?.state === 'settling' && this.guestWith(volumeKey) === undefined)
        return `volume ${volumeKey} to settle`;
    }
    for (const nic of desired.nics) {
      if (this.#context.board.get('network', nic.networkKey)?.state !== 'ready') return `network ${nic.networkKey}`;
    }
    return undefined;
  }

  async #keepRunning(desired: DesiredInstance, guest: Guest | undefined): Promise<NextLook> {
    const { key, instance } = desired;
    const { clock, permits } = this.#context;
    if (guest === undefined) return 0;
    let status = await guestStatus(guest);
    if (status === 'shutdown') {
      await quitGuest(guest);
      await this.#gone(key);
      const record = this.#store.get(key);
      if (record !== undefined) await this.#store.write({ ...record, poweredOff: desired.restarts });
      this.#context.log.info('a guest switched itself off', { instance });
      return 0;
    }
    const record = this.#store.get(key);
    if (record !== undefined && desired.restarts > record.restarts) {
      await this.#stop(key, desired, this.#context.config.shutdownSeconds * 1000);
      return 0;
    }
    const held = this.#claims.claimOn(key) === 'paused';
    if (stillStates.includes(status) && !held && record !== undefined) {
      const still = { desired, guest, record };
      if (!(await resumeGuest(this.#context, still)).ok) return 0;
      if (status === 'prelaunch') await noteStart(this.#context, this.#store, still);
      status = await guestStatus(guest);
    }
    await this.#lookForLife(key, guest);
    const pausedState: ObservedInstance['state'] = status === 'running' ? 'running' : 'paused';
    const ioError =
      status === 'io-error'
        ? { code: 'exhausted', message: 'the guest is paused because its disk could not be written; it goes on when there is room' }
        : undefined;
    const behind = record?.launch !== undefined && record.launch.plan !== planFingerprint(desired);
    const problem =
      ioError ??
      (behind ? { code: 'conflict', message: 'the guest runs as it was started; a restart brings it to what is desired now' } : undefined);
    this.#post(desired, { state: pausedState, ...(problem === undefined ? {} : { problem }) });
    const startedAt = Date.parse(this.#store.get(key)?.startedAt ?? '');
    const young = clock.wallMs() - startedAt < youngMs;
    const expiryMs = desired.permit === undefined ? 0 : permits.remainingMs(desired.permit, record?.anchor);
    return Math.max(Math.min(ioError === undefined ? (young ? 1_000 : 15_000) : 5_000, expiryMs), 1);
  }

  async #lookForLife(key: string, guest: Guest): Promise<void> {
    const { bytes, dropped } = await tendSerialLog(guest.paths.serial);
    const record = this.#store.get(key);
    if (record === undefined) return;
    const serialDropped = record.serialDropped + dropped;
    if (dropped > 0) await this.#store.write({ ...record, serialDropped });
    const readBytes = await bytesRead(guest);
    this.#life.set(key, { readBytes, serialBytes: serialDropped + bytes });
  }

  async #stop(key: string, desired: DesiredInstance, graceMs: number): Promise<void> {
    const guest = this.#guests.get(key);
    if (guest === undefined) return;
    this.#post(desired, { state: 'stopping' });
    await shutDownGuest(guest, graceMs);
    await this.#gone(key);
    this.#context.log.info('a guest was stopped', { instance: desired.instance, key });
  }

  /** The process is gone: nothing of it is left. */
  async #gone(key: string, nicKeys?: readonly string[]): Promise<void> {
    const guest = this.#guests.get(key);
    this.#guests.delete(key);
    this.#life.delete(key);
    guest?.monitor.close();
    const record = this.#store.get(key);
    await dropTaps(this.#context, nicKeys ?? this.#desired(key)?.nics.map((nic) => nic.key) ?? []);
    await rm(dirname(guestPaths(this.#context, this.#store, key).qmp), { recursive: true, force: true });
    if (record?.launch !== undefined) {
      const { launch: _, startedAt: __, ...rest } = record;
      await this.#store.write(rest);
    }
  }

  async #remove(key: string): Promise<NextLook> {
    const { board, ledger, log } = this.#context;
    const record = this.#store.get(key);
    if (!ledger.mayRemove({ type: 'instance', key })) {
      if (record !== undefined)
        board.post('instance', key, this.#observed(record, { state: this.#guests.has(key) ? 'running' : 'stopped' }));
      return undefined;
    }
    const guest = this.#guests.get(key);
    if (guest !== undefined) await quitGuest(guest);
    await this.#gone(key);
    if (this.#context.networking.mode === 'bridge') {
      const nics = this.#context.ledger.state.instances.flatMap((instance) => instance.nics);
      await sweepTaps(this.#context.agentId, new Set(nics.map((nic) => tapName(this.#context.agentId, nic.key))));
    }
    await this.#store.remove(key);
    board.remove({ type: 'instance', key });
    if (record !== undefined) log.info('an instance was removed from this host', { instance: record.instance, key });
    return undefined;
  }

  #keep(key: string, guest: Guest): void {
    this.#guests.set(key, guest);
    const look = () => this.#context.nudge({ type: 'instance', key });
    guest.monitor.onEvent(({ event }) => {
      if (['SHUTDOWN', 'STOP', 'RESUME', 'RESET', 'BLOCK_IO_ERROR'].includes(event)) look();
      if (event === 'JOB_STATUS_CHANGE')
        for (const volumeKey of this.#store.get(key)?.launch?.volumeKeys ?? []) this.#context.nudge({ type: 'volume', key: volumeKey });
    });
    void guest.monitor.closed.then(look);
  }

  #post(desired: DesiredInstance, now: InstanceNow): void {
    const record = this.#store.get(desired.key);
    if (record !== undefined) this.#context.board.post('instance', desired.key, this.#observed(record, now, desired));
  }

  #observed(record: InstanceRecord, now: InstanceNow, desired?: DesiredInstance): ObservedInstance {
    return observedInstance(this.#context, { record, desired, guest: this.#guests.get(record.key), life: this.#life.get(record.key) }, now);
  }
}

function withoutPoweredOff(record: InstanceRecord): InstanceRecord {
  const { poweredOff: _, ...rest } = record;
  return rest;
}
