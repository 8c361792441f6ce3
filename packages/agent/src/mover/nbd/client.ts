import { Problem } from '@virt8ra/contract/plain';
import type { ByteSource, NbdAddress, NbdTls } from './byte-source.js';
import {
  askContexts,
  askExport,
  askStructuredReplies,
  boundHandshake,
  type ExportFacts,
  leaveHandshake,
  listExports,
  openHandshake,
} from './negotiation.js';
import { brokenProtocol, command, commandFlag, option, problemFromCommand, requestMagic, transmissionFlag } from './protocol.js';
import { type NbdExtent, type PendingReply, ReplyReader } from './reply-reader.js';

export interface NbdOptions {
  readonly address: NbdAddress;
  /** Empty: the server's default export. */
  readonly exportName?: string;
  /** Metadata contexts such as `base:allocation`; those not granted are missing in `contexts`. */
  readonly contexts?: readonly string[];
  /** STARTTLS with a client certificate. */
  readonly tls?: NbdTls;
  /** Ends the connection and every request on it with Problem cancelled. */
  readonly signal?: AbortSignal;
}

export interface ZeroOptions {
  /** Keep the blocks allocated. */
  readonly noHole?: boolean;
  /** Fail (Problem unsupported) rather than write zeros the slow way. */
  readonly fast?: boolean;
}

/** Servers take a buffer from the system for each request; small ones stay in the processor's cache. */
const pieceBytes = 256 * 1024;

/**
 * One connection to an NBD export. Requests may overlap in time; the caller bounds their number, and with it the memory, by the buffers it
 * lends. A buffer is in use until the promise settles. Requests raise Problem exhausted (no space), forbidden (read-only), unsupported,
 * unavailable (connection gone), internal (I/O error, protocol broken), cancelled.
 */
export class NbdClient {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly contexts: readonly string[];
  readonly #source: ByteSource;
  readonly #facts: ExportFacts;
  readonly #contexts: ReadonlyMap<number, string>;
  readonly #pending = new Map<number, PendingReply>();
  #next = 1;

