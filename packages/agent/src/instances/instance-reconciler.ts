import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type DesiredInstance, type ObservedInstance, type Surrender, toProblem } from '@virt8ra/contract';
import type { NextLook } from '../desired/converger.js';
import { type HostContext, troubleFrom } from '../host-context.js';
import type { PortForward } from '../network/user-network.js';
import { bytesRead, type Guest, guestStatus, quitGuest, shutDownGuest } from '../qemu/guest.js';
import { tendSerialLog } from '../qemu/serial-log.js';
import type { VolumeStore } from '../storage/volume-store.js';
import { Exclusive } from '../system/exclusive.js';
import { isAlive } from '../system/process-identity.js';
import { adoptGuests } from './adoption.js';
import { afterCrashes, withCrash } from './crashes.js';
import { dropPorts, dropTaps, type GuestNetworks, guestPaths, planFingerprint, startGuest, sweepNics } from './guest-starter.js';
import type { InstanceRecord, InstanceStore } from './instance-store.js';
import { type InstanceNow, observedInstance, runningProblem } from './instance-view.js';
import { stillMissing } from './still-missing.js';

/** What a transfer wants of the guest it moves: `paused`: leave it paused; `stopped`: do not start it; undefined: nothing. */
export interface TransferClaims {
  claimOn(instanceKey: string): 'paused' | 'stopped' | undefined;
}

/** Longest wait for a guest's own shutdown when its permit goes: the other side waits for the promise. */
const surrenderGraceMs = 10_000;
const youngMs = 2 * 60_000;

/** Starts, stops, watches and gives up the guests of this host. */
export class InstanceReconciler {
  readonly #context: HostContext;
  readonly #store: InstanceStore;
  readonly #volumes: VolumeStore;
  readonly #claims: TransferClaims;
  readonly #networks: GuestNetworks;
  readonly #guests = new Map<string, Guest>();
  readonly #exclusive = new Exclusive();
  readonly #life = new Map<string, { readBytes: number; serialBytes: number }>();

  constructor(context: HostContext, store: InstanceStore, volumes: VolumeStore, claims: TransferClaims, networks: GuestNetworks) {
    this.#context = context;
    this.#store = store;
    this.#volumes = volumes;
    this.#claims = claims;
    this.#networks = networks;
  }

