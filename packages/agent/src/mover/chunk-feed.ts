import { Problem, toProblem } from '@virt8ra/contract/plain';
import type { BufferPool } from './buffer-pool.js';
import { chunkBytes, chunkLength, digestOf } from './chunks.js';
import type { Compression } from './compression.js';
import type { SendLedger } from './send-ledger.js';
import { need, type SendPlan, type SourceDisk } from './send-plan.js';
import type { SendSession } from './send-session.js';
import { codec, contentOffset } from './wire.js';

/** A chunk that is to be sent. */
export interface ReadyChunk {
  readonly disk: number;
  readonly index: number;
  readonly codec: number;
  readonly digest: Buffer;
  /** Room for the frame, with the content in its place. */
  readonly buffer: Buffer;
  /** As it is sent. */
  readonly contentBytes: number;
  /** As it is on the disk; 0: zeros. */
  readonly diskBytes: number;
}

export interface FeedOptions {
  readonly disks: readonly SourceDisk[];
  readonly plans: readonly SendPlan[];
  readonly sent: readonly Uint8Array[];
  readonly ledger: SendLedger;
  readonly session: SendSession;
  readonly pool: BufferPool;
  /** Absent: chunks go as they are. */
  readonly compression?: Compression;
  /** A chunk was dealt with without being sent. */
  readonly onSkip: (contentBytes: number) => void;
}

/**
 * Reads and hashes the chunks of a plan ahead of the streams that send them; what the receiver turns out to hold is left out. The pool bounds
 * how far it runs ahead.
 */
export class ChunkFeed {
  readonly #options: FeedOptions;
  readonly #ready: ReadyChunk[] = [];
  readonly #waiting: { resolve(chunk: ReadyChunk | undefined): void; reject(error: unknown): void }[] = [];
  #disk = 0;
  #index = 0;
  #reads = 0;
  #failure: { readonly error: unknown } | undefined;
  readonly #idle: (() => void)[] = [];

  constructor(options: FeedOptions) {
    this.#options = options;
    this.#pump();
  }

  /** The next chunk; undefined when there is none left. Raises what reading the source raised. */
  next(): Promise<ReadyChunk | undefined> {
    const chunk = this.#ready.shift();
    if (chunk !== undefined) return Promise.resolve(chunk);
    if (this.#failure !== undefined) return Promise.reject(this.#failure.error);
    if (this.#isDone()) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
    });
  }

  /** Gives a chunk's buffer back. */
  done(chunk: ReadyChunk): void {
    this.#options.pool.give(chunk.buffer);
    this.#pump();
  }

  /** Reads nothing more and takes its buffers back; returns when no read is under way. */
  async stop(error: unknown): Promise<void> {
    this.#fail(error);
    if (this.#reads > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
    for (const { buffer } of this.#ready.splice(0)) this.#options.pool.give(buffer);
  }

  #isDone(): boolean {
    return this.#reads === 0 && this.#ready.length === 0 && this.#disk >= this.#options.plans.length;
  }

  /** Moves on to the next chunk that needs something. */
  #advance(): { readonly disk: number; readonly index: number; readonly what: number } | undefined {
    for (;;) {
      const plan = this.#options.plans[this.#disk];
      if (plan === undefined) return undefined;
      while (this.#index < plan.length && plan[this.#index] === need.nothing) this.#index += 1;
      const what = plan[this.#index];
      if (what !== undefined) return { disk: this.#disk, index: this.#index, what };
      this.#disk += 1;
      this.#index = 0;
    }
  }

  #pump(): void {
    const { pool } = this.#options;
    while (this.#failure === undefined) {
      const place = this.#advance();
      const buffer = place === undefined ? undefined : pool.tryTake();
      if (place === undefined || buffer === undefined) break;
      this.#index += 1;
      if (place.what === need.zero) this.#offerZero(place.disk, place.index, buffer);
      else void this.#read(place.disk, place.index, buffer);
    }
    if (this.#isDone()) for (const { resolve } of this.#waiting.splice(0)) resolve(undefined);
  }

  #offerZero(disk: number, index: number, buffer: Buffer): void {
    const digest = this.#options.ledger.tables[disk]?.zero(index) ?? Buffer.alloc(0);
    this.#offer({ disk, index, codec: codec.zero, digest, buffer, contentBytes: 0, diskBytes: 0 });
  }

  async #read(disk: number, index: number, buffer: Buffer): Promise<void> {
    const { disks, ledger, session, sent, pool, onSkip } = this.#options;
    const table = ledger.tables[disk];
    const client = disks[disk]?.client;
    if (table === undefined || client === undefined) return;
    const contentBytes = chunkLength(table.sizeBytes, index);
    const content = buffer.subarray(contentOffset, contentOffset + contentBytes);
    this.#reads += 1;
    try {
      await client.read(index * chunkBytes, content);
      const digest = digestOf(content);
      if (session.held[disk]?.equals(index, digest) === true) {
        ledger.held(disk, index, digest);
        sent[disk]?.fill(1, index, index + 1);
        pool.give(buffer);
        onSkip(contentBytes);
      } else if (table.zero(index).equals(digest))
        this.#offer({ disk, index, codec: codec.zero, digest, buffer, contentBytes: 0, diskBytes: 0 });
      else {
        const packed = await this.#options.compression?.shrink(content);
        const sent = packed === undefined ? { codec: codec.raw, contentBytes } : { codec: codec.brotli, contentBytes: packed };
        this.#offer({ disk, index, digest, buffer, diskBytes: contentBytes, ...sent });
      }
    } catch (error) {
      pool.give(buffer);
      // A guest whose QEMU is gone comes back; a disk that answers with an error does not.
      const { kind, message } = toProblem(error);
      this.#fail(new Problem(kind === 'unavailable' ? kind : 'internal', `the source disk cannot be read: ${message}`, { cause: error }));
    } finally {
      this.#reads -= 1;
      if (this.#reads === 0) for (const idle of this.#idle.splice(0)) idle();
      this.#pump();
    }
  }

  #offer(chunk: ReadyChunk): void {
    const waiting = this.#failure === undefined ? this.#waiting.shift() : undefined;
    if (waiting === undefined) this.#ready.push(chunk);
    else waiting.resolve(chunk);
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure.error);
  }
}
