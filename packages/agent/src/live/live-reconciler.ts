import { type DesiredLiveReceive, type DesiredLiveSend, isLiveTransfer, type ObservedTransfer, toProblem } from '@virt8ra/contract';
import type { NextLook } from '../desired/converger.js';
import { type HostContext, troubleFrom } from '../host-context.js';
import type { TransferClaims } from '../instances/transfer-claims.js';
import type { Identity } from '../link/identity.js';
import type { Progress } from '../link/outbox.js';
import type { VolumeStore } from '../storage/volume-store.js';
import { TransferNotes, type TransferParts } from '../transfer/transfer-notes.js';
import type { TransferRecord, TransferStore } from '../transfer/transfer-store.js';
import type { LiveGuests, LiveParts, LiveReport } from './live-end.js';
import { LiveReceiver } from './live-receiver.js';
import { LiveSender } from './live-sender.js';
import { clearSource } from './source.js';

type DesiredLive = DesiredLiveSend | DesiredLiveReceive;

const lookMs = 1_000;

/** Live moves of this host: one end for each, at work in this process, since the bytes go from hypervisor to hypervisor. */
export class LiveReconciler implements Pick<TransferClaims, 'claimOn' | 'keeps' | 'isArriving'> {
  readonly #context: HostContext;
  readonly #store: TransferStore;
  readonly #notes: TransferNotes;
  readonly #volumes: VolumeStore;
  readonly #identity: () => Identity;
  readonly #onProgress: (progress: Progress) => void;
  readonly #senders = new Map<string, LiveSender>();
  readonly #receivers = new Map<string, LiveReceiver>();
  #instances: LiveGuests | undefined;

  constructor(parts: TransferParts) {
    const { context, store, volumes, identity, onProgress } = parts;
    this.#context = context;
    this.#store = store;
    this.#notes = new TransferNotes(parts);
    this.#volumes = volumes;
    this.#identity = identity;
    this.#onProgress = onProgress;
  }

  /** Transfers and instances need each other; this closes the circle. */
  useInstances(instances: LiveGuests): void {
    this.#instances = instances;
  }

  /** Whether the transfer is, or was, one end of a live move. */
  owns(id: string): boolean {
    return this.#store.get(id)?.live === true || this.#desired(id) !== undefined;
  }

