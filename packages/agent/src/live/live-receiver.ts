import { chown } from 'node:fs/promises';
import { agentDnsName, type DesiredLiveReceive, Problem, type Surrender, toProblem } from '@virt8ra/contract';
import { requireRoom } from '../disk/room.js';
import { guestUser } from '../instances/guest-starter.js';
import { type Guest, guestStatus, stillStates } from '../qemu/guest.js';
import { isAlive } from '../system/process-identity.js';
import { type ChannelServer, serveChannel } from './channel.js';
import type { LiveEnd, LiveParts } from './live-end.js';
import { machineShape, shapeFault } from './machine-shape.js';
import type { AnswerOf, Question, ReleaseAnswer } from './messages.js';
import { closeDisks, completeTarget, isFresh, openTarget, tidyTarget } from './target.js';

const startMs = 45_000;
const lookMs = 50;

/**
 * The receiving end of a live move. It answers the source, and lets the guest run once it has both a permit and the source's release, from
 * whichever side each comes.
 */
export class LiveReceiver implements LiveEnd {
  readonly #parts: LiveParts;
  #desired: DesiredLiveReceive;
  #server: ChannelServer | undefined;
  #starting: Promise<void> | undefined;
  #resuming: Promise<ReleaseAnswer> | undefined;
  #concluding: Promise<ReleaseAnswer> | undefined;
  #stopped = false;
  #handed: Surrender | undefined;
  /** Something came into the process that is there now, so that it cannot be given back. */
  #opened: Guest | undefined;
  readonly holding = false;

  constructor(parts: LiveParts, desired: DesiredLiveReceive) {
    this.#parts = parts;
    this.#desired = desired;
  }

