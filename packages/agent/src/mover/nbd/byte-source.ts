import { createConnection, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { Problem } from '@virt8ra/contract/plain';

export type NbdAddress = { readonly path: string } | { readonly host: string; readonly port: number };

export interface NbdTls {
  readonly certificate: string;
  readonly privateKey: string;
  readonly ca: string;
  /** DNS name the server's certificate must carry. */
  readonly serverName: string;
}

/** Takes bytes as they arrive. The buffer belongs to the caller again when it returns. */
export type ByteSink = (bytes: Buffer) => void;

const readBytes = 256 * 1024;

/** A connected socket that hands every byte to one sink at a time, without allocating for each read while it is not encrypted. */
export class ByteSource {
  #socket: Socket | TLSSocket;
  #sink: ByteSink | undefined;
  #early: Buffer[] = [];
  #failure: Problem | undefined;
  readonly #onEnd = new Set<(problem: Problem) => void>();

  private constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Raises Problem unavailable when nobody listens there. */
  static async connect(address: NbdAddress, plain: boolean): Promise<ByteSource> {
    return await new Promise((resolve, reject) => {
      let source: ByteSource | undefined;
      const onread = {
        buffer: Buffer.allocUnsafeSlow(plain ? readBytes : 1),
        callback: (length: number, buffer: Uint8Array) => {
          source?.feed(Buffer.from(buffer.buffer, buffer.byteOffset, length));
          return true;
        },
      };
      const where = 'path' in address ? address.path : `${address.host}:${address.port}`;
      // A reused read buffer and STARTTLS exclude each other: TLS takes the handle over.
      const socket = createConnection(plain ? { ...address, onread } : address);
      const refuse = (error: Error) =>
        reject(new Problem('unavailable', `no NBD server answers at ${where}: ${error.message}`, { cause: error }));
      socket.once('error', refuse);
      socket.once('connect', () => {
        socket.off('error', refuse);
        socket.setNoDelay(true);
        source = new ByteSource(socket);
        source.#watch(socket);
        if (!plain) socket.on('data', (bytes: Buffer) => source?.feed(bytes));
        resolve(source);
      });
    });
  }

  /** Encrypts from here on. Raises Problem unauthorized when either side does not accept the other. */
  async startTls(tls: NbdTls): Promise<void> {
    const inner = this.#socket;
    inner.removeAllListeners('data');
    const secure = connectTls({
      socket: inner,
      key: tls.privateKey,
      cert: tls.certificate,
      ca: tls.ca,
      servername: tls.serverName,
      minVersion: 'TLSv1.2',
    });
    await new Promise<void>((resolve, reject) => {
      const refuse = (error: Error) => reject(new Problem('unauthorized', `NBD: TLS failed: ${error.message}`, { cause: error }));
      secure.once('error', refuse);
      secure.once('secureConnect', () => {
        secure.off('error', refuse);
        resolve();
      });
    });
    this.#socket = secure;
    this.#watch(secure);
    secure.on('data', (bytes: Buffer) => this.feed(bytes));
  }

  #watch(socket: Socket): void {
    socket.on('error', (error) => this.fail(new Problem('unavailable', `the NBD connection broke: ${error.message}`, { cause: error })));
    socket.on('close', () => {
      if (socket === this.#socket) this.fail(new Problem('unavailable', 'the NBD server closed the connection'));
    });
  }

  /** Bytes that come while nobody listens are kept; the protocol keeps them few. */
  feed(bytes: Buffer): void {
    if (this.#failure !== undefined) return;
    if (this.#sink === undefined) this.#early.push(Buffer.from(bytes));
    else this.#sink(bytes);
  }

  /** From now on, and for all that came early, bytes go to `sink`; undefined keeps them again. */
  direct(sink: ByteSink | undefined): void {
    this.#sink = sink;
    if (sink === undefined) return;
    const early = this.#early;
    this.#early = [];
    for (let index = 0; index < early.length; index += 1) {
      const bytes = early[index];
      if (bytes === undefined) continue;
      if (this.#sink === undefined) this.#early.push(bytes);
      else this.#sink(bytes);
    }
  }

  write(bytes: Uint8Array): boolean {
    return this.#failure === undefined && this.#socket.write(bytes);
  }

  /** Several pieces in as few system calls as possible. */
  writeAll(pieces: readonly Uint8Array[]): void {
    if (this.#failure !== undefined) return;
    this.#socket.cork();
    for (const piece of pieces) this.#socket.write(piece);
    this.#socket.uncork();
  }

  /** Called once with the reason when the connection is over, at once when it already is. */
  onEnd(listener: (problem: Problem) => void): () => void {
    if (this.#failure !== undefined) listener(this.#failure);
    else this.#onEnd.add(listener);
    return () => this.#onEnd.delete(listener);
  }

  fail(problem: Problem): void {
    if (this.#failure !== undefined) return;
    this.#failure = problem;
    this.#sink = undefined;
    this.#early = [];
    this.#socket.destroy();
    for (const listener of this.#onEnd) listener(problem);
    this.#onEnd.clear();
  }

  get failure(): Problem | undefined {
    return this.#failure;
  }

  /** Ends the connection after what was written is out. */
  async end(): Promise<void> {
    if (this.#failure !== undefined) return;
    const socket = this.#socket;
    await new Promise<void>((resolve) => {
      socket.once('close', () => resolve());
      socket.end();
      setTimeout(() => socket.destroy(), 1_000).unref();
    });
  }
}

/** Exactly `length` bytes, for the handshake. */
export async function takeBytes(source: ByteSource, length: number): Promise<Buffer> {
  if (length === 0) return Buffer.alloc(0);
  return await new Promise((resolve, reject) => {
    const taken = Buffer.alloc(length);
    let have = 0;
    const forget = source.onEnd((problem) => reject(problem));
    source.direct((bytes) => {
      const used = bytes.copy(taken, have, 0, Math.min(bytes.length, length - have));
      have += used;
      if (have < length) return;
      source.direct(undefined);
      if (used < bytes.length) source.feed(bytes.subarray(used));
      forget();
      resolve(taken);
    });
  });
}