  /** Takes over the guests that an earlier agent left running. Once, before the first pass. */
  async adopt(): Promise<void> {
    for (const [key, guest] of await adoptGuests(this.#context, this.#store, this.#networks)) this.#keep(key, guest);
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

  /** The host's ports that lead to an instance. */
  forwardsOf(key: string): readonly PortForward[] {
    return this.#store.get(key)?.forwards ?? [];
  }

  isUp(key: string): boolean {
    return this.#guests.has(key);
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
    let record = await this.#recordOf(desired);
    await this.#noticeExit(key, desired);
    record = this.#store.get(key) ?? record;
    const { permits } = this.#context;
    if (desired.surrenderEpoch !== undefined && !permits.hasSurrendered(desired.instance, desired.surrenderEpoch)) {
      await this.#stop(key, desired, Math.min(this.#context.config.shutdownSeconds * 1000, surrenderGraceMs));
      await permits.surrender(desired.instance, desired.surrenderEpoch);
    }
    const verdict = permits.judge(desired.instance, desired.permit, record.anchor);
    const guest = this.#guests.get(key);
    if (guest !== undefined) {
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

  async #recordOf(desired: DesiredInstance): Promise<InstanceRecord> {
    const { permits } = this.#context;
    const { key, instance, permit } = desired;
    const known = this.#store.get(key);
    const record: InstanceRecord = known ?? {
      version: 1,
      key,
      instance,
      restarts: desired.restarts,
      crashes: [],
      forwards: [],
      serialDropped: 0,
    };
    const stale =
      permit?.expiresAt !== undefined && (record.anchor?.expiresAt !== permit.expiresAt || record.anchor.epoch !== permit.epoch);
    if (!stale) {
      if (known === undefined) await this.#store.write(record);
      return record;
    }
    const anchor = permits.anchor(permit);
    const anchored = anchor === undefined ? record : { ...record, anchor };
    await this.#store.write(anchored);
    return anchored;
  }

  /** A process that ended without being told to is a crash; so is one that a reboot took away. */
  async #noticeExit(key: string, desired: DesiredInstance): Promise<void> {
    const record = this.#store.get(key);
    if (record?.launch === undefined) return;
    const guest = this.#guests.get(key);
    if (guest !== undefined && (await isAlive(guest.process))) return;
    await this.#gone(key);
    const left = this.#store.get(key);
    if (left === undefined) return;
    if (record.launch.bootId !== this.#context.clock.bootId) {
      this.#context.log.info('the host was restarted under a guest', { instance: desired.instance });
      return;
    }
    const now = this.#context.clock.wallMs();
    const crashes = withCrash(left.crashes, now);
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
    const waitingFor = stillMissing(this.#context, this.#volumes, desired, {
      claimed: this.#claims.claimOn(key) !== undefined,
      inUse: (volumeKey) => this.guestWith(volumeKey) !== undefined,
    });
    if (waitingFor !== undefined) {
      this.#post(desired, { state: 'waiting', waitingFor });
      return undefined;
    }
    const crash = afterCrashes(record.crashes, this.#context.clock.wallMs());
    if (crash !== undefined) {
      this.#post(desired, { state: 'crashed', problem: { code: 'internal', message: crash.message } });
      return crash.pauseMs;
    }
    this.#post(desired, { state: 'starting' });
    try {
      const guest = await startGuest(
        this.#context,
        this.#store,
        this.#volumes,
        desired,
        { ...withoutPoweredOff(record), restarts: desired.restarts },
        this.#networks,
      );
      this.#keep(key, guest);
    } catch (error) {
      await this.#gone(
        key,
        desired.nics.map((nic) => nic.key),
      );
      throw error;
    }
    return await this.#keepRunning(desired, this.#guests.get(key));
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
    if ((status === 'prelaunch' || status === 'paused' || status === 'io-error') && !held) {
      const verdict = permits.judge(instance, desired.permit, record?.anchor);
      if (!verdict.ok || desired.permit === undefined) return 0;
      if (status === 'prelaunch') await this.#plug(desired, guest);
      await permits.hold(instance, desired.permit.epoch);
      await guest.monitor.run('cont');
      if (status === 'prelaunch' && record !== undefined) {
        await this.#store.write({ ...record, startedAt: new Date(clock.wallMs()).toISOString() });
        this.#context.log.info('a guest was started', { instance, key, pid: guest.process.pid, epoch: desired.permit.epoch });
        if (this.#context.networking.mode === 'bridge') {
          await guest.monitor.run('announce-self', { initial: 50, max: 550, rounds: 5, step: 100 }).catch(() => {});
        }
      }
      status = await guestStatus(guest);
    }
    await this.#lookForLife(key, guest);
    const pausedState: ObservedInstance['state'] = status === 'running' ? 'running' : 'paused';
    const problem = runningProblem(status, record?.launch !== undefined && record.launch.plan !== planFingerprint(desired));
    this.#post(desired, { state: pausedState, ...(problem === undefined ? {} : { problem }) });
    const startedAt = Date.parse(this.#store.get(key)?.startedAt ?? '');
    const young = clock.wallMs() - startedAt < youngMs;
    const expiryMs = desired.permit === undefined ? 0 : permits.remainingMs(desired.permit, record?.anchor);
    return Math.max(Math.min(status === 'io-error' ? 5_000 : young ? 1_000 : 15_000, expiryMs), 1);
  }

  /** A guest whose NICs cannot be connected under their rules never runs; the next start makes its taps anew. */
  async #plug(desired: DesiredInstance, guest: Guest): Promise<void> {
    try {
      await this.#networks.plug(desired);
    } catch (error) {
      await quitGuest(guest);
      await this.#gone(desired.key);
      throw error;
    }
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
    await dropTaps(this.#context, this.#networks, nicKeys ?? this.#desired(key)?.nics.map((nic) => nic.key) ?? []);
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
    await sweepNics(this.#context, this.#networks);
    await dropPorts(this.#context, key);
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
    return observedInstance(
      this.#context,
      {
        record,
        desired,
        guest: this.#guests.get(record.key),
        nics: desired === undefined ? [] : this.#networks.nicsSeen(desired),
        life: this.#life.get(record.key),
      },
      now,
    );
  }
}

function withoutPoweredOff(record: InstanceRecord): InstanceRecord {
  const { poweredOff: _, ...rest } = record;
  return rest;
}
