import type { TLSSocket } from 'node:tls';
import { Problem, toProblem } from '@virt8ra/contract/plain';
import { diskFull, type Filling, isDiskFull, RoomGauge } from '../disk/room.js';
import { chunkBytes, chunkLength, digestOf } from './chunks.js';
import { Inflation } from './compression.js';
import type { Frame } from './frame-reader.js';
import type { NbdClient } from './nbd/client.js';
import type { ReceiveJournal } from './receive-journal.js';
import {
  ackFrame,
  badFrame,
  type ChunkHead,
  codec,
  errorFrame,
  frameType,
  jsonFrame,
  numbersFrame,
  readChunkHead,
  readError,
  readFinal,
  readNumbers,
} from './wire.js';

const lastWordMs = 1_000;

/** The disks a receiver writes, and its word on what they hold. */
export class ReceiveTarget {
  readonly disks: readonly NbdClient[];
  readonly journal: ReceiveJournal;
  /** What the disks fill up. */
  readonly #filling: Filling;
  readonly #room: RoomGauge;
  #checkpoint: Promise<void> = Promise.resolve();

  constructor(disks: readonly NbdClient[], journal: ReceiveJournal, filling: Filling) {
    this.disks = disks;
    this.journal = journal;
    this.#filling = filling;
    this.#room = new RoomGauge(filling);
  }

  /** Raises Problem exhausted while there still is enough room for the host to act on it. */
  async write(disk: NbdClient, offset: number, content: Buffer): Promise<void> {
    await this.#room.hold(content.length, this.#missingBytes, async () => await disk.write(offset, content));
  }

  /** What a failed write means: Problem exhausted with figures when there was no room, else internal. */
  async problemFrom(error: unknown): Promise<Problem> {
    if (!isDiskFull(error))
      return new Problem('internal', `the receiving host cannot write: ${toProblem(error).message}`, { cause: error });
    const told = error instanceof Problem && error.facts['freeBytes'] !== undefined ? error : undefined;
    const full = told ?? (await diskFull(this.#filling, this.#missingBytes, error));
    return new Problem('exhausted', `on the receiving host ${full.message}`, { facts: full.facts, cause: error });
  }

  /** At most; how much the sender's disks hold is not known here. */
  get #missingBytes(): number {
    return Math.max(chunkBytes, this.journal.tables.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) - this.journal.bytes);
  }

  /** Makes durable what was journaled before the call. */
  async checkpoint(): Promise<void> {
    const turn = this.#checkpoint.then(async () => {
      const { mark } = this.journal;
      await Promise.all(this.disks.map(async (disk) => await disk.flush()));
      await this.journal.checkpoint(mark);
    });
    this.#checkpoint = turn.catch(() => {});
    await turn;
  }
}

export interface ReceiveListener {
  onChunk(contentBytes: number, resent: boolean): void;
  onPassEnd(): void;
  onComplete(): void;
  onBye(): void;
  onTargetFailure(problem: Problem): void;
}

/** Returns when the connection is closed; a peer that does not take the last word is not waited for. */
export async function hangUp(socket: TLSSocket, reason: Problem | undefined): Promise<void> {
  if (reason === undefined || socket.destroyed) {
    socket.destroy();
    return;
  }
  await new Promise<void>((resolve) => {
    const timer = setTimeout(() => socket.destroy(), lastWordMs);
    socket.once('close', () => {
      clearTimeout(timer);
      resolve();
    });
    if (socket.writable) socket.end(errorFrame(reason));
    // What still comes is read and dropped, else the reset that follows could overtake the last word.
    socket.resume();
  });
}

/** One run of a sender: its connections and what they did. */
export class ReceiveSession {
  readonly id: string;
  /** When everything of the session before is settled. */
  ready: Promise<void> = Promise.resolve();
  readonly #target: ReceiveTarget;
  readonly #listener: ReceiveListener;
  readonly #streams = new Map<number, TLSSocket>();
  /** Chunks that came in the current pass, by disk. */
  readonly #seen: Uint8Array[];
  readonly #inFlight = new Set<Promise<void>>();
  readonly #inflation = new Inflation();
  #pass: number;
  #over = false;

  constructor(id: string, target: ReceiveTarget, listener: ReceiveListener) {
    this.id = id;
    this.#target = target;
    this.#listener = listener;
    this.#pass = target.journal.pass;
    this.#seen = target.journal.tables.map(({ count }) => new Uint8Array(count));
  }

