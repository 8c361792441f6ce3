import { type DesiredInstance, Problem, type Surrender, toProblem } from '@virt8ra/contract';
import type { NextLook } from '../desired/converger.js';
import { GuestInquiry } from '../guest-agent/guest-inquiry.js';
import { type HostContext, troubleFrom } from '../host-context.js';
import type { PermitVerdict } from '../permits/permit-book.js';
import { type Guest, guestStatus, isStoppedByMove } from '../qemu/guest.js';
import type { VolumeStore } from '../storage/volume-store.js';
import { Exclusive } from '../system/exclusive.js';
import { desiredInstance } from './desired-instance.js';
import { DiskTender } from './disk-tender.js';
import { GuestKeeper } from './guest-keeper.js';
import type { GuestNetworks } from './guest-networks.js';
import { GuestProcesses } from './guest-processes.js';
import { GuestSights } from './guest-sights.js';
import { dropPorts } from './guest-starter.js';
import { sweepGuestTaps } from './guest-taps.js';
import { InstancePosts } from './instance-posts.js';
import type { InstanceRecord, InstanceStore } from './instance-store.js';
import { recordOf } from './record-of.js';
import { restartVerdict, withoutEnds } from './restart-policy.js';
import { noteStart, resumeGuest } from './resume-guest.js';
import { stillMissing } from './still-missing.js';
import type { TransferClaims } from './transfer-claims.js';
import { VolumeHolders } from './volume-holders.js';

/** Longest wait for a guest's own shutdown when its permit goes: the other side waits for the promise. */
const surrenderGraceMs = 10_000;

