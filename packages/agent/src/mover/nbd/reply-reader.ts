import type { Problem } from '@virt8ra/contract';
import { brokenProtocol, replyDone, replyType, simpleReplyMagic, structuredReplyMagic } from './protocol.js';

/** A stretch of an export with the flags of one metadata context. */
export interface NbdExtent {
  readonly lengthBytes: number;
  readonly flags: number;
}

/** A request that waits for its reply. */
export interface PendingReply {
  readonly offset: number;
  readonly lengthBytes: number;
  readonly expectsExtents: boolean;
  /** Reads only: where the bytes go. */
  readonly into?: Buffer;
  readonly extents: Map<number, readonly NbdExtent[]>;
  filled: number;
  error: Problem | undefined;
  resolve(extents: Map<number, readonly NbdExtent[]>): void;
  reject(problem: Problem): void;
  problem(error: number): Problem;
}

const simpleBytes = 16;
const structuredBytes = 20;
/** Block status replies and error texts; data goes straight into the caller's buffer. */
const longestBody = 1024 * 1024;
const nothing = Buffer.alloc(0);

/**
 * Cuts the stream of replies. Data is copied once, from the socket's buffer to where it belongs. `take` raises the Problem internal when the
 * server breaks the protocol; the connection is of no use after that.
 */
export class ReplyReader {
  readonly #pending: Map<number, PendingReply>;
  readonly #head = Buffer.alloc(32);
  #headHave = 0;
  #headNeed = 4;
  /** What the current part of a reply is, once its head is complete. */
  #onHead: () => void = () => this.#onMagic();
  #current: PendingReply | undefined;
  #handle = 0;
  #done = false;
  #type = 0;
  #bodyBytes = 0;
  #body: Buffer | undefined;
  #bodyHave = 0;
  #onBody: () => void = () => {};

  constructor(pending: Map<number, PendingReply>) {
    this.#pending = pending;
  }

  take(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length) {
      if (this.#body !== undefined) {
        const used = bytes.copy(this.#body, this.#bodyHave, at, Math.min(bytes.length, at + this.#body.length - this.#bodyHave));
        this.#bodyHave += used;
        at += used;
        if (this.#bodyHave < this.#body.length) return;
        this.#body = undefined;
        this.#onBody();
      } else {
        const used = bytes.copy(this.#head, this.#headHave, at, Math.min(bytes.length, at + this.#headNeed - this.#headHave));
        this.#headHave += used;
        at += used;
        if (this.#headHave < this.#headNeed) return;
        this.#onHead();
      }
    }
  }

  #expectHead(bytes: number, then: () => void): void {
    this.#headNeed = bytes;
    this.#onHead = then;
  }

  #nextReply(): void {
    this.#headHave = 0;
    this.#expectHead(4, () => this.#onMagic());
  }

  #readBody(body: Buffer, then: () => void): void {
    this.#bodyHave = 0;
    this.#onBody = then;
    if (body.length === 0) then();
    else this.#body = body;
  }

  #onMagic(): void {
    const magic = this.#head.readUInt32BE(0);
    if (magic === simpleReplyMagic) this.#expectHead(simpleBytes, () => this.#onSimple());
    else if (magic === structuredReplyMagic) this.#expectHead(structuredBytes, () => this.#onStructured());
    else throw brokenProtocol('a reply without its magic number');
  }

  #find(): PendingReply {
    this.#handle = this.#head.readUInt32BE(12);
    const entry = this.#head.readUInt32BE(8) === 0 ? this.#pending.get(this.#handle) : undefined;
    if (entry === undefined) throw brokenProtocol('a reply to a request that was not made');
    this.#current = entry;
    return entry;
  }

  #onSimple(): void {
    const error = this.#head.readUInt32BE(4);
    const entry = this.#find();
    if (entry.expectsExtents && error === 0) throw brokenProtocol('a simple reply to block status');
    this.#done = true;
    if (error !== 0) entry.error = entry.problem(error);
    const data = error === 0 ? entry.into : undefined;
    entry.filled = data?.length ?? 0;
    this.#readBody(data ?? nothing, () => this.#finishPart());
  }

  #onStructured(): void {
    const flags = this.#head.readUInt16BE(4);
    this.#type = this.#head.readUInt16BE(6);
    this.#bodyBytes = this.#head.readUInt32BE(16);
    this.#done = (flags & replyDone) !== 0;
    const entry = this.#find();
    if (this.#type === replyType.offsetData || this.#type === replyType.offsetHole) {
      if (entry.into === undefined || this.#bodyBytes < 9) throw brokenProtocol('data that was not asked for');
      if (this.#type === replyType.offsetHole && this.#bodyBytes !== 12) throw brokenProtocol('a hole of wrong shape');
      this.#expectHead(structuredBytes + (this.#type === replyType.offsetData ? 8 : 12), () => this.#onPlace(entry));
      return;
    }
    if (this.#bodyBytes > longestBody) throw brokenProtocol('too long a reply');
    const body = Buffer.allocUnsafe(this.#bodyBytes);
    this.#readBody(body, () => this.#onSmallBody(entry, body));
  }

  /** Data or a hole, with the offset it belongs to. */
  #onPlace(entry: PendingReply): void {
    const start = Number(this.#head.readBigUInt64BE(structuredBytes)) - entry.offset;
    const hole = this.#type === replyType.offsetHole;
    const length = hole ? this.#head.readUInt32BE(structuredBytes + 8) : this.#bodyBytes - 8;
    if (
      entry.into === undefined ||
      start < 0 ||
      length === 0 ||
      start + length > entry.into.length ||
      entry.filled + length > entry.into.length
    )
      throw brokenProtocol('data outside of what was asked for');
    entry.filled += length;
    const target = entry.into.subarray(start, start + length);
    if (hole) target.fill(0);
    this.#readBody(hole ? nothing : target, () => this.#finishPart());
  }

  #onSmallBody(entry: PendingReply, body: Buffer): void {
    if (this.#type === replyType.blockStatus) this.#takeExtents(entry, body);
    else if ((this.#type & replyType.errorBit) !== 0) {
      if (body.length < 6) throw brokenProtocol('an error of wrong shape');
      entry.error ??= entry.problem(body.readUInt32BE(0));
    } else if (this.#type !== replyType.none) throw brokenProtocol(`a reply of unknown type ${this.#type}`);
    this.#finishPart();
  }

  #takeExtents(entry: PendingReply, body: Buffer): void {
    if (!entry.expectsExtents || body.length < 12 || body.length % 8 !== 4) throw brokenProtocol('a block status of wrong shape');
    const extents: NbdExtent[] = [];
    for (let at = 4; at < body.length; at += 8) {
      const lengthBytes = body.readUInt32BE(at);
      if (lengthBytes === 0) throw brokenProtocol('an empty extent');
      extents.push({ lengthBytes, flags: body.readUInt32BE(at + 4) });
    }
    entry.extents.set(body.readUInt32BE(0), extents);
  }

  #finishPart(): void {
    this.#nextReply();
    const entry = this.#current;
    this.#current = undefined;
    if (!this.#done || entry === undefined) return;
    this.#pending.delete(this.#handle);
    if (entry.error !== undefined) entry.reject(entry.error);
    else if (entry.into === undefined || entry.filled === entry.into.length) entry.resolve(entry.extents);
    else {
      const problem = brokenProtocol('less data than was asked for');
      entry.reject(problem);
      throw problem;
    }
  }
}
