import { type DesiredReceive, type DesiredSend, isLiveTransfer, type ObservedTransfer, Problem, toProblem } from '@virt8ra/contract';
import { BootProbes } from '../boot-probe/boot-probes.js';
import type { NextLook } from '../desired/converger.js';
import { makeDirectory } from '../disk/atomic-file.js';
import { type HostContext, troubleFrom } from '../host-context.js';
import type { Identity } from '../link/identity.js';
import type { Progress } from '../link/outbox.js';
import type { RootDigest, VolumeTransfers } from '../storage/volume-reconciler.js';
import type { VolumeStore } from '../storage/volume-store.js';
import { kindFromCode, type Mover, type MoverNotice, type MoverPort, type RunningMover, type SendConfig } from './mover-port.js';
import { RunFolders } from './run-folders.js';
import { type SeedPlaces, seedSource } from './seed-source.js';
import { coldSource, type MovedGuests, warmSource } from './send-source.js';
import { Setbacks } from './setbacks.js';
import { TransferNotes, type TransferParts } from './transfer-notes.js';
import type { TransferStore } from './transfer-store.js';

type DesiredTransfer = DesiredSend | DesiredReceive;
const waitMs = 1_000;
const passesKept = 4;
/** A guest paused for a last pass that keeps failing is let run again after this long. */
const longestPauseMs = 15_000;

/** Moves disks between this host and others, one mover process for each transfer. What a mover reports as final is made durable here before anyone hears of it. */
export class TransferReconciler implements VolumeTransfers {
  readonly #context: HostContext;
  readonly #store: TransferStore;
  readonly #notes: TransferNotes;
  readonly #volumes: VolumeStore;
  readonly #identity: () => Identity;
  readonly #movers: MoverPort;
  readonly #heldImage: SeedPlaces['heldImage'];
  readonly #onProgress: (progress: Progress) => void;
  readonly #running = new Map<string, RunningMover>();
  /** Final words of movers, waiting for the pass that acts on them. */
  readonly #outcomes = new Map<string, Extract<MoverNotice, { type: 'finished' | 'aborted' | 'failed' }>>();
  /** Sends whose last pass failed for too long: the guest runs again until a new mover has converged. */
  readonly #letRun = new Set<string>();
  /** Finished receives that have, or had, a receiver for a sender that does not know it yet. */
  readonly #answered = new Set<string>();
  readonly #setbacks: Setbacks;
  readonly #folders: RunFolders;
  readonly #probes: BootProbes;
  /** Transfers that no other mover can mend, with the reason; they wait for the order to abort. A later agent tries once more. */
  readonly #failed = new Map<string, Problem>();
  #instances: MovedGuests | undefined;

  constructor(parts: TransferParts, movers: MoverPort, heldImage: SeedPlaces['heldImage']) {
    const { context, store, volumes, identity, onProgress } = parts;
    this.#context = context;
    this.#store = store;
    this.#notes = new TransferNotes(parts);
    this.#volumes = volumes;
    this.#identity = identity;
    this.#movers = movers;
    this.#heldImage = heldImage;
    this.#onProgress = onProgress;
    this.#setbacks = new Setbacks(context.clock);
    this.#folders = new RunFolders(context.config.runtimeDirectory);
    this.#probes = new BootProbes(context, volumes, (id, probe) => this.#notes.observe(id, probe === undefined ? {} : { probe }, 'probe'));
  }

  /** Transfers and instances need each other; this closes the circle. */
  useInstances(instances: MovedGuests): void {
    this.#instances = instances;
  }

