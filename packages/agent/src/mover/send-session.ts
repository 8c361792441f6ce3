import { randomBytes } from 'node:crypto';
import { connect, type TLSSocket } from 'node:tls';
import { Problem, toProblem } from '@virt8ra/contract/plain';
import { chunkBytes, digestBytes } from './chunks.js';
import { DigestTable, type PageStore } from './digest-table.js';
import { type Frame, FrameReader } from './frame-reader.js';
import { checkPeer, type MoverTls, problemFromConnection, tlsOptions } from './peer.js';
import {
  badFrame,
  type ChunkPlace,
  type FrameType,
  frameType,
  type Hello,
  jsonFrame,
  numbersFrame,
  readError,
  readFinal,
  readNumbers,
  readWelcome,
  type Welcome,
  wireVersion,
} from './wire.js';

export interface ConnectOptions {
  readonly transferId: string;
  readonly sizes: readonly number[];
  readonly host: string;
  readonly port: number;
  readonly tls: MoverTls;
  /** DNS name that the receiver's certificate must carry. */
  readonly peerName: string;
  readonly streams: number;
  readonly patience: Patience;
  /** For each disk, where what the receiver holds is kept; used by one session at a time. */
  readonly pages?: readonly PageStore[];
  readonly signal: AbortSignal;
}

/** How long a silent receiver is waited for. */
export interface Patience {
  readonly connectMs: number;
  readonly ackMs: number;
  /** A flush of what a pass wrote takes longer than an acknowledgement. */
  readonly durableMs: number;
}

export const patient: Patience = { connectMs: 10_000, ackMs: 60_000, durableMs: 10 * 60_000 };
/** While the guest is stopped. */
export const hurried: Patience = { connectMs: 3_000, ackMs: 4_000, durableMs: 10_000 };
const keepAliveMs = 10_000;

interface Stream {
  readonly socket: TLSSocket;
  waiting:
    | { readonly type: FrameType; readonly timer: NodeJS.Timeout; resolve(body: Buffer): void; reject(problem: Problem): void }
    | undefined;
}

/** The connections of one run of a sender with its receiver. The first fault ends all of them. */
export class SendSession {
  /** What the receiver held when the session began, and what it acknowledged since. */
  readonly held: readonly DigestTable[];
  readonly welcome: Welcome;
  /** What is held was compared with the ledger; from then on both are kept in step. */
  compared = false;
  patience: Patience;
  readonly #streams: readonly Stream[];
  #failure: Problem | undefined;

  private constructor(welcome: Welcome, held: readonly DigestTable[], streams: readonly Stream[], patience: Patience) {
    this.patience = patience;
    this.welcome = welcome;
    this.held = held;
    this.#streams = streams;
  }

  /**
   * Connects all streams. Raises Problem unavailable when the receiver cannot be reached, forbidden when one side does not accept the other,
   * or what the receiver refused with.
   */
  static async connect(options: ConnectOptions): Promise<SendSession> {
    const { sizes, transferId, streams: count, patience } = options;
    const session = randomBytes(12).toString('hex');
    const hello = (stream: number): Hello => ({
      version: wireVersion,
      transferId,
      session,
      stream,
      streams: count,
      chunkBytes,
      sizes,
      takesZeros: true,
    });
    const opened: Stream[] = [];
    let made: SendSession | undefined;
    const onLoss = (problem: Problem) => made?.fail(problem);
    const held = sizes.map((sizeBytes, disk) => new DigestTable(sizeBytes, options.pages?.[disk]));
    const collector = new HeldCollector(held);
    try {
      const first = await openStream(options, onLoss, (frame) => collector.take(frame));
      opened.push(first);
      const welcome = readWelcome(await ask(first, jsonFrame(frameType.hello, hello(0)), frameType.welcome, patience.connectMs));
      await Promise.race([collector.complete, lossOf(first)]);
      const others = Array.from({ length: count - 1 }, async (_, index) => {
        const stream = await openStream(options, onLoss, unexpected);
        opened.push(stream);
        await ask(stream, jsonFrame(frameType.hello, hello(index + 1)), frameType.welcome, patience.connectMs);
        return stream;
      });
      made = new SendSession(welcome, held, [first, ...(await Promise.all(others))], patience);
      return made;
    } catch (error) {
      for (const { socket } of opened) socket.destroy();
      throw error;
    }
  }

