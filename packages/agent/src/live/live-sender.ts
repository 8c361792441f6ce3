import { randomUUID } from 'node:crypto';
import { type DesiredLiveSend, Problem, type ProblemKind, toProblem } from '@virt8ra/contract';
import { guestUser } from '../instances/guest-starter.js';
import { currentNode, type Guest, guestStatus } from '../qemu/guest.js';
import { isSettling } from '../storage/settle.js';
import { giveKey } from './attempt-key.js';
import { type Channel, openChannel } from './channel.js';
import { CopyMeter } from './copy-meter.js';
import type { LiveEnd, LiveParts } from './live-end.js';
import { contentBytes, machineShape } from './machine-shape.js';
import {
  type CopyProgress,
  clearSource,
  dropMergedOverlays,
  endMirrors,
  mirrorDisks,
  mirrorsStand,
  sendLast,
  sendMemory,
} from './source.js';

/** A copy that breaks begins from nothing again, so often and after such pauses. */
const attempts = 5;
const firstPauseMs = 500;
/** Another attempt would not help. */
const hopelessKinds: readonly ProblemKind[] = ['unsupported', 'forbidden', 'exhausted'];
const checkMs = 1_000;
const answerMs = 5_000;
/** The target starts a process anew for every attempt. */
const beginMs = 60_000;
const releaseMs = 10_000;
const askAgainMs = 200;

/**
 * The sending end of a live move. Until the release is journaled every fault ends in the guest running on here, and the move is tried again.
 * From then on the guest never runs here under that epoch: the release is told to the target until it answers.
 */
export class LiveSender implements LiveEnd {
  readonly #parts: LiveParts;
  readonly #id: string;
  #desired: DesiredLiveSend;
  #stopped = false;
  /** Ends an attempt that has not released yet. */
  #attempt = new AbortController();
  #wake: () => void = () => {};
  /** The guest is, or is about to be, stopped for the switch. */
  #holding = false;
  readonly ended: Promise<void>;

  constructor(parts: LiveParts, desired: DesiredLiveSend) {
    this.#parts = parts;
    this.#id = desired.id;
    this.#desired = desired;
    this.ended = this.#run();
  }

  get holding(): boolean {
    return this.#holding;
  }