  /** A guest is left paused from the order to finish until the transfer is over; one that is sent cold is not started before that. */
  claimOn(instanceKey: string): 'paused' | 'stopped' | undefined {
    for (const transfer of this.#context.ledger.state.transfers) {
      if (transfer.role !== 'send' || transfer.instanceKey !== instanceKey || transfer.mode === 'live' || this.#notes.isOver(transfer.id))
        continue;
      if (transfer.mode === 'cold' && transfer.goal !== 'abort') return 'stopped';
      if (transfer.goal === 'finish' && !this.#letRun.has(transfer.id)) return 'paused';
    }
    return undefined;
  }

  moves(volumeKey: string): boolean {
    return this.#context.ledger.state.transfers.some(
      (transfer) => !this.#notes.isOver(transfer.id) && transfer.disks.some((disk) => disk.volumeKey === volumeKey),
    );
  }

  readonly rootDigest: RootDigest = async (file, sizeBytes, signal) =>
    await this.#movers.digest(file, sizeBytes, this.#folders.digests, signal);

  async pass(id: string): Promise<NextLook> {
    const desired = this.#context.ledger.state.transfers.find((transfer) => transfer.id === id);
    if (desired === undefined || isLiveTransfer(desired)) return await this.#remove(id);
    const record = this.#store.get(id) ?? (await this.#notes.begin(desired));
    if (this.#notes.isOver(id)) {
      this.#context.board.post('transfer', id, record.observed);
      if (desired.role === 'receive' && record.observed.state === 'finished' && !this.#answered.has(id)) await this.#startReceiver(desired);
      return undefined;
    }
    try {
      const outcome = this.#outcomes.get(id);
      if (outcome?.type === 'failed') {
        this.#outcomes.delete(id);
        await this.#interrupted(desired, outcome);
        if (this.#failed.has(id)) return undefined;
      } else if (outcome?.type === 'finished' && this.#isRecalled(desired)) {
        // All is there, but nothing was given up yet: the order to abort counts, and another mover takes its traces out of the guest.
        this.#outcomes.delete(id);
        await this.#running.get(id)?.mover.kill();
        this.#running.delete(id);
      } else if (outcome !== undefined) {
        await this.#conclude(desired, outcome);
        this.#outcomes.delete(id);
        return undefined;
      }
      if (this.#failed.has(id) && desired.goal !== 'abort') return undefined;
      return desired.role === 'send' ? await this.#send(desired) : await this.#receive(desired);
    } catch (error) {
      const problem = toProblem(error);
      this.#notes.observe(id, { problem: troubleFrom(problem) });
      throw problem;
    }
  }

  #isRecalled(desired: DesiredTransfer): boolean {
    if (desired.role !== 'send' || desired.goal !== 'abort') return false;
    const instance = this.#context.ledger.state.instances.find(({ key }) => key === desired.instanceKey)?.instance;
    return instance !== undefined && !this.#context.permits.hasSurrendered(instance, desired.epoch);
  }

  /** Ends the movers; the next agent's movers go on where they were. */
  async stop(): Promise<void> {
    await this.#probes.stop();
    await Promise.all([...this.#running.values()].map(async ({ mover }) => await mover.kill()));
  }

  async #receive(desired: DesiredReceive): Promise<NextLook> {
    const { id } = desired;
    if (desired.goal === 'abort') return await this.#abort(desired);
    await this.#probes.follow(id, desired.probe);
    if (this.#running.has(id)) return undefined;
    const stages = desired.disks.map(({ volumeKey }) => this.#volumes.get(volumeKey)?.stage);
    if (stages.some((stage) => stage === undefined || stage === 'creating')) return waitMs;
    // Some have arrived when an earlier agent died before it wrote that all is over: the receiver, which knows, then opens no disk.
    if (stages.some((stage) => stage !== 'incoming' && stage !== 'arrived'))
      throw new Problem('conflict', `transfer ${id} would overwrite a volume that is in use`);
    await this.#startReceiver(desired);
    return undefined;
  }

  /** Of a finished transfer it opens no disk and answers only: a sender that was cut off at the very end asks again. */
  async #startReceiver(desired: DesiredReceive): Promise<void> {
    const { id } = desired;
    const { config, dataAddress } = this.#context;
    const { directory, runtimeDirectory } = await this.#makeFolders(id);
    if (this.#notes.isOver(id)) this.#answered.add(id);
    const places = { volumes: this.#volumes, heldImage: this.#heldImage };
    const seeds = await Promise.all(
      desired.disks.map(async ({ seed }) => (seed === undefined ? {} : { seed: await seedSource(seed, places) })),
    );
    this.#run(id, desired.goal, (onNotice) =>
      this.#movers.receive(
        {
          transferId: id,
          directory,
          runtimeDirectory,
          credentials: this.#identity(),
          peerName: desired.peerName,
          listen: { address: dataAddress(), ...(config.dataPorts === undefined ? {} : { ports: config.dataPorts }) },
          ...(this.#volumes.pool === undefined ? {} : { pool: this.#volumes.pool }),
          disks: desired.disks.map(({ volumeKey, sizeBytes }, index) => ({
            sizeBytes,
            ...seeds[index],
            file: this.#volumes.files(volumeKey).base,
            frozen: this.#volumes.get(volumeKey)?.stage !== 'incoming',
          })),
        },
        onNotice,
      ),
    );
  }

  async #send(desired: DesiredSend): Promise<NextLook> {
    const { id, goal } = desired;
    const running = this.#running.get(id);
    if (goal === 'abort') return await this.#abort(desired);
    if (running !== undefined) {
      if (goal === 'finish' && running.goal !== 'finish' && !this.#letRun.has(id)) {
        running.goal = 'finish';
        this.#notes.observe(id, { state: 'finishing' });
        running.mover.finish();
      }
      this.#hold(running, desired);
      return undefined;
    }
    const config = await this.#sendConfig(desired);
    if (config === undefined) return waitMs;
    const begun = this.#run(id, 'copy', (onNotice) => this.#movers.send(config, onNotice));
    this.#notes.observe(id, { state: 'copying' }, 'held');
    this.#hold(begun, desired);
    return goal === 'finish' ? 1 : undefined;
  }

  #hold(running: RunningMover, { hold = false }: DesiredSend): void {
    if (hold === (running.holding ?? false)) return;
    running.holding = hold;
    running.mover.hold(hold);
  }

  /** How the disks are read; undefined while they cannot be yet. */
  async #sendConfig(desired: DesiredSend): Promise<SendConfig | undefined> {
    const { id, mode, peer, minPasses } = desired;
    const { directory, runtimeDirectory } = await this.#makeFolders(id);
    const common = { transferId: id, directory, credentials: this.#identity(), peer, minPasses };
    const source = mode === 'cold' ? coldSource(desired, this.#volumes, this.#instances) : await warmSource(desired, this.#instances);
    return source === undefined ? undefined : { ...common, mode: { ...source.mode, runtimeDirectory }, disks: source.disks };
  }

  async #abort(desired: DesiredTransfer): Promise<NextLook> {
    const { id } = desired;
    await this.#probes.end(id);
    let running = this.#running.get(id);
    if (running?.goal === 'abort') return undefined;
    if (running === undefined && desired.role === 'send' && desired.mode === 'warm') {
      // An earlier mover may have left bitmaps and exports in the guest: a new one takes them away.
      const config = await this.#sendConfig(desired);
      if (config !== undefined) running = this.#run(id, 'copy', (onNotice) => this.#movers.send(config, onNotice));
    }
    if (running === undefined) {
      await this.#conclude(desired, { type: 'aborted' });
      return undefined;
    }
    running.goal = 'abort';
    this.#notes.observe(id, { state: 'aborting' });
    running.mover.abort();
    return undefined;
  }

  #run(id: string, goal: DesiredTransfer['goal'], start: (onNotice: (notice: MoverNotice) => void) => Mover): RunningMover {
    const mover = start((notice) => this.#hear(id, notice));
    const running: RunningMover = { mover, goal };
    this.#running.set(id, running);
    void mover.exited.then(() => {
      if (this.#running.get(id) === running) this.#running.delete(id);
      this.#context.nudge({ type: 'transfer', key: id });
    });
    return running;
  }

  #hear(id: string, notice: MoverNotice): void {
    if (this.#notes.isOver(id)) return;
    switch (notice.type) {
      case 'listening':
        this.#notes.observe(id, {
          state: 'listening',
          address: notice.address,
          port: notice.port,
          ...(notice.seeds === undefined ? {} : { seeds: [...notice.seeds] }),
        });
        break;
      case 'counters': {
        const { type: _, ...counters } = notice;
        if (counters.bytes > (this.#context.board.get('transfer', id)?.bytes ?? 0)) this.#setbacks.forget(id);
        const receiving = this.#store.get(id)?.observed.role === 'receive' && counters.bytes > 0;
        this.#notes.observe(id, receiving ? { ...counters, state: 'copying' } : counters);
        break;
      }
      case 'progress': {
        const { type: _, ...progress } = notice;
        this.#onProgress({ transferId: id, ...progress });
        break;
      }
      case 'converged':
        if (this.#letRun.delete(id)) this.#context.nudge({ type: 'transfer', key: id });
        if (this.#running.get(id)?.goal === 'copy') this.#notes.observe(id, { state: 'converged' });
        break;
      case 'pass': {
        const { type: _, ...figures } = notice;
        this.#notes.observe(id, {
          recentPasses: [...(this.#context.board.get('transfer', id)?.recentPasses ?? []).slice(1 - passesKept), figures],
        });
        break;
      }
      case 'held':
        if (notice.pass === undefined) this.#notes.observe(id, this.#running.get(id)?.goal === 'copy' ? { state: 'copying' } : {}, 'held');
        else this.#notes.observe(id, { held: { pass: notice.pass } });
        break;
      case 'behind':
        if (this.#running.get(id)?.goal === 'copy') this.#notes.observe(id, { state: 'copying' });
        break;
      case 'paused':
        this.#notes.observe(id, { state: 'finishing', pausedAt: notice.at });
        break;
      case 'finished':
      case 'aborted':
      case 'failed':
        this.#outcomes.set(id, notice);
        this.#context.nudge({ type: 'transfer', key: id });
    }
  }

  /**
   * The transfer goes on with another mover after a pause (raises Problem unavailable), until it is told to abort; or, when that would not help,
   * it has failed, and a guest that was paused for it runs again.
   */
  async #interrupted(desired: DesiredTransfer, { code, message }: Extract<MoverNotice, { type: 'failed' }>): Promise<void> {
    const { id } = desired;
    await this.#running.get(id)?.mover.kill();
    this.#running.delete(id);
    const hopeless = desired.goal !== 'abort' && this.#setbacks.isLast(id, code);
    const pausedAt = Date.parse(this.#context.board.get('transfer', id)?.pausedAt ?? '');
    const tooLong = this.#context.clock.wallMs() - pausedAt > longestPauseMs;
    if (desired.role === 'send' && desired.goal === 'finish' && (hopeless || tooLong)) {
      this.#letRun.add(id);
      if (!hopeless) this.#notes.observe(id, { state: 'copying' });
      this.#context.nudge({ type: 'instance', key: desired.instanceKey });
    }
    if (!hopeless) throw new Problem('unavailable', `the transfer was interrupted: ${message}`, { facts: { code } });
    const problem = new Problem(kindFromCode(code), message);
    this.#failed.set(id, problem);
    this.#notes.observe(id, { state: 'failed', problem: troubleFrom(problem) });
    this.#context.log.error('a transfer has failed', { transfer: id, role: desired.role, code, problem: message });
  }

  /** The mover said its last word: what follows from it, in the order in which nothing can be lost. */
  async #conclude(desired: DesiredTransfer, outcome: Extract<MoverNotice, { type: 'finished' | 'aborted' }>): Promise<void> {
    const { id } = desired;
    if (outcome.type === 'aborted') {
      await this.#end(id, { state: 'aborted' });
      this.#context.log.info('a transfer was aborted', { transfer: id, role: desired.role });
      return;
    }
    const roots = [...outcome.roots];
    if (desired.role === 'receive') {
      await this.#probes.end(id);
      for (const { volumeKey } of desired.disks) {
        await this.#volumes.arrive(volumeKey);
        this.#context.nudge({ type: 'volume', key: volumeKey });
      }
    } else {
      const instance = this.#context.ledger.state.instances.find(({ key }) => key === desired.instanceKey)?.instance;
      if (instance === undefined || this.#instances === undefined)
        throw new Problem('not-found', `instance ${desired.instanceKey} of transfer ${id} is not on this host`);
      await this.#instances.release(desired.instanceKey, instance, desired.epoch);
      this.#context.nudge({ type: 'instance', key: desired.instanceKey });
    }
    await this.#end(id, { state: 'finished', roots, ...(outcome.pauseMs === undefined ? {} : { pauseMs: outcome.pauseMs }) });
    this.#context.log.info('a transfer is finished', { transfer: id, role: desired.role, roots });
  }

  async #end(id: string, change: Partial<ObservedTransfer>): Promise<void> {
    const ended = await this.#notes.end(id, change);
    if (ended?.role === 'receive' && ended.state === 'finished') this.#answered.add(id);
    else if (ended !== undefined) await this.#forgetMover(id);
  }

  /** Ends what is left of the transfer's movers, and takes away what they kept for each other in this boot. */
  async #forgetMover(id: string): Promise<void> {
    await this.#probes.end(id);
    await this.#running.get(id)?.mover.kill();
    this.#running.delete(id);
    this.#answered.delete(id);
    this.#failed.delete(id);
    this.#setbacks.forget(id);
    await this.#folders.remove(id);
  }

  /** Takes away the sockets' folders that earlier agents left for what is over. */
  async sweep(): Promise<void> {
    await this.#probes.sweep();
    const live = this.#context.ledger.state.transfers.filter(({ id }) => !this.#notes.isOver(id));
    const folders = await this.#folders.sweep(live.map(({ id }) => id));
    if (folders.length > 0) this.#context.log.info('what movers had left was swept away', { folders });
  }

  async #makeFolders(id: string): Promise<{ directory: string; runtimeDirectory: string }> {
    const folders = { directory: this.#store.directory(id), runtimeDirectory: this.#folders.of(id) };
    await makeDirectory(folders.directory);
    await makeDirectory(folders.runtimeDirectory, 0o711);
    return folders;
  }

  async #remove(id: string): Promise<NextLook> {
    if (!this.#notes.mayForget(id)) return undefined;
    this.#outcomes.delete(id);
    await this.#forgetMover(id);
    await this.#notes.forget(id);
    return undefined;
  }
}