/** Decides of every instance of this host whether its guest starts, goes on, stops or is given up. */
export class InstanceReconciler {
  readonly #context: HostContext;
  readonly #store: InstanceStore;
  readonly #volumes: VolumeStore;
  readonly #claims: TransferClaims;
  readonly #networks: GuestNetworks;
  readonly #guests = new Map<string, Guest>();
  readonly #exclusive = new Exclusive();
  readonly #holders: VolumeHolders;
  readonly #posts: InstancePosts;
  readonly #processes: GuestProcesses;
  readonly #keeper: GuestKeeper;

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
    const guests = this.#guests;
    const inquiry = new GuestInquiry({ onWord: (key) => context.nudge({ type: 'instance', key }), wallMs: () => context.clock.wallMs() });
    const sights = new GuestSights(context, store, new DiskTender(context, store, volumes, rules), inquiry);
    const posts = new InstancePosts(context, store, networks, guests, sights);
    const processes = new GuestProcesses(context, { store, volumes }, claims, networks, { guests, sights, posts });
    this.#posts = posts;
    this.#processes = processes;
    this.#keeper = new GuestKeeper(context, store, claims, networks, { volumes, processes, sights, posts });
  }

  /** Takes over the guests that an earlier agent left running. Once, before the first pass. */
  async adopt(): Promise<void> {
    await this.#processes.adopt();
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
    const desired = desiredInstance(this.#context, key);
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
      await this.#processes.quit(key);
      return await this.#context.permits.surrender(instance, epoch);
    });
  }

  async pass(key: string): Promise<NextLook> {
    return await this.exclusive(key, async () => {
      try {
        return await this.#converge(key);
      } catch (error) {
        const problem = toProblem(error);
        const desired = desiredInstance(this.#context, key);
        if (desired !== undefined) {
          const running = this.#guests.has(key);
          this.#posts.post(desired, { state: running ? 'running' : 'failed', problem: troubleFrom(problem) });
        }
        throw problem;
      }
    });
  }

  async #converge(key: string): Promise<NextLook> {
    const desired = desiredInstance(this.#context, key);
    if (desired === undefined) return await this.#remove(key);
    let record = await recordOf(this.#context, this.#store, desired, this.#guests.has(key));
    await this.#processes.noticeExit(key, desired);
    record = this.#store.get(key) ?? record;
    const { permits } = this.#context;
    if (desired.surrenderEpoch !== undefined && !permits.hasSurrendered(desired.instance, desired.surrenderEpoch)) {
      await this.#processes.stop(desired, Math.min(this.#processes.graceMs(desired), surrenderGraceMs));
      await permits.surrender(desired.instance, desired.surrenderEpoch);
    }
    const verdict = permits.judge(desired.instance, desired.permit, record.anchor);
    const guest = this.#guests.get(key);
    if (this.#claims.isArriving(key)) return await this.#receive(desired, record, guest);
    if (guest !== undefined) {
      if (!verdict.ok && this.#claims.keeps(key) && (await isStoppedByMove(guest))) {
        this.#posts.post(desired, { state: 'paused', waitingFor: verdict.reason });
        return undefined;
      }
      if (!verdict.ok) {
        const expired = desired.permit?.expiresAt !== undefined && permits.remainingMs(desired.permit, record.anchor) <= 0;
        this.#context.log.warn('a guest is stopped because its permit ended', { instance: desired.instance, reason: verdict.reason });
        await this.#processes.stop(desired, expired ? 0 : surrenderGraceMs);
        this.#posts.post(desired, { state: 'waiting', waitingFor: verdict.reason });
        return undefined;
      }
      if (desired.power === 'off') {
        await this.#processes.stop(desired);
        this.#posts.post(desired, { state: 'stopped' });
        return undefined;
      }
      return await this.#keeper.keep(desired);
    }
    await this.#context.pci.trim(key, desired.pciDevices ?? []);
    if (desired.power === 'off') {
      if (record.unasked !== undefined || record.crashes.length > 0) await this.#store.write(withoutEnds(record));
      this.#posts.post(desired, { state: 'stopped' });
      return undefined;
    }
    if (!verdict.ok) {
      this.#posts.post(desired, { state: 'waiting', waitingFor: verdict.reason });
      return undefined;
    }
    return await this.#bringUp(desired, record);
  }

  /** A process that waits for what a live move brings; its transfer says when it runs. */
  async #receive(desired: DesiredInstance, record: InstanceRecord, guest: Guest | undefined): Promise<NextLook> {
    const waitingFor = guest === undefined ? this.#missing(desired, 'incoming') : undefined;
    if (guest === undefined && waitingFor === undefined) await this.#processes.launch(desired, record);
    if (this.#guests.has(desired.key) && !this.#networks.isPlugged(desired)) await this.#networks.plug(desired);
    this.#posts.post(desired, { state: 'waiting', waitingFor: waitingFor ?? 'its memory' });
    return undefined;
  }

  /** Ends a receiving process, so that the next look starts a fresh one. */
  async discard(key: string): Promise<void> {
    await this.exclusive(key, async () => await this.#processes.quit(key));
    this.#context.nudge({ type: 'instance', key });
  }

  /** Lets a guest run whose memory has arrived, if its permit allows it: with what was `handed` over where the permit awaits it. */
  async resumeArrived(key: string, handed: Surrender | undefined): Promise<PermitVerdict> {
    const desired = desiredInstance(this.#context, key);
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

  async #bringUp(desired: DesiredInstance, record: InstanceRecord): Promise<NextLook> {
    const restart = restartVerdict(record, desired, this.#context.clock.wallMs());
    if (restart.type !== 'start') {
      this.#posts.post(desired, restart.now);
      return restart.type === 'wait' ? restart.pauseMs : undefined;
    }
    const waitingFor = this.#missing(desired, 'whole');
    if (waitingFor !== undefined) {
      this.#posts.post(desired, { state: 'waiting', waitingFor });
      return undefined;
    }
    await this.#processes.launch(desired, restart.asked ? withoutEnds(record) : record);
    return await this.#keeper.keep(desired);
  }

  /** What a guest still needs before it may start. */
  #missing(desired: DesiredInstance, disks: 'whole' | 'incoming'): string | undefined {
    return stillMissing(this.#context, this.#volumes, desired, {
      disks,
      claimed: this.#claims.claimOn(desired.key) !== undefined,
      missingVolume: (volumeKey) => this.#holders.missing(volumeKey),
    });
  }

  async #remove(key: string): Promise<NextLook> {
    const { board, ledger, log } = this.#context;
    const record = this.#store.get(key);
    if (!ledger.mayRemove({ type: 'instance', key })) {
      await this.#processes.noticeExit(key);
      const now = this.#store.get(key);
      if (now !== undefined) this.#posts.postLeftOver(now);
      return undefined;
    }
    await this.#processes.quit(key);
    await sweepGuestTaps(this.#context, this.#store, this.#networks);
    await dropPorts(this.#context, key);
    await this.#context.pci.giveBack(key);
    await this.#store.remove(key);
    board.remove({ type: 'instance', key });
    if (record !== undefined) log.info('an instance was removed from this host', { instance: record.instance, key });
    return undefined;
  }
}