  get streams(): number {
    return this.#streams.length;
  }

  get failure(): Problem | undefined {
    return this.#failure;
  }

  /** Sends a chunk's frame on a stream that has none in flight; returns when the receiver has written and journaled it. */
  async sendChunk(stream: number, frame: Buffer, { disk, pass, index }: ChunkPlace): Promise<void> {
    const body = await this.#ask(stream, frame, frameType.ack, this.patience.ackMs);
    const [ackedDisk, ackedPass, ackedIndex] = readNumbers(body, 3);
    if (ackedDisk !== disk || ackedPass !== pass || ackedIndex !== index) throw this.fail(badFrame('an acknowledgement of another chunk'));
  }

  /** Returns when everything of the pass is durable at the receiver. All its chunks must be acknowledged. */
  async endPass(pass: number): Promise<void> {
    const body = await this.#ask(0, numbersFrame(frameType.passEnd, [pass]), frameType.passEnd, this.patience.durableMs);
    if (readNumbers(body, 1)[0] !== pass) throw this.fail(badFrame('the end of another pass'));
  }

  /** Returns when the receiver found the same digests and has closed the transfer. Raises Problem conflict when they differ. */
  async complete(roots: readonly string[]): Promise<void> {
    readFinal(await this.#ask(0, jsonFrame(frameType.final, { roots }), frameType.final, this.patience.durableMs));
  }

  /** Tells the receiver that its last answer arrived. */
  async sayGoodbye(): Promise<void> {
    const first = this.#streams[0];
    if (first === undefined || this.#failure !== undefined) return;
    await new Promise<void>((resolve) => {
      first.socket.write(numbersFrame(frameType.bye, []), () => resolve());
      first.socket.once('close', () => resolve());
    });
  }

  close(): void {
    this.fail(new Problem('cancelled', 'the sender closed its connections'));
  }

  /** Ends every stream; the first reason stays. */
  fail(problem: Problem): Problem {
    if (this.#failure !== undefined) return this.#failure;
    this.#failure = problem;
    for (const stream of this.#streams) {
      settle(stream, (waiting) => waiting.reject(problem));
      stream.socket.destroy();
    }
    return problem;
  }

  async #ask(index: number, frame: Buffer, type: FrameType, timeoutMs: number): Promise<Buffer> {
    const stream = this.#streams[index];
    if (stream === undefined) throw new Problem('internal', `there is no stream ${index}`);
    if (this.#failure !== undefined) throw this.#failure;
    try {
      return await ask(stream, frame, type, timeoutMs);
    } catch (error) {
      throw this.fail(toProblem(error));
    }
  }
}

/** Gathers the receiver's digests, which come in order. */
class HeldCollector {
  readonly complete: Promise<void>;
  readonly #tables: readonly DigestTable[];
  #done: () => void = () => {};
  #disk = 0;
  #index = 0;

  constructor(tables: readonly DigestTable[]) {
    this.#tables = tables;
    this.complete = new Promise((resolve) => {
      this.#done = resolve;
    });
    if (tables.every(({ count }) => count === 0)) this.#done();
  }

  take({ type, body }: Frame): void {
    if (type === frameType.heldZeros) {
      const [disk = 0, first = 0, count = 0] = readNumbers(body, 3);
      const table = this.#at(disk, first, count);
      table.setZeros(first, first + count);
      this.#advance(table, count);
      return;
    }
    if (type !== frameType.held || body.length <= 8 || (body.length - 8) % digestBytes !== 0) unexpected({ type });
    const digests = body.subarray(8);
    const count = digests.length / digestBytes;
    const table = this.#at(body.readUInt32BE(0), body.readUInt32BE(4), count);
    table.load(digests, this.#index);
    this.#advance(table, count);
  }

  #at(disk: number, first: number, count: number): DigestTable {
    const table = this.#tables[this.#disk];
    if (table === undefined || disk !== this.#disk || first !== this.#index) throw badFrame('digests out of order');
    if (count === 0 || first + count > table.count) throw badFrame('digests of chunks that are not');
    return table;
  }

  #advance(table: DigestTable, count: number): void {
    this.#index += count;
    if (this.#index < table.count) return;
    this.#disk += 1;
    this.#index = 0;
    if (this.#disk === this.#tables.length) this.#done();
  }
}

function unexpected({ type }: { readonly type: FrameType }): never {
  throw badFrame(`a frame of type ${type} out of turn`);
}

function settle(stream: Stream, how: (waiting: NonNullable<Stream['waiting']>) => void): void {
  const { waiting } = stream;
  if (waiting === undefined) return;
  stream.waiting = undefined;
  clearTimeout(waiting.timer);
  how(waiting);
}

function ask(stream: Stream, frame: Buffer, type: FrameType, timeoutMs: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    if (stream.socket.destroyed) return reject(new Problem('unavailable', 'the connection with the receiver is gone'));
    const late = () =>
      settle(stream, (waiting) => waiting.reject(new Problem('unavailable', `the receiver did not answer within ${timeoutMs / 1000} s`)));
    stream.waiting = { type, timer: setTimeout(late, timeoutMs), resolve, reject };
    stream.socket.write(frame);
  });
}

function lossOf(stream: Stream): Promise<never> {
  return new Promise((_, reject) =>
    stream.socket.once('close', () => reject(new Problem('unavailable', 'the receiver closed the connection'))),
  );
}

async function openStream(
  { host, port, tls, peerName, patience: { connectMs }, signal }: ConnectOptions,
  onLoss: (problem: Problem) => void,
  onOther: (frame: Frame) => void,
): Promise<Stream> {
  const where = `${peerName} (${host}:${port})`;
  const socket = connect({ host, port, ...tlsOptions(tls), servername: peerName, checkServerIdentity: () => undefined });
  const cancel = () => socket.destroy(new Problem('cancelled', 'the transfer was cancelled'));
  if (signal.aborted) cancel();
  signal.addEventListener('abort', cancel, { once: true });
  socket.once('close', () => signal.removeEventListener('abort', cancel));
  const stream: Stream = { socket, waiting: undefined };
  const lose = (problem: Problem) => {
    settle(stream, (waiting) => waiting.reject(problem));
    onLoss(problem);
    socket.destroy();
  };
  const reader = new FrameReader(
    socket,
    0,
    (frame) => {
      if (frame.type === frameType.error) return lose(readError(frame.body));
      if (stream.waiting?.type === frame.type) return settle(stream, (waiting) => waiting.resolve(frame.body));
      onOther(frame);
    },
    (error) => lose(toProblem(error)),
  );
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => refuse(new Error(`no answer within ${connectMs / 1000} s`)), connectMs);
    const refuse = (error: Error) => {
      clearTimeout(timer);
      socket.destroy();
      reject(error instanceof Problem ? error : problemFromConnection(error, where));
    };
    socket.once('error', refuse);
    const closed = () => refuse(new Error('the connection was closed'));
    socket.once('close', closed);
    socket.once('secureConnect', () => {
      clearTimeout(timer);
      socket.off('error', refuse).off('close', closed);
      resolve();
    });
  });
  socket.on('error', (error) => lose(error instanceof Problem ? error : problemFromConnection(error, where)));
  socket.on('close', () => lose(new Problem('unavailable', `${where} closed the connection`)));
  checkPeerOrDestroy(socket, peerName);
  socket.setNoDelay(true);
  socket.setKeepAlive(true, keepAliveMs);
  socket.on('data', (bytes: Buffer) => reader.take(bytes));
  return stream;
}

function checkPeerOrDestroy(socket: TLSSocket, name: string): void {
  try {
    checkPeer(socket, name);
  } catch (error) {
    socket.destroy();
    throw error;
  }
}
