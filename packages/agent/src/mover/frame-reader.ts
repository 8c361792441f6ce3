import { badFrame, chunkHeadBytes, type FrameType, frameType, headBytes, readHead } from './wire.js';

export interface Frame {
  readonly type: FrameType;
  /** Of a chunk only its head. Valid until the handler's promise settles. */
  readonly body: Buffer;
  /** A chunk's content, in the reader's one buffer. */
  readonly content: Buffer;
}

/** Handles a frame; the next one is not looked at before the promise settles. */
export type FrameHandler = (frame: Frame) => Promise<void> | void;

interface PausableStream {
  pause(): unknown;
  resume(): unknown;
}

const nothing = Buffer.alloc(0);

/**
 * Cuts a connection's bytes into frames and hands them over one at a time; while one is handled the connection is not read, which is the
 * back-pressure. It owns one buffer for content, and no frame makes it allocate more than its type allows. A failure, in a frame or in
 * its handler, goes to `onFailure` once, and nothing is read after that.
 */
export class FrameReader {
  readonly #stream: PausableStream;
  readonly #handler: FrameHandler;
  readonly #onFailure: (error: unknown) => void;
  readonly #content: Buffer;
  readonly #head = Buffer.alloc(headBytes);
  readonly #chunkHead = Buffer.alloc(chunkHeadBytes);
  #target: Buffer = this.#head;
  #have = 0;
  #then: () => void = () => this.#onHead();
  #type: FrameType = frameType.bye;
  #rest: Buffer[] = [];
  #busy = false;
  #over = false;

  /** `contentBytes` 0: chunks are refused. */
  constructor(stream: PausableStream, contentBytes: number, handler: FrameHandler, onFailure: (error: unknown) => void) {
    this.#stream = stream;
    this.#content = contentBytes === 0 ? nothing : Buffer.allocUnsafeSlow(contentBytes);
    this.#handler = handler;
    this.#onFailure = onFailure;
  }

  take(bytes: Buffer): void {
    if (this.#over) return;
    if (this.#busy) {
      this.#rest.push(bytes);
      return;
    }
    let at = 0;
    try {
      while (at < bytes.length && !this.#over) {
        const used = bytes.copy(this.#target, this.#have, at, Math.min(bytes.length, at + this.#target.length - this.#have));
        this.#have += used;
        at += used;
        if (this.#have === this.#target.length) this.#then();
        if (this.#busy) {
          if (at < bytes.length) this.#rest.push(bytes.subarray(at));
          return;
        }
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  #expect(target: Buffer, then: () => void): void {
    this.#target = target;
    this.#have = 0;
    this.#then = then;
    if (target.length === 0) then();
  }

  #onHead(): void {
    const { type, bodyBytes } = readHead(this.#head);
    this.#type = type;
    if (type !== frameType.chunk) {
      const body = Buffer.allocUnsafe(bodyBytes);
      this.#expect(body, () => this.#hand(body, nothing));
      return;
    }
    const contentBytes = bodyBytes - chunkHeadBytes;
    if (contentBytes < 0 || contentBytes > this.#content.length) throw badFrame('a chunk of wrong length');
    this.#expect(this.#chunkHead, () => {
      const content = this.#content.subarray(0, contentBytes);
      this.#expect(content, () => this.#hand(this.#chunkHead, content));
    });
  }

  #hand(body: Buffer, content: Buffer): void {
    const type = this.#type;
    this.#expect(this.#head, () => this.#onHead());
    const handled = this.#handler({ type, body, content });
    if (handled === undefined) return;
    this.#busy = true;
    this.#stream.pause();
    handled.then(
      () => this.#goOn(),
      (error: unknown) => this.#fail(error),
    );
  }

  #goOn(): void {
    if (this.#over) return;
    this.#busy = false;
    const rest = this.#rest;
    this.#rest = [];
    for (const bytes of rest) this.take(bytes);
    if (!this.#busy) this.#stream.resume();
  }

  #fail(error: unknown): void {
    if (this.#over) return;
    this.#over = true;
    this.#rest = [];
    this.#onFailure(error);
  }
}