  claimOn(instanceKey: string): 'paused' | undefined {
    const isHeld = this.#desiredLive().some(
      ({ id, instanceKey: key, role }) => role === 'send' && key === instanceKey && this.#senders.get(id)?.holding === true,
    );
    return isHeld ? 'paused' : undefined;
  }

  keeps(instanceKey: string): boolean {
    return this.#desiredLive().some((transfer) => {
      if (transfer.role !== 'send' || transfer.instanceKey !== instanceKey) return false;
      const instance = this.#instanceOf(instanceKey);
      const released = instance !== undefined && this.#context.permits.hasSurrendered(instance, transfer.epoch);
      return released && this.#store.get(transfer.id)?.observed.state !== 'finished';
    });
  }

  isArriving(instanceKey: string): boolean {
    return this.#desiredLive().some(
      (transfer) =>
        transfer.role === 'receive' &&
        transfer.instanceKey === instanceKey &&
        transfer.goal === 'receive' &&
        !this.#notes.isOver(transfer.id) &&
        !this.#isLost(transfer) &&
        !this.#wasLetRun(instanceKey),
    );
  }

  /** From then on it is a guest like any other: what ends its process is a crash, and nothing can arrive in another. */
  #wasLetRun(instanceKey: string): boolean {
    const { ledger, permits } = this.#context;
    const { instance, permit } = ledger.state.instances.find(({ key }) => key === instanceKey) ?? {};
    return instance !== undefined && permit !== undefined && permits.hasHeld(instance, permit.epoch);
  }

  async pass(id: string): Promise<NextLook> {
    const desired = this.#desired(id);
    if (desired === undefined) return await this.#remove(id);
    const record = this.#store.get(id) ?? (await this.#begin(desired));
    const isOver = this.#notes.isOver(id);
    if (isOver) this.#context.board.post('transfer', id, { ...record.observed, ...this.#listening(id) });
    try {
      return desired.role === 'send' ? this.#send(desired, isOver) : await this.#receive(desired, isOver);
    } catch (error) {
      const problem = toProblem(error);
      this.#notes.observe(id, { problem: troubleFrom(problem) });
      throw problem;
    }
  }

  /** Moves under way go on with the next agent. */
  async stop(): Promise<void> {
    await Promise.all([...this.#senders.values(), ...this.#receivers.values()].map(async (end) => await end.stop()));
  }

  #send(desired: DesiredLiveSend, isOver: boolean): NextLook {
    if (isOver) return undefined;
    const sender = this.#senders.get(desired.id) ?? new LiveSender(this.#parts(desired.id), desired);
    this.#senders.set(desired.id, sender);
    sender.follow(desired);
    return undefined;
  }

  async #receive(desired: DesiredLiveReceive, isOver: boolean): Promise<NextLook> {
    const { id } = desired;
    if (desired.goal === 'abort') {
      await this.#receivers.get(id)?.stop();
      this.#receivers.delete(id);
      if (!isOver) await this.#end(id, { state: 'aborted' });
      return undefined;
    }
    if (isOver && this.#store.get(id)?.observed.state === 'aborted') return undefined;
    const receiver = this.#receivers.get(id) ?? new LiveReceiver(this.#parts(id), desired);
    this.#receivers.set(id, receiver);
    await receiver.look(desired, isOver);
    return isOver ? undefined : lookMs;
  }

  /** Its process ended after the source had let go: nothing more can arrive. */
  #isLost({ id }: DesiredLiveReceive): boolean {
    return this.#context.board.get('transfer', id)?.state === 'failed';
  }

  #parts(id: string): LiveParts {
    const instances = this.#instances;
    if (instances === undefined) throw toProblem(new Error('live moves were not given the guests'));
    const report: LiveReport = {
      observe: (change) => this.#notes.observe(id, change),
      progress: (progress, bytes) => {
        this.#notes.observe(id, { bytes });
        this.#onProgress({ transferId: id, ...progress });
      },
      remember: async (attempt) => {
        const record = this.#store.get(id);
        if (record === undefined || record.attempt === attempt) return;
        const { attempt: _, ...rest } = record;
        await this.#store.write(attempt === undefined ? rest : { ...rest, attempt });
      },
      remembered: () => this.#store.get(id)?.attempt,
      end: async (change) => await this.#end(id, change),
    };
    return {
      context: this.#context,
      identity: this.#identity,
      instances,
      volumes: this.#volumes,
      report,
      instanceOf: (instanceKey) => this.#instanceOf(instanceKey),
      volumeAt: (volumeKey) => instances.guestWith(volumeKey),
    };
  }

  async #begin(desired: DesiredLive): Promise<TransferRecord> {
    const record = await this.#notes.begin(desired);
    this.#context.nudge({ type: 'instance', key: desired.instanceKey });
    return record;
  }

  async #end(id: string, change: Partial<ObservedTransfer>): Promise<void> {
    if (this.#notes.isOver(id)) return;
    const ended = await this.#notes.end(id, change);
    if (ended === undefined) return;
    const { role, state, pauseMs } = ended;
    this.#context.log.info('a live transfer is over', { transfer: id, role, state, pauseMs });
  }

  /** A receiver that is over listens elsewhere than before, when an agent has started anew. */
  #listening(id: string): Pick<ObservedTransfer, 'address' | 'port'> {
    const { address, port } = this.#context.board.get('transfer', id) ?? {};
    return { ...(address === undefined ? {} : { address }), ...(port === undefined ? {} : { port }) };
  }

  async #remove(id: string): Promise<NextLook> {
    if (!this.#notes.mayForget(id)) return undefined;
    const record = this.#notes.get(id);
    await this.#senders.get(id)?.stop();
    await this.#receivers.get(id)?.stop();
    const guest = record?.instanceKey === undefined ? undefined : this.#instances?.guest(record.instanceKey);
    if (guest !== undefined && record?.observed.role === 'send' && !this.#notes.isOver(id)) await clearSource(guest);
    this.#senders.delete(id);
    this.#receivers.delete(id);
    await this.#notes.forget(id);
    return undefined;
  }

  #instanceOf(instanceKey: string): string | undefined {
    return this.#context.ledger.state.instances.find(({ key }) => key === instanceKey)?.instance;
  }

  #desiredLive(): DesiredLive[] {
    return this.#context.ledger.state.transfers.filter(isLiveTransfer);
  }

  #desired(id: string): DesiredLive | undefined {
    return this.#desiredLive().find((transfer) => transfer.id === id);
  }
}
