import { rename } from 'node:fs/promises';
import { type DesiredVolume, type ObservedVolume, Problem, toProblem } from '@virt8ra/contract';
import type { NextLook } from '../desired/converger.js';
import { syncDirectory } from '../disk/atomic-file.js';
import { diskFull, isDiskFull } from '../disk/room.js';
import { type HostContext, troubleFrom } from '../host-context.js';
import type { Guest } from '../qemu/guest.js';
import { currentNode } from '../qemu/guest.js';
import type { ImageCache } from './image-cache.js';
import { convertImage, growImage, inspectImage } from './qemu-img.js';
import { settleOffline, settleUnderGuest } from './settle.js';
import { requireSpace, storageSpace } from './space.js';
import type { VolumeRecord, VolumeStore } from './volume-store.js';

/** The guests and transfers that have a volume in use. */
export interface VolumeUsers {
  usesVolume(volumeKey: string): boolean;
  guestWith(volumeKey: string): { readonly key: string; readonly guest: Guest; readonly index: number } | undefined;
  exclusive<Result>(instanceKey: string, task: () => Promise<Result>): Promise<Result>;
}
export interface VolumeTransfers {
  /** True while a transfer that is not over reads or fills the volume. */
  moves(volumeKey: string): boolean;
}

/** Root digest of a qcow2 file, computed in a process of its own. */
export type RootDigest = (
  file: string,
  sizeBytes: number,
  signal: AbortSignal,
) => Promise<{ readonly root: string; readonly chunkBytes: number }>;

const settleLookMs = 300;
const measureMs = 60_000;
const blankBytes = 1024 * 1024;

/** Makes, fills, merges, measures and removes the volumes of this host. */
export class VolumeReconciler {
  readonly #context: HostContext;
  readonly #store: VolumeStore;
  readonly #images: ImageCache;
  readonly #users: VolumeUsers;
  readonly #transfers: VolumeTransfers;
  readonly #digest: RootDigest;
  /** One conversion at a time: each reads and writes as fast as the disk allows. */
  #making: Promise<void> = Promise.resolve();

  constructor(
    context: HostContext,
    store: VolumeStore,
    images: ImageCache,
    users: VolumeUsers,
    transfers: VolumeTransfers,
    digest: RootDigest,
  ) {
    this.#context = context;
    this.#store = store;
    this.#images = images;
    this.#users = users;
    this.#transfers = transfers;
    this.#digest = digest;
  }