  async #end(change: Parameters<LiveParts['report']['end']>[0]): Promise<void> {
    this.#holding = false;
    await this.#parts.report.end(change);
  }

  follow(desired: DesiredLiveSend): void {
    const changed = JSON.stringify(desired) !== JSON.stringify(this.#desired);
    this.#desired = desired;
    if (desired.goal === 'abort') this.#attempt.abort(new Problem('cancelled', 'the move was called off'));
    if (changed) this.#wake();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#attempt.abort(new Problem('cancelled', 'the agent stops'));
    this.#wake();
    await this.ended;
  }

  get #instance(): string {
    return this.#parts.instanceOf(this.#desired.instanceKey) ?? '';
  }

  #isReleased(): boolean {
    return this.#parts.context.permits.hasSurrendered(this.#instance, this.#desired.epoch);
  }

  async #run(): Promise<void> {
    const { context, report } = this.#parts;
    const { log } = context;
    for (let attempt = 1; !this.#stopped; attempt += 1) {
      try {
        if (!this.#isReleased()) {
          if (this.#desired.goal === 'abort') return await this.#callOff();
          report.observe({ state: 'copying' });
          await this.#try();
        }
        return await this.#handOver(undefined);
      } catch (error) {
        const problem = toProblem(error);
        log.warn('a live move was interrupted', { transfer: this.#id, attempt, code: problem.kind, problem: problem.message });
        const aborted = await this.#goOn(problem);
        if (aborted || this.#stopped) continue;
        const hopeless = hopelessKinds.includes(problem.kind) || attempt >= attempts;
        if (hopeless && !this.#isReleased()) return await this.#fail(problem);
        report.observe({ state: 'copying', problem: { code: problem.kind, message: problem.message } });
        await this.#pause(firstPauseMs * 2 ** Math.min(attempt - 1, 4));
      }
    }
  }

  /** After a fault before the release: everything of the move leaves the guest, which runs on. True when it was called off. */
  async #goOn(problem: Problem): Promise<boolean> {
    const { instances, context, report } = this.#parts;
    const { instanceKey, goal } = this.#desired;
    this.#attempt = new AbortController();
    const guest = instances.guest(instanceKey);
    if (!this.#isReleased()) {
      try {
        if (guest !== undefined) await clearSource(guest);
      } catch (error) {
        context.log.error('a guest could not be cleared of a move', {
          transfer: this.#id,
          problem: toProblem(error).message,
          after: problem.message,
        });
      }
      await report.remember(undefined);
      // Also when its process is gone: held, it would never be started again.
      this.#holding = false;
    }
    context.nudge({ type: 'instance', key: instanceKey });
    return goal === 'abort';
  }

  /** One copy of the disks, and, when told to, of the memory, up to the journaled release. Raises what went wrong. */
  async #try(): Promise<void> {
    const { instances, identity, report } = this.#parts;
    const { instanceKey, disks, peer } = this.#desired;
    const controller = this.#attempt;
    const { signal } = controller;
    const attempt = randomUUID();
    const guest = await this.#movableGuest();
    await clearSource(guest);
    const channel = await openChannel(peer, identity(), signal);
    void channel.broken.then((problem) => controller.abort(problem));
    try {
      const shape = await machineShape(guest);
      const begin = { type: 'begin', transferId: this.#id, attempt, shape, contentBytes: await contentBytes(guest) } as const;
      const peers = await channel.ask(begin, beginMs);
      await giveKey(guest, await guestUser(this.#parts.context.config.root, instanceKey), 'client', peers.key);
      const meter = new CopyMeter();
      const options = { signal, onProgress: (progress: CopyProgress) => report.progress(meter.measure(progress), meter.bytes) };
      const watch = this.#watch(channel, signal);
      try {
        const nodes = await this.#nodes(guest);
        await dropMergedOverlays(guest, nodes);
        await mirrorDisks(guest, nodes, peers, options);
        report.observe({ state: 'converged', bytes: meter.bytes });
        await this.#awaitOrder(guest, signal);
        await this.#awaitArmed(channel, signal);
        // After this no pass of the instance lets a guest go on that stands still.
        await instances.exclusive(instanceKey, async () => {
          this.#holding = true;
          await report.remember(attempt);
        });
        if ((await guestStatus(guest)) !== 'running') throw new Problem('unavailable', 'the guest does not run; it is not moved now');
        let stoppedAt = Date.now();
        const stopListening = guest.monitor.onEvent(({ event, atMs }) => {
          if (event === 'STOP') stoppedAt = atMs;
        });
        await sendMemory(guest, peers, options).finally(stopListening);
        watch.end();
        const { bytes, carried } = meter;
        const pausedAt = new Date(stoppedAt).toISOString();
        report.observe({ state: 'finishing', pausedAt, bytes, ...(carried === undefined ? {} : { carried }) });
        await endMirrors(guest, disks.length, signal);
        await channel.ask({ type: 'close-disks' }, answerMs);
        await sendLast(guest, signal);
        signal.throwIfAborted();
        await this.#parts.context.permits.surrender(this.#instance, this.#desired.epoch);
        await this.#handOver({ channel, stoppedAt });
      } finally {
        watch.end();
      }
    } finally {
      channel.close();
    }
  }

  /** Asks the target all the while whether it is there: a network that fails in silence breaks the attempt within seconds. */
  #watch(channel: Channel, signal: AbortSignal): { end(): void } {
    let over = false;
    const look = async () => {
      while (!over && !signal.aborted && channel.failure === undefined) {
        await channel.ask({ type: 'check' }, answerMs).catch(() => {});
        await new Promise((resolve) => setTimeout(resolve, checkMs));
      }
    };
    void look();
    return {
      end: () => {
        over = true;
      },
    };
  }

  async #movableGuest(): Promise<Guest> {
    const { instances, volumeAt } = this.#parts;
    const { instanceKey, disks } = this.#desired;
    const guest = instances.guest(instanceKey);
    if (guest === undefined) throw new Problem('unavailable', 'the guest does not run; it is not moved now');
    for (const [index, { volumeKey }] of disks.entries()) {
      const place = volumeAt(volumeKey);
      if (place?.key !== instanceKey) throw new Problem('conflict', `volume ${volumeKey} is not a disk of the guest that moves`);
      if (place.index !== index)
        throw new Problem('unsupported', 'disks were attached or detached since the guest was started; restart it, or move it warm');
      if (await isSettling(guest, index)) throw new Problem('unavailable', `volume ${volumeKey} is still being merged`);
    }
    return guest;
  }

  async #nodes(guest: Guest): Promise<readonly string[]> {
    const nodes: string[] = [];
    for (const index of this.#desired.disks.keys()) {
      const node = await currentNode(guest, index);
      if (node === undefined) throw new Problem('internal', `the hypervisor knows no block node for disk ${index}`);
      nodes.push(node);
    }
    return nodes;
  }

  async #awaitOrder(guest: Guest, signal: AbortSignal): Promise<void> {
    while (this.#desired.goal !== 'finish') {
      signal.throwIfAborted();
      if (!(await mirrorsStand(guest, this.#desired.disks.length)))
        throw new Problem('unavailable', 'the copy of a disk has ended by itself');
      await this.#pause(checkMs);
    }
  }

  async #awaitArmed(channel: Channel, signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted();
      const { armed, reason } = await channel.ask({ type: 'check' }, answerMs);
      if (armed) return;
      this.#parts.context.log.debug('the target may not take over yet', { transfer: this.#id, reason });
      await this.#pause(askAgainMs);
    }
  }

  /** The release is journaled: it is told to the target until it has answered, over a new channel each time the old one broke. */
  async #handOver(first: { readonly channel: Channel; readonly stoppedAt: number } | undefined): Promise<void> {
    const { context, identity, report } = this.#parts;
    this.#holding = true;
    let channel = first?.channel;
    while (!this.#stopped) {
      if (this.#desired.arrived === true) return await this.#finish(undefined);
      if (this.#desired.goal === 'abort') return await this.#end({ state: 'aborted' });
      const surrender = context.permits.lastSurrender(this.#instance);
      const attempt = report.remembered();
      if (surrender === undefined || attempt === undefined)
        return await this.#fail(new Problem('conflict', 'the epoch was given up, and not to the target of this move'));
      try {
        channel = channel?.failure === undefined ? channel : undefined;
        channel ??= await openChannel(this.#desired.peer, identity(), new AbortController().signal);
        const answer = await channel.ask({ type: 'release', transferId: this.#id, attempt, surrender }, releaseMs);
        if (answer.outcome === 'resumed') return await this.#finish(first === undefined ? undefined : Date.now() - first.stoppedAt);
        if (answer.outcome === 'refused')
          return await this.#fail(new Problem('conflict', `the target cannot run the guest: ${answer.reason ?? 'no reason given'}`));
      } catch (error) {
        context.log.warn('a release could not be handed over yet', { transfer: this.#id, problem: toProblem(error).message });
        channel?.close();
      }
      context.nudge({ type: 'instance', key: this.#desired.instanceKey });
      await this.#pause(askAgainMs);
    }
    channel?.close();
  }

  async #finish(pauseMs: number | undefined): Promise<void> {
    const { instanceKey, epoch } = this.#desired;
    await this.#parts.instances.release(instanceKey, this.#instance, epoch);
    await this.#end({ state: 'finished', ...(pauseMs === undefined ? {} : { pauseMs: Math.max(0, pauseMs) }) });
  }

  async #callOff(): Promise<void> {
    const { instances, report } = this.#parts;
    const guest = instances.guest(this.#desired.instanceKey);
    report.observe({ state: 'aborting' });
    if (guest !== undefined) await clearSource(guest);
    await this.#end({ state: 'aborted' });
  }

  /** No other attempt would help. It waits for the order to abort, with the guest running here or, after a release, standing still. */
  async #fail(problem: Problem): Promise<void> {
    const { report } = this.#parts;
    report.observe({ state: 'failed', problem: { code: problem.kind, message: problem.message } });
    while (!this.#stopped && this.#desired.goal !== 'abort') await this.#pause(checkMs);
    if (!this.#stopped) await this.#end({ state: 'aborted' });
  }

  async #pause(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