  /** Listens as soon as the process is there, and lets an arrived guest run that has its permit now. */
  async look(desired: DesiredLiveReceive, isOver: boolean): Promise<void> {
    this.#desired = desired;
    if (this.#server === undefined && (isOver || this.#guest() !== undefined)) {
      this.#starting ??= this.#listen(isOver).finally(() => {
        this.#starting = undefined;
      });
      await this.#starting;
    }
    if (!isOver && this.#hasEvidence()) await this.#resume();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#starting?.catch(() => {});
    this.#server?.close();
    this.#server = undefined;
    await this.#resuming?.catch(() => {});
  }

  async #listen(isOver: boolean): Promise<void> {
    const { context, identity, report } = this.#parts;
    const { config, dataAddress } = context;
    const server = await serveChannel({
      tls: identity(),
      peerName: this.#desired.peerName,
      listen: { address: dataAddress(), ...(config.dataPorts === undefined ? {} : { ports: config.dataPorts }) },
      answer: async (question) => await this.#answer(question),
    });
    if (this.#stopped) return server.close();
    this.#server = server;
    report.observe({ ...(isOver ? {} : { state: 'listening' }), address: server.address, port: server.port });
  }

  #guest(): Guest | undefined {
    return this.#parts.instances.guest(this.#desired.instanceKey);
  }

  get #instance() {
    return this.#parts.context.ledger.state.instances.find(({ key }) => key === this.#desired.instanceKey);
  }

  /** The permit was given, or was held before, with all it needs. */
  #hasEvidence(): boolean {
    const instance = this.#instance;
    if (instance?.permit === undefined) return false;
    const { permits } = this.#parts.context;
    return instance.permit.evidence !== undefined || permits.hasHeld(instance.instance, instance.permit.epoch);
  }

  async #answer(question: Question): Promise<AnswerOf[Question['type']]> {
    switch (question.type) {
      case 'begin':
        this.#assertThis(question.transferId);
        return await this.#begin(question);
      case 'check':
        return this.#readiness();
      case 'close-disks': {
        const guest = this.#guest();
        if (guest === undefined || guest !== this.#opened) throw new Problem('unavailable', 'the receiving process is gone');
        await closeDisks(guest, this.#desired.disks.length);
        return {};
      }
      case 'release':
        this.#assertThis(question.transferId);
        if (question.attempt !== this.#parts.report.remembered())
          return { outcome: 'refused', reason: 'what came here is of another attempt' };
        this.#handed = question.surrender;
        return await this.#resume();
    }
  }

  #assertThis(transferId: string): void {
    if (transferId !== this.#desired.id) throw new Problem('forbidden', 'this host waits for another transfer');
  }

  async #begin({ attempt, shape, contentBytes }: Extract<Question, { type: 'begin' }>): Promise<AnswerOf['begin']> {
    const { context, instances, report, volumes } = this.#parts;
    const { config, dataAddress } = context;
    const { disks, instanceKey } = this.#desired;
    const instance = this.#instance;
    if (instance?.permit !== undefined && context.permits.hasHeld(instance.instance, instance.permit.epoch))
      throw new Problem('conflict', 'the guest runs here already');
    let guest = this.#guest();
    // One that cannot be spoken to is ending, and not seen to have ended yet.
    if (guest !== undefined && !(await isFresh(guest).catch(() => false))) {
      await instances.discard(instanceKey);
      guest = undefined;
    }
    guest ??= await this.#awaitGuest();
    const fault = shapeFault(shape, await machineShape(guest));
    if (fault !== undefined) throw new Problem('unsupported', `the guest’s machine cannot be made here as it is: ${fault}`);
    await this.#requireRoom(contentBytes);
    const user = await guestUser(config.root, instanceKey);
    const overlays: string[] = [];
    for (const { volumeKey } of disks) {
      await volumes.layOverlay(volumeKey);
      const { overlay } = volumes.files(volumeKey);
      if (user !== undefined) await chown(overlay, user.uid, user.gid);
      overlays.push(overlay);
    }
    await report.remember(attempt);
    this.#opened = guest;
    this.#handed = undefined;
    const opened = await openTarget(guest, { address: dataAddress(), ports: config.dataPorts, user, overlays, driver: volumes.driver });
    report.observe({ state: 'copying' });
    return opened;
  }

  /** The hypervisor would fill the disk to its last byte, and this agent could not write down what it is told next. */
  async #requireRoom(bytes: number): Promise<void> {
    const { volumes } = this.#parts;
    const keys = this.#desired.disks.map(({ volumeKey }) => volumeKey);
    const here = await Promise.all(keys.map(async (key) => await volumes.allocatedBytes(key)));
    const missing = here.reduce((left, taken) => left - taken, bytes);
    await requireRoom(volumes.room, Math.max(0, missing));
  }

  async #awaitGuest(): Promise<Guest> {
    const end = performance.now() + startMs;
    for (;;) {
      const guest = this.#guest();
      if (guest !== undefined) return guest;
      if (this.#stopped || performance.now() > end) throw new Problem('unavailable', 'the receiving process has not started yet');
      await new Promise((resolve) => setTimeout(resolve, lookMs));
    }
  }

  #readiness(): AnswerOf['check'] {
    const guest = this.#guest();
    if (guest === undefined || guest !== this.#opened) throw new Problem('unavailable', 'the receiving process is gone');
    const { permit, instance } = this.#instance ?? {};
    if (permit === undefined || instance === undefined) return { armed: false, reason: 'it waits for its permit' };
    if (this.#parts.context.permits.hasSurrendered(instance, permit.epoch)) return { armed: false, reason: 'it gave that epoch up' };
    if (!this.#parts.instances.isPlugged(this.#desired.instanceKey)) return { armed: false, reason: 'its NICs are not connected yet' };
    const awaited = permit.awaits !== undefined && agentDnsName(permit.awaits) === this.#desired.peerName;
    return awaited ? { armed: true } : { armed: false, reason: 'its permit awaits somebody else' };
  }

  /** One at a time, and the same answer to all who ask meanwhile. */
  async #resume(): Promise<ReleaseAnswer> {
    this.#resuming ??= this.#tryResume().finally(() => {
      this.#resuming = undefined;
    });
    return await this.#resuming;
  }

  async #tryResume(): Promise<ReleaseAnswer> {
    const { context, instances, report } = this.#parts;
    const { permits } = context;
    const { instanceKey, disks } = this.#desired;
    const { instance, permit } = this.#instance ?? {};
    if (instance === undefined || permit === undefined) return { outcome: 'waiting', reason: 'it waits for its permit' };
    if (permits.hasSurrendered(instance, permit.epoch)) return { outcome: 'refused', reason: `it gave epoch ${permit.epoch} up` };
    if (permits.hasHeld(instance, permit.epoch)) return await this.#confirm();
    const guest = this.#guest();
    if (guest === undefined) return this.#lose(new Problem('conflict', 'the receiving process ended before the guest ran'));
    try {
      await completeTarget(guest, disks.length, new AbortController().signal);
    } catch (error) {
      const problem = toProblem(error);
      if (problem.kind === 'unavailable' && this.#guest() === guest) return { outcome: 'waiting', reason: problem.message };
      return this.#lose(new Problem('conflict', problem.message));
    }
    const verdict = await instances.resumeArrived(instanceKey, this.#handed);
    if (!verdict.ok) return { outcome: 'waiting', reason: verdict.reason };
    report.observe({ state: 'finishing' });
    // The source waits for the answer, and only for that.
    setImmediate(() => {
      this.#conclude()
        .then(async () => await tidyTarget(guest))
        .catch((error: unknown) => context.log.warn('an arrival could not be written down yet', { problem: toProblem(error).message }))
        .finally(() => context.nudge({ type: 'transfer', key: this.#desired.id }));
    });
    return { outcome: 'resumed' };
  }

  /**
   * It was let run here, or was about to be when this agent or the process ended. The source hears so, and lets its memory go, when the guest
   * goes on here, or when nothing of that memory is left: it may have run, so that only its disks here count, and it boots from them.
   */
  async #confirm(): Promise<ReleaseAnswer> {
    const { instances } = this.#parts;
    const { instanceKey } = this.#desired;
    const guest = this.#guest();
    if (guest !== undefined && (await isAlive(guest.process))) {
      const verdict = stillStates.includes(await guestStatus(guest))
        ? await instances.resumeArrived(instanceKey, undefined)
        : { ok: true as const };
      if (!verdict.ok) return { outcome: 'waiting', reason: verdict.reason };
    }
    return await this.#conclude();
  }

  async #conclude(): Promise<ReleaseAnswer> {
    this.#concluding ??= this.#tryConclude().finally(() => {
      this.#concluding = undefined;
    });
    return await this.#concluding;
  }

  /** The guest ran here: from now on its disks are what lies here. */
  async #tryConclude(): Promise<ReleaseAnswer> {
    const { context, report, volumes } = this.#parts;
    for (const { volumeKey } of this.#desired.disks) {
      if (volumes.get(volumeKey)?.stage === 'incoming') await volumes.update(volumeKey, { stage: 'arrived' });
      context.nudge({ type: 'volume', key: volumeKey });
    }
    await report.end({ state: 'finished' });
    context.nudge({ type: 'instance', key: this.#desired.instanceKey });
    return { outcome: 'resumed' };
  }

  #lose(problem: Problem): ReleaseAnswer {
    this.#parts.report.observe({ state: 'failed', problem: { code: problem.kind, message: problem.message } });
    return { outcome: 'refused', reason: problem.message };
  }
}