  keys(): string[] {
    return [...this.#store.all().map(({ key }) => key), ...this.#store.damaged()];
  }

  async pass(key: string, signal: AbortSignal): Promise<NextLook> {
    const desired = this.#context.ledger.state.volumes.find((volume) => volume.key === key);
    if (desired === undefined) return await this.#remove(key);
    try {
      return await this.#converge(desired, signal);
    } catch (error) {
      const problem = toProblem(error);
      if (problem.kind !== 'cancelled') await this.#post(desired, undefined, problem);
      throw problem;
    }
  }

  async #converge(desired: DesiredVolume, signal: AbortSignal): Promise<NextLook> {
    const { key } = desired;
    if (this.#store.isDamaged(key)) return this.#showDamage(desired);
    let record = this.#store.get(key);
    if (record === undefined || record.stage === 'creating') {
      await this.#post(desired, 'creating');
      record = await this.#make(desired, signal);
    }
    if (record.stage === 'ready' && desired.sizeBytes > record.sizeBytes) record = await this.#grow(desired, record);
    let next: NextLook;
    if (record.stage === 'arrived' && desired.settle && !this.#transfers.moves(key)) next = await this.#settle(key, signal);
    else if (record.stage === 'ready' && (await this.#store.hasOverlay(key))) next = await this.#settle(key, signal);
    if (next !== undefined) {
      await this.#post(desired, 'settling');
      return next;
    }
    await this.#post(desired);
    const request = desired.digestRequest;
    if (request !== undefined && this.#store.get(key)?.digest?.request !== request) {
      await this.#measure(desired, request, signal);
      await this.#post(desired);
    }
    // A guest writes and trims: what the volume takes changes without anybody's order.
    return this.#users.usesVolume(key) ? measureMs : undefined;
  }

  /** Nothing is done to it, whatever is desired but its removal. */
  #showDamage({ key, sizeBytes }: DesiredVolume): NextLook {
    const { directory } = this.#store.files(key);
    const message = `the record of this disk on its host was damaged, and what state it is in cannot be told; its files are kept in ${directory}`;
    this.#context.board.post('volume', key, { key, state: 'failed', sizeBytes, problem: { code: 'internal', message } });
    return undefined;
  }

  async #make(desired: DesiredVolume, signal: AbortSignal): Promise<VolumeRecord> {
    const { key, sizeBytes, source } = desired;
    const reserve = this.#context.config.reserveStorageBytes;
    const own = this.#store.get(key)?.sizeBytes ?? 0;
    const space = await storageSpace(this.#store, reserve);
    if (source.type !== 'image') {
      requireSpace(space, own, sizeBytes, blankBytes, reserve);
      await this.#store.begin(key, sizeBytes);
      await this.#store.makeBlank(key);
      return await this.#store.update(key, { stage: source.type === 'incoming' ? 'incoming' : 'ready' });
    }
    // Fetched, then converted: at worst both copies are there at once, and in one place unless volumes have a pool of their own.
    const missing = this.#store.pool === undefined ? await this.#images.missingBytes(source.sha256, source.bytes) : 0;
    requireSpace(space, own, sizeBytes, missing + source.bytes, reserve);
    const image = await this.#images.fetch(source.sha256, source.bytes, signal);
    const facts = await inspectImage(image, source.format);
    if (facts.virtualBytes > sizeBytes) {
      throw new Problem('validation', `the image holds ${facts.virtualBytes} bytes and does not fit into a volume of ${sizeBytes}`);
    }
    const turn = this.#making.then(async () => {
      signal.throwIfAborted();
      const files = await this.#store.begin(key, sizeBytes);
      const partial = `${files.base}.new`;
      try {
        await this.#store.makeBase(key, partial);
        await convertImage(image, source.format, partial, signal);
        await growImage(partial, sizeBytes);
      } catch (error) {
        if (!isDiskFull(error)) throw error;
        await this.#store.dropBase(key, partial);
        throw await diskFull(this.#store.room, source.bytes, error);
      }
      await rename(partial, files.base);
      await syncDirectory(files.directory);
      return await this.#store.update(key, { stage: 'ready' });
    });
    this.#making = turn.then(
      () => {},
      () => {},
    );
    return await turn;
  }

  async #grow(desired: DesiredVolume, record: VolumeRecord): Promise<VolumeRecord> {
    const { key, sizeBytes } = desired;
    const reserve = this.#context.config.reserveStorageBytes;
    requireSpace(await storageSpace(this.#store, reserve), record.sizeBytes, sizeBytes, 0, reserve);
    if (this.#transfers.moves(key)) return record;
    await this.#store.widen(key, sizeBytes - record.sizeBytes);
    const used = this.#users.guestWith(key);
    if (used !== undefined) {
      return await this.#users.exclusive(used.key, async () => {
        const node = await currentNode(used.guest, used.index);
        // On its way into the guest or out of it.
        if (node === undefined) return record;
        await used.guest.monitor.run('block_resize', { 'node-name': node, size: sizeBytes });
        return await this.#store.update(key, { sizeBytes });
      });
    }
    if (this.#users.usesVolume(key)) return record;
    await growImage(this.#store.files(key).base, sizeBytes);
    return await this.#store.update(key, { sizeBytes });
  }

  async #settle(key: string, signal: AbortSignal): Promise<NextLook> {
    const used = this.#users.guestWith(key);
    if (used !== undefined) {
      const state = await this.#users.exclusive(used.key, async () => await settleUnderGuest(this.#store, key, used.guest, used.index));
      return state === 'settled' ? undefined : settleLookMs;
    }
    if (this.#users.usesVolume(key)) return settleLookMs;
    const record = this.#store.get(key);
    if (record === undefined) return undefined;
    this.#context.board.post('volume', key, await this.#observed(record, 'settling'));
    await settleOffline(this.#store, key, signal);
    return undefined;
  }

  async #measure(desired: DesiredVolume, request: string, signal: AbortSignal): Promise<void> {
    const record = this.#store.get(desired.key);
    if (record === undefined || record.stage === 'incoming' || record.stage === 'creating') return;
    if (record.stage === 'ready' && this.#users.usesVolume(desired.key)) {
      throw new Problem('conflict', `volume ${desired.key} is in use and changes; its digest would say nothing`);
    }
    const { base } = this.#store.files(desired.key);
    const { root, chunkBytes } = await this.#digest(base, record.sizeBytes, signal);
    await this.#store.update(desired.key, { digest: { request, root, chunkBytes } });
  }

  async #remove(key: string): Promise<NextLook> {
    const { board, ledger } = this.#context;
    const record = this.#store.get(key);
    if (!ledger.mayRemove({ type: 'volume', key })) {
      if (record !== undefined) board.post('volume', key, await this.#observed(record));
      return undefined;
    }
    if (this.#users.usesVolume(key) || this.#transfers.moves(key)) {
      if (record !== undefined) board.post('volume', key, await this.#observed(record));
      return 2_000;
    }
    await this.#store.remove(key);
    board.remove({ type: 'volume', key });
    const wanted = this.#context.ledger.state.volumes.flatMap(({ source }) => (source.type === 'image' ? [source.sha256] : []));
    await this.#images.prune(new Set(wanted));
    return undefined;
  }

  async #post(desired: DesiredVolume, state?: ObservedVolume['state'], problem?: Problem): Promise<void> {
    const record = this.#store.get(desired.key) ?? { version: 1, key: desired.key, sizeBytes: desired.sizeBytes, stage: 'creating' };
    const usable = record.stage === 'ready' || record.stage === 'arrived';
    const shown = problem !== undefined && !usable ? 'failed' : state;
    const observed = await this.#observed(record, shown);
    this.#context.board.post('volume', desired.key, problem === undefined ? observed : { ...observed, problem: troubleFrom(problem) });
  }

  async #observed(record: VolumeRecord, state?: ObservedVolume['state']): Promise<ObservedVolume> {
    const { key, sizeBytes, digest } = record;
    return {
      key,
      state: state ?? record.stage,
      sizeBytes,
      allocatedBytes: await this.#store.allocatedBytes(key),
      ...(digest === undefined ? {} : { digest }),
    };
  }
}