  private constructor(source: ByteSource, facts: ExportFacts, contexts: ReadonlyMap<number, string>) {
    this.#source = source;
    this.#facts = facts;
    this.#contexts = contexts;
    this.sizeBytes = facts.sizeBytes;
    this.readOnly = (facts.flags & transmissionFlag.readOnly) !== 0;
    this.contexts = [...contexts.values()];
    const reader = new ReplyReader(this.#pending);
    source.onEnd((problem) => {
      for (const { reject } of this.#pending.values()) reject(problem);
      this.#pending.clear();
    });
    source.direct((bytes) => {
      try {
        reader.take(bytes);
      } catch (error) {
        source.fail(error instanceof Problem ? error : brokenProtocol(String(error)));
      }
    });
  }

  /** Connects to an export. Raises Problem unavailable, not-found, unauthorized, unsupported, cancelled, or internal. */
  static async connect(options: NbdOptions): Promise<NbdClient> {
    const { address, exportName = '', contexts = [], tls, signal } = options;
    const source = await openHandshake(address, tls, signal);
    const onTime = boundHandshake(source);
    try {
      const structured = await askStructuredReplies(source);
      const granted = structured && contexts.length > 0 ? await askContexts(source, exportName, contexts) : new Map<number, string>();
      const facts = await askExport(source, exportName, option.go);
      return new NbdClient(source, facts, granted);
    } catch (error) {
      source.fail(new Problem('unavailable', 'the NBD handshake failed'));
      throw error;
    } finally {
      onTime();
    }
  }

  /** Exports of a server with their sizes. */
  static async list(options: Omit<NbdOptions, 'exportName' | 'contexts'>): Promise<{ name: string; sizeBytes: number }[]> {
    const source = await openHandshake(options.address, options.tls, options.signal);
    const onTime = boundHandshake(source);
    try {
      const found: { name: string; sizeBytes: number }[] = [];
      for (const name of await listExports(source)) {
        const { sizeBytes } = await askExport(source, name, option.info);
        found.push({ name, sizeBytes });
      }
      return found;
    } finally {
      await leaveHandshake(source);
      onTime();
    }
  }

  /** Undefined while the connection lives. */
  get failure(): Problem | undefined {
    return this.#source.failure;
  }

  /** Fills `into` with the bytes from `offset` on. */
  async read(offset: number, into: Buffer): Promise<void> {
    if (into.length <= pieceBytes) await this.#request('reading', command.read, 0, offset, into.length, undefined, into);
    else
      await inPieces(
        into,
        async (piece, at) => void (await this.#request('reading', command.read, 0, offset + at, piece.length, undefined, piece)),
      );
  }

  async write(offset: number, bytes: Buffer): Promise<void> {
    this.#needsWritable('writing');
    if (bytes.length <= pieceBytes) await this.#request('writing', command.write, 0, offset, bytes.length, bytes);
    else
      await inPieces(bytes, async (piece, at) => void (await this.#request('writing', command.write, 0, offset + at, piece.length, piece)));
  }

  async writeZeroes(offset: number, lengthBytes: number, { noHole = false, fast = false }: ZeroOptions = {}): Promise<void> {
    this.#needs(transmissionFlag.sendWriteZeroes, 'writing zeros');
    if (fast) this.#needs(transmissionFlag.sendFastZero, 'fast zeros');
    const flags = (noHole ? commandFlag.noHole : 0) | (fast ? commandFlag.fastZero : 0);
    await this.#request('writing zeros', command.writeZeroes, flags, offset, lengthBytes);
  }

  /** What was written before this call is durable when it returns. */
  async flush(): Promise<void> {
    if ((this.#facts.flags & transmissionFlag.sendFlush) === 0) return;
    await this.#request('flushing', command.flush, 0, 0, 0);
  }

  /** Gives blocks back; their content is undefined afterwards. */
  async trim(offset: number, lengthBytes: number): Promise<void> {
    this.#needs(transmissionFlag.sendTrim, 'trimming');
    await this.#request('trimming', command.trim, 0, offset, lengthBytes);
  }

  /**
   * Extents from `offset` on by context name, for each granted context. The server may describe less than was asked, never nothing.
   */
  async blockStatus(offset: number, lengthBytes: number): Promise<ReadonlyMap<string, readonly NbdExtent[]>> {
    if (this.#contexts.size === 0) throw new Problem('unsupported', 'NBD: the server granted no metadata context');
    const found = await this.#request('block status', command.blockStatus, 0, offset, lengthBytes);
    const extents = new Map<string, readonly NbdExtent[]>();
    for (const [id, name] of this.#contexts) {
      const list = found.get(id);
      if (list === undefined || list.length === 0) throw this.#broken(`no block status for ${name}`);
      extents.set(name, list);
    }
    return extents;
  }

  /** Says goodbye once no request is open any more by the caller's own count, and closes. */
  async close(): Promise<void> {
    if (this.#source.failure !== undefined) return;
    this.#source.write(this.#head(command.disconnect, 0, 0, 0, 0));
    await this.#source.end();
  }

  /** Ends the connection at once; open requests fail with Problem cancelled. */
  destroy(): void {
    this.#source.fail(new Problem('cancelled', 'the NBD connection was closed'));
  }

  #needsWritable(what: string): void {
    if (this.readOnly) throw new Problem('forbidden', `NBD: ${what} is not possible: the export is read-only`);
  }

  #needs(flag: number, what: string): void {
    this.#needsWritable(what);
    if ((this.#facts.flags & flag) === 0) throw new Problem('unsupported', `NBD: ${what} is not possible on this export`);
  }

  #broken(why: string): Problem {
    const problem = brokenProtocol(why);
    this.#source.fail(problem);
    return problem;
  }

  #head(code: number, flags: number, handle: number, offset: number, lengthBytes: number): Buffer {
    const head = Buffer.allocUnsafe(28);
    head.writeUInt32BE(requestMagic, 0);
    head.writeUInt16BE(flags, 4);
    head.writeUInt16BE(code, 6);
    head.writeUInt32BE(0, 8);
    head.writeUInt32BE(handle, 12);
    head.writeBigUInt64BE(BigInt(offset), 16);
    head.writeUInt32BE(lengthBytes, 24);
    return head;
  }

  #request(
    what: string,
    code: number,
    flags: number,
    offset: number,
    lengthBytes: number,
    payload?: Buffer,
    into?: Buffer,
  ): Promise<Map<number, readonly NbdExtent[]>> {
    const { failure } = this.#source;
    if (failure !== undefined) return Promise.reject(failure);
    const outside = !Number.isSafeInteger(offset) || offset < 0 || lengthBytes < 0 || offset + lengthBytes > this.sizeBytes;
    const tooLong = (payload !== undefined || into !== undefined) && lengthBytes > this.#facts.maximumBlockBytes;
    if (outside || tooLong || (lengthBytes === 0 && code !== command.flush)) {
      return Promise.reject(
        new Problem('invalid-request', `NBD: ${what}: ${lengthBytes} bytes at ${offset} do not fit an export of ${this.sizeBytes} bytes`),
      );
    }
    return new Promise((resolve, reject) => {
      const handle = this.#next;
      this.#next = this.#next === 0xffffffff ? 1 : this.#next + 1;
      this.#pending.set(handle, {
        offset,
        lengthBytes,
        expectsExtents: code === command.blockStatus,
        ...(into === undefined ? {} : { into }),
        extents: new Map(),
        filled: 0,
        error: undefined,
        resolve,
        reject,
        problem: (error) => problemFromCommand(what, error),
      });
      const head = this.#head(code, flags, handle, offset, lengthBytes);
      if (payload === undefined) this.#source.write(head);
      else this.#source.writeAll([head, payload]);
    });
  }
}

/** Settles when all pieces have, so that the buffer is nobody's any more. Raises the first failure. */
async function inPieces(bytes: Buffer, work: (piece: Buffer, at: number) => Promise<void>): Promise<void> {
  const works: Promise<void>[] = [];
  for (let at = 0; at < bytes.length; at += pieceBytes) works.push(work(bytes.subarray(at, at + pieceBytes), at));
  const failed = (await Promise.allSettled(works)).find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}
