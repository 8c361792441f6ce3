import { availableParallelism } from 'node:os';
import { promisify } from 'node:util';
import { brotliCompress, brotliCompressSync, brotliDecompress, constants } from 'node:zlib';
import type { LinkGauge } from './link-gauge.js';
import { badFrame } from './wire.js';

const compress = promisify(brotliCompress);
const inflate = promisify(brotliDecompress);

interface Level {
  /** Brotli's; 0: as it is. */
  readonly quality: number;
  /** Bytes a millisecond of one thread, and what is left of the bytes, in relation to those of quality 1. */
  readonly speed: number;
  readonly left: number;
}
/** Measured with programs and libraries of Debian on AMD EPYC: 241 MiB/s and 0.33 left at quality 1. */
const levels: readonly Level[] = [
  { quality: 1, speed: 1, left: 1 },
  { quality: 3, speed: 0.57, left: 0.88 },
  { quality: 5, speed: 0.21, left: 0.81 },
  { quality: 7, speed: 0.11, left: 0.74 },
  { quality: 9, speed: 0.058, left: 0.735 },
];
const first = { bytesPerMs: 150_000, left: 0.5 } as const;
/** Weight of the newest chunk. */
const newest = 0.1;
/** What compressing must gain before the processor is spent on it. */
const margin = 1.25;
/** A stronger one must gain so much more than a weaker one. */
const worth = 1.02;
/** More than this of a chunk left is not worth the receiver's work. */
const mostLeft = 0.95;
const sample = { slices: 16, bytes: 1024 } as const;
const windowBits = 20;

/**
 * Chooses how strongly chunks are compressed, by what was measured of this transfer's link and of this host's processors: what lets most content through in a
 * second. On a link that is faster than they are nothing is compressed.
 */
export class Compression {
  readonly #gauge: Pick<LinkGauge, 'bytesPerMs'>;
  readonly #threads: number;
  #bytesPerMs: number = first.bytesPerMs;
  #left: number = first.left;
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(gauge: Pick<LinkGauge, 'bytesPerMs'>, threads = Math.max(1, availableParallelism() - 1)) {
    this.#gauge = gauge;
    this.#threads = threads;
  }

  /** Brotli's quality; 0: chunks go as they are. */
  get quality(): number {
    const link = this.#gauge.bytesPerMs;
    const [weakest] = levels;
    if (link === undefined || weakest === undefined) return weakest?.quality ?? 0;
    let best = { quality: 0, rate: link * margin };
    for (const { quality, speed, left } of levels) {
      const rate = Math.min(this.#threads * this.#bytesPerMs * speed, link / (this.#left * left));
      if (rate > best.rate * (best.quality === 0 ? 1 : worth)) best = { quality, rate };
    }
    return best.quality;
  }

  /** Compresses in place; answers the bytes that are left, or undefined where the chunk is as it was. */
  async shrink(content: Buffer): Promise<number | undefined> {
    const { quality } = this;
    if (quality === 0 || !looksCompressible(content)) return undefined;
    await this.#turn();
    try {
      const begin = performance.now();
      const params = { ...common, [constants.BROTLI_PARAM_QUALITY]: quality, [constants.BROTLI_PARAM_SIZE_HINT]: content.length };
      const packed = await compress(content, { params, chunkSize: content.length });
      this.#learn(quality, content.length, packed.length, performance.now() - begin);
      if (packed.length > content.length * mostLeft) return undefined;
      packed.copy(content);
      return packed.length;
    } finally {
      this.#running -= 1;
      this.#waiting.shift()?.();
    }
  }

  async #turn(): Promise<void> {
    while (this.#running >= this.#threads + 1) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#running += 1;
  }

  #learn(quality: number, bytes: number, packed: number, ms: number): void {
    const level = levels.find((known) => known.quality === quality);
    if (level === undefined || ms <= 0) return;
    this.#bytesPerMs += (bytes / ms / level.speed - this.#bytesPerMs) * newest;
    this.#left += (Math.min(1, packed / bytes / level.left) - this.#left) * newest;
  }
}

const common = { [constants.BROTLI_PARAM_LGWIN]: windowBits } as const;

/** Told by a few bytes from all over it: what is compressed or encrypted already is not tried. */
function looksCompressible(content: Buffer): boolean {
  const step = Math.floor(content.length / sample.slices);
  if (step < sample.bytes) return true;
  const slices = Array.from({ length: sample.slices }, (_, index) => content.subarray(index * step, index * step + sample.bytes));
  const taken = Buffer.concat(slices);
  const params = { ...common, [constants.BROTLI_PARAM_QUALITY]: 1 };
  return brotliCompressSync(taken, { params }).length < taken.length * mostLeft;
}

/** What may be inflated before its memory is asked back. */
const garbageBytes = 8 * 1024 * 1024;

/** Inflates chunks in little memory: each gets memory of its own from zlib, which V8 would let pile up to 64 MiB before it looks for what is free. */
export class Inflation {
  #bytes = 0;

  /** The content of a compressed chunk of `length` bytes. Raises Problem invalid-request for what is none. */
  async inflate(packed: Buffer, length: number): Promise<Buffer> {
    const content = await inflateChunk(packed, length);
    this.#bytes += length;
    if (this.#bytes >= garbageBytes) {
      this.#bytes = 0;
      globalThis.gc?.();
    }
    return content;
  }
}

/** The content of a compressed chunk of `length` bytes. Raises Problem invalid-request for what is none. */
export async function inflateChunk(packed: Buffer, length: number): Promise<Buffer> {
  try {
    const content = await inflate(packed, { maxOutputLength: length, chunkSize: length });
    if (content.length === length) return content;
  } catch {
    // Reported below.
  }
  throw badFrame('a chunk that cannot be inflated to its length');
}
