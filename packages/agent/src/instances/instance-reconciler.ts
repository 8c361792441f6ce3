import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type DesiredInstance, isBooted, type ObservedInstance, Problem, type Surrender, toProblem } from '@virt8ra/contract';
import type { NextLook } from '../desired/converger.js';
import { stillFull } from '../disk/room.js';
import { type HostContext, troubleFrom } from '../host-context.js';
import type { PermitVerdict } from '../permits/permit-book.js';
import { type Guest, guestStatus, isStoppedByMove, lastWords, quitGuest, shutDownGuest, stillStates } from '../qemu/guest.js';
import type { VolumeStore } from '../storage/volume-store.js';
import { Exclusive } from '../system/exclusive.js';
import { isAlive } from '../system/process-identity.js';
import { adoptGuests } from './adoption.js';
import { DiskTender } from './disk-tender.js';
import type { GuestNetworks } from './guest-networks.js';
import { GuestSights } from './guest-sights.js';
import { dropPorts, guestPaths, startGuest } from './guest-starter.js';
import { dropTaps, sweepGuestTaps } from './guest-taps.js';
import type { InstanceRecord, InstanceStore } from './instance-store.js';
import { type InstanceNow, observedInstance, runningProblem } from './instance-view.js';
import { recordOf } from './record-of.js';
import { restartVerdict, withEnd, withoutEnds } from './restart-policy.js';
import { noteStart, resumeGuest } from './resume-guest.js';
import { differencesOf } from './started-with.js';
import { stillMissing } from './still-missing.js';
import type { TransferClaims } from './transfer-claims.js';
import { VolumeHolders } from './volume-holders.js';

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
  readonly #holders: VolumeHolders;
  readonly #sights: GuestSights;

  constructor(context: HostContext, store: InstanceStore, volumes: VolumeStore, claims: TransferClaims, networks: GuestNetworks) {
    this.#context = context;
    this.#store = store;
    this.#volumes = volumes;
    this.#claims = claims;
    this.#networks = networks;
    this.#holders = new VolumeHolders(context, store, volumes, this.#guests, claims);
    const rules = {
      missing: (volumeKey: string) => this.#holders.missing(volumeKey),
      moves: (volumeKey: string) => claims.moves(volumeKey),
    };
    this.#sights = new GuestSights(store, new DiskTender(context, store, volumes, rules));
  }

  /** Takes over the guests that an earlier agent left running. Once, before the first pass. */
  async adopt(): Promise<void> {
    for (const [key, guest] of await adoptGuests(this.#context, this.#store, this.#networks)) this.#keep(key, guest);
  }

  /** The running guest of an instance. */
  guest(key: string): Guest | undefined {
    return this.#guests.get(key);
  }

  /** The running guests, by instance. */
  guests(): ReadonlyMap<string, Guest> {
    return this.#guests;
  }

  /** The running guest that has a volume as one of its disks. */
  guestWith(volumeKey: string): ReturnType<VolumeHolders['guestWith']> {
    return this.#holders.guestWith(volumeKey);
  }

  usesVolume(volumeKey: string): boolean {
    return this.#holders.uses(volumeKey);
  }

  /** Whether an instance's NICs are connected under their rules. */
  isPlugged(key: string): boolean {
    const desired = this.#desired(key);
    return desired !== undefined && this.#networks.isPlugged(desired);
  }

  keys(): string[] {
    return [...this.#store.all().map(({ key }) => key), ...this.#store.lost()];
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
    let record = await recordOf(this.#context, this.#store, desired, this.#guests.has(key));
    await this.#noticeExit(key, desired);
    record = this.#store.get(key) ?? record;
    const { permits } = this.#context;
    if (desired.surrenderEpoch !== undefined && !permits.hasSurrendered(desired.instance, desired.surrenderEpoch)) {
      await this.#stop(key, desired, Math.min(this.#stopMs(desired), surrenderGraceMs));
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
        await this.#stop(key, desired, this.#stopMs(desired));
        this.#post(desired, { state: 'stopped' });
        return undefined;
      }
      return await this.#keepRunning(desired, guest);
    }
    if (desired.power === 'off') {
      if (record.unasked !== undefined || record.crashes.length > 0) await this.#store.write(withoutEnds(record));
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
    if (this.#guests.has(desired.key) && !this.#networks.isPlugged(desired)) await this.#networks.plug(desired);
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
    const verdict = await resumeGuest(this.#context, this.#networks, { desired, guest, record, handed });
    if (!verdict.ok) return verdict;
    const status = await guestStatus(guest);
    // Said to run only when it is seen to: the source ends its own copy on this word.
    if (status !== 'running') throw new Problem('unavailable', `the guest was told to go on and is ${status}`);
    // The other side waits for the verdict only.
    if (record.startedAt === undefined)
      void this.exclusive(key, async () => await noteStart(this.#context, this.#store, { desired, guest, record })).catch(() => {});
    return verdict;
  }

  /** A process that ended without being told to is a crash; so is one that a reboot took away. */
  async #noticeExit(key: string, desired?: DesiredInstance): Promise<void> {
    const record = this.#store.get(key);
    if (record?.launch === undefined) return;
    const guest = this.#guests.get(key);
    if (guest !== undefined && (await isAlive(guest.process))) return;
    const { clock, log } = this.#context;
    const arriving = this.#claims.isArriving(key);
    const { log: said } = guestPaths(this.#context, this.#store, key);
    if (arriving) log.warn('a receiving process ended by itself', { instance: record.instance, said: await lastWords(said) });
    await this.#gone(key);
    if (arriving) return;
    const how = record.launch.bootId === clock.bootId ? 'process' : 'host';
    const ended = withEnd(this.#store.get(key) ?? record, how, clock.wallMs());
    await this.#store.write(ended);
    const { instance } = record;
    if (how === 'host') return log.info('the host was restarted under a guest', { instance });
    log.warn('a guest’s process ended by itself', { instance, crashes: ended.crashes.length });
    if (desired !== undefined)
      this.#post(desired, { state: 'crashed', problem: { code: 'internal', message: 'the guest’s process ended by itself' } });
  }

  async #bringUp(desired: DesiredInstance, record: InstanceRecord): Promise<NextLook> {
    const { key } = desired;
    const restart = restartVerdict(record, desired, this.#context.clock.wallMs());
    if (restart.type !== 'start') {
      this.#post(desired, restart.now);
      return restart.type === 'wait' ? restart.pauseMs : undefined;
    }
    const waitingFor = this.#missing(desired, 'whole');
    if (waitingFor !== undefined) {
      this.#post(desired, { state: 'waiting', waitingFor });
      return undefined;
    }
    await this.#launch(desired, restart.asked ? withoutEnds(record) : record);
    return await this.#keepRunning(desired, this.#guests.get(key));
  }

  async #launch(desired: DesiredInstance, record: InstanceRecord): Promise<void> {
    const { key, restarts } = desired;
    this.#post(desired, { state: 'starting' });
    try {
      this.#keep(key, await startGuest(this.#context, this.#store, this.#volumes, desired, { ...record, restarts }, this.#networks));
    } catch (error) {
      await this.#gone(key);
      throw error;
    }
  }

  /** What a guest still needs before it may start. */
  #missing(desired: DesiredInstance, disks: 'whole' | 'incoming'): string | undefined {
    return stillMissing(this.#context, this.#volumes, desired, {
      disks,
      claimed: this.#claims.claimOn(desired.key) !== undefined,
      missingVolume: (volumeKey) => this.#holders.missing(volumeKey),
    });
  }

  async #keepRunning(desired: DesiredInstance, guest: Guest | undefined): Promise<NextLook> {
    const { key, instance } = desired;
    const { clock, permits } = this.#context;
    if (guest === undefined) return 0;
    const record = this.#store.get(key);
    if (record !== undefined && desired.restarts > record.restarts) {
      await this.#stop(key, desired, this.#stopMs(desired));
      return 0;
    }
    let status = await guestStatus(guest);
    if (status === 'shutdown') {
      await quitGuest(guest);
      await this.#gone(key);
      const left = this.#store.get(key);
      if (left !== undefined) await this.#store.write(withEnd(left, 'guest', clock.wallMs()));
      this.#context.log.info('a guest switched itself off', { instance });
      return 0;
    }
    const held = this.#claims.claimOn(key) === 'paused';
    let starved = status === 'io-error' ? await stillFull(this.#context.config.stateDirectory) : undefined;
    if (stillStates.includes(status) && !held && starved === undefined && record !== undefined) {
      const still = { desired, guest, record };
      if (status === 'prelaunch') await this.#plug(desired, guest);
      if (!(await resumeGuest(this.#context, this.#networks, still)).ok) return 0;
      if (status === 'prelaunch') await noteStart(this.#context, this.#store, still);
      status = await guestStatus(guest);
    }
    const disksMs = await this.#sights.look(desired, guest, held);
    const pausedState: ObservedInstance['state'] = status === 'running' ? 'running' : 'paused';
    if (status === 'io-error') starved ??= 'the guest is paused because its disk could not be written; it is tried again';
    const problem = runningProblem(starved, differencesOf(record?.launch?.started, desired).length > 0);
    this.#post(desired, { state: pausedState, ...(problem === undefined ? {} : { problem }) });
    const startedAt = Date.parse(this.#store.get(key)?.startedAt ?? '');
    // Whoever waits for it to boot is told at once; one that has booted tells of itself by events.
    const young = clock.wallMs() - startedAt < youngMs && !isBooted(this.#sights.of(key).life);
    const expiryMs = desired.permit === undefined ? 0 : permits.remainingMs(desired.permit, record?.anchor);
    const nextMs = Math.min(starved === undefined ? (young ? 1_000 : 15_000) : 2_000, disksMs ?? 15_000);
    return Math.max(Math.min(nextMs, expiryMs), 1);
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

  async #stop(key: string, desired: DesiredInstance, graceMs: number): Promise<void> {
    const guest = this.#guests.get(key);
    if (guest === undefined) return;
    this.#post(desired, { state: 'stopping' });
    const how = await shutDownGuest(guest, Math.min(graceMs, this.#permittedMs(desired)));
    await this.#gone(key);
    const record = this.#store.get(key);
    if (record !== undefined)
      await this.#store.write({ ...withoutEnds(record), lastEnd: { at: new Date(this.#context.clock.wallMs()).toISOString(), how } });
    this.#context.log.info('a guest was stopped', { instance: desired.instance, key, how });
  }

  /** Milliseconds a guest has to shut down by itself. */
  #stopMs(desired: DesiredInstance): number {
    return (desired.stopSeconds ?? this.#context.config.shutdownSeconds) * 1000;
  }

  /** Milliseconds for which the guest may go on at all. */
  #permittedMs({ key, permit }: DesiredInstance): number {
    return permit === undefined ? Number.POSITIVE_INFINITY : this.#context.permits.remainingMs(permit, this.#store.get(key)?.anchor);
  }

  /** The process is gone: nothing of it is left. */
  async #gone(key: string): Promise<void> {
    const guest = this.#guests.get(key);
    this.#guests.delete(key);
    this.#sights.forget(key);
    guest?.monitor.close();
    const record = this.#store.get(key);
    const nicKeys = record?.launch?.nicKeys ?? this.#desired(key)?.nics.map((nic) => nic.key) ?? [];
    await dropTaps(this.#context, this.#networks, nicKeys);
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
      await this.#noticeExit(key);
      const now = this.#store.get(key);
      if (now !== undefined) board.post('instance', key, this.#observed(now, { state: this.#guests.has(key) ? 'running' : 'stopped' }));
      return undefined;
    }
    const guest = this.#guests.get(key);
    if (guest !== undefined) await quitGuest(guest);
    await this.#gone(key);
    await sweepGuestTaps(this.#context, this.#store, this.#networks);
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
      if (['SHUTDOWN', 'STOP', 'RESUME', 'RESET', 'BLOCK_IO_ERROR', 'DEVICE_DELETED', 'DEVICE_UNPLUG_GUEST_ERROR'].includes(event)) look();
      if (event !== 'JOB_STATUS_CHANGE') return;
      for (const volumeKey of this.#store.get(key)?.launch?.volumeKeys ?? [])
        if (volumeKey !== null) this.#context.nudge({ type: 'volume', key: volumeKey });
    });
    void guest.monitor.closed.then(look);
  }

  #post(desired: DesiredInstance, now: InstanceNow): void {
    const record = this.#store.get(desired.key);
    if (record !== undefined) this.#context.board.post('instance', desired.key, this.#observed(record, now, desired));
  }

  #observed(record: InstanceRecord, now: InstanceNow, desired?: DesiredInstance): ObservedInstance {
    const { key } = record;
    const nics = desired === undefined ? [] : this.#networks.nicsSeen(desired);
    return observedInstance(this.#context, { record, desired, guest: this.#guests.get(key), nics, ...this.#sights.of(key) }, now);
  }
}