  /** Raises Problem conflict when the stream is there already. */
  join(stream: number, socket: TLSSocket): void {
    if (this.#streams.has(stream)) throw new Problem('conflict', `stream ${stream} is connected already`);
    this.#streams.set(stream, socket);
  }

  leave(socket: TLSSocket): void {
    for (const [stream, joined] of this.#streams) if (joined === socket) this.#streams.delete(stream);
  }

  /** Cuts the connections, with a last word if there is a reason, and waits for what they still write. */
  async end(reason?: Problem): Promise<void> {
    this.#over = true;
    await Promise.all([...this.#streams.values()].map(async (socket) => await hangUp(socket, reason)));
    await Promise.allSettled(this.#inFlight);
  }

  async handle(socket: TLSSocket, frame: Frame): Promise<void> {
    if (this.#over) throw new Problem('conflict', 'a newer run of the sender took over');
    const work = this.#handle(socket, frame);
    const { type } = frame;
    if (type !== frameType.chunk) return await work;
    this.#inFlight.add(work);
    try {
      await work;
    } finally {
      this.#inFlight.delete(work);
    }
  }

  async #handle(socket: TLSSocket, { type, body, content }: Frame): Promise<void> {
    switch (type) {
      case frameType.chunk:
        return await this.#takeChunk(socket, readChunkHead(body), content);
      case frameType.passEnd:
        return await this.#endPass(socket, readNumbers(body, 1)[0] ?? 0);
      case frameType.final:
        return await this.#complete(socket, readFinal(body).roots);
      case frameType.bye:
        if (!this.#target.journal.complete) throw badFrame('a goodbye before the end');
        return this.#listener.onBye();
      case frameType.error:
        throw readError(body);
      case frameType.hello:
      case frameType.welcome:
      case frameType.held:
      case frameType.heldZeros:
      case frameType.ack:
        throw badFrame(`a frame of type ${type} out of turn`);
    }
  }

  /** Everything about a chunk is checked before a byte of it is written; what it holds is checked when it is unpacked. Answers its length. */
  #check({ disk, pass, index, codec: how }: ChunkHead, content: Buffer): number {
    const { journal } = this.#target;
    const table = journal.tables[disk];
    const seen = this.#seen[disk];
    const place = { disk, pass, chunk: index };
    if (journal.complete) throw new Problem('conflict', 'this transfer is complete; what arrived is not changed any more');
    if (table === undefined || seen === undefined || index >= table.count) throw badFrame('a chunk outside of the disks', place);
    const length = chunkLength(table.sizeBytes, index);
    const isPacked = how === codec.brotli && content.length > 0 && content.length < length;
    const isPlain = (how === codec.raw && content.length === length) || (how === codec.zero && content.length === 0);
    if (!isPacked && !isPlain) throw badFrame('a chunk of wrong length or codec', place);
    if (pass < this.#pass || (pass > this.#pass && this.#inFlight.size > 0))
      throw badFrame(`a chunk of pass ${pass} within pass ${this.#pass}`, place);
    if (pass === this.#pass && seen[index] === 1) throw new Problem('conflict', 'a chunk came twice in one pass', { facts: place });
    if (pass > this.#pass) {
      this.#pass = pass;
      for (const bits of this.#seen) bits.fill(0);
    }
    seen[index] = 1;
    return length;
  }

  async #takeChunk(socket: TLSSocket, head: ChunkHead, packed: Buffer): Promise<void> {
    const length = this.#check(head, packed);
    const { disk, pass, index } = head;
    const digest = Buffer.from(head.digest);
    const content = head.codec === codec.brotli ? await this.#inflation.inflate(packed, length) : packed;
    const actual = head.codec === codec.zero ? this.#target.journal.tables[disk]?.zero(index) : digestOf(content);
    if (actual?.equals(digest) !== true) throw badFrame('a chunk that is not what its digest says', { disk, pass, chunk: index });
    // Unpacking took its time.
    if (this.#over) throw new Problem('conflict', 'a newer run of the sender took over');
    const { journal, disks } = this.#target;
    const target = disks[disk];
    if (target === undefined) throw badFrame('a chunk outside of the disks');
    const resent = journal.tables[disk]?.equals(index, digest) === true;
    await this.#onTarget(async () => {
      if (head.codec === codec.zero) await target.writeZeroes(index * chunkBytes, length);
      else await this.#target.write(target, index * chunkBytes, content);
      await journal.append({ disk, pass, index, digest });
    });
    this.#listener.onChunk(content.length, resent);
    socket.write(ackFrame({ disk, pass, index }));
  }

  async #endPass(socket: TLSSocket, pass: number): Promise<void> {
    if (pass < this.#pass || this.#inFlight.size > 0) throw badFrame(`the end of pass ${pass} within pass ${this.#pass}`);
    this.#pass = pass;
    for (const bits of this.#seen) bits.fill(0);
    if (!this.#target.journal.complete) {
      this.#target.journal.pass = Math.max(this.#target.journal.pass, pass);
      await this.#onTarget(async () => await this.#target.checkpoint());
    }
    this.#listener.onPassEnd();
    socket.write(numbersFrame(frameType.passEnd, [pass]));
  }

  async #complete(socket: TLSSocket, roots: readonly string[]): Promise<void> {
    if (this.#inFlight.size > 0) throw badFrame('the end while chunks are in flight');
    const { journal } = this.#target;
    const own = journal.tables.map((table) => table.root());
    const different = own.findIndex((root, disk) => root === undefined || root !== roots[disk]);
    if (different >= 0 || roots.length !== own.length)
      throw new Problem('conflict', `disk ${Math.max(different, 0)} did not arrive as it was sent: the root digests differ`, {
        facts: { sender: roots, receiver: own },
      });
    if (!journal.complete) {
      await this.#onTarget(async () => {
        await this.#target.checkpoint();
        await journal.finish();
      });
    }
    this.#listener.onComplete();
    socket.write(jsonFrame(frameType.final, { roots }));
  }

  /** A failure of the target ends the transfer here; the sender is told the same. */
  async #onTarget(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const told = await this.#target.problemFrom(error);
      queueMicrotask(() => this.#listener.onTargetFailure(told));
      throw told;
    }
  }
}
