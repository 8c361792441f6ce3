import { hash } from 'node:crypto';
import { transferChunkBytes } from '@virt8ra/contract';

/** A disk as the mover sees it: chunks of 1 MiB, each known by the SHA-256 of its content. The last one may be shorter. */

export const chunkBytes = transferChunkBytes;
export const digestBytes = 32;

export function chunkCount(sizeBytes: number): number {
  return Math.ceil(sizeBytes / chunkBytes);
}

export function chunkLength(sizeBytes: number, index: number): number {
  return Math.min(chunkBytes, sizeBytes - index * chunkBytes);
}

export function digestOf(bytes: Uint8Array): Buffer {
  return hash('sha256', bytes, 'buffer');
}

const unknown = Buffer.alloc(digestBytes);

/** Digests of all chunks of one disk. A digest of nothing but zero bytes stands for "not known"; no content has it. */
export class DigestTable {
  readonly sizeBytes: number;
  readonly count: number;
  /** The digests in order; not to be written to from outside. */
  readonly bytes: Buffer;
  #unknown: number;
  readonly #zero: Buffer;
  readonly #lastZero: Buffer;

  constructor(sizeBytes: number) {
    this.sizeBytes = sizeBytes;
    this.count = chunkCount(sizeBytes);
    this.bytes = Buffer.alloc(this.count * digestBytes);
    this.#unknown = this.count;
    this.#zero = digestOf(Buffer.alloc(chunkBytes));
    this.#lastZero = this.count === 0 ? this.#zero : digestOf(Buffer.alloc(chunkLength(sizeBytes, this.count - 1)));
  }

  /** A view, not a copy. */
  get(index: number): Buffer {
    return this.bytes.subarray(index * digestBytes, (index + 1) * digestBytes);
  }

  set(index: number, digest: Buffer): void {
    this.#replace(index, digest);
  }

  clear(index: number): void {
    this.#replace(index, unknown);
  }

  #replace(index: number, digest: Buffer): void {
    if (!this.isKnown(index)) this.#unknown -= 1;
    digest.copy(this.bytes, index * digestBytes, 0, digestBytes);
    if (!this.isKnown(index)) this.#unknown += 1;
  }

  /** Takes over digests of consecutive chunks. */
  load(digests: Buffer, first = 0): void {
    for (let at = 0; at < digests.length; at += digestBytes) this.set(first + at / digestBytes, digests.subarray(at, at + digestBytes));
  }

  /** Every chunk becomes one that is not known. */
  forget(): void {
    this.bytes.fill(0);
    this.#unknown = this.count;
  }

  /** Chunks whose digest is not known. */
  get unknownCount(): number {
    return this.#unknown;
  }

  equals(index: number, digest: Buffer): boolean {
    return this.bytes.compare(digest, 0, digestBytes, index * digestBytes, (index + 1) * digestBytes) === 0;
  }

  isKnown(index: number): boolean {
    return !this.equals(index, unknown);
  }

  /** Digest of a chunk of zeros in that place. */
  zero(index: number): Buffer {
    return index === this.count - 1 ? this.#lastZero : this.#zero;
  }

  isZero(index: number): boolean {
    return this.equals(index, this.zero(index));
  }

  /** SHA-256 over all digests, hexadecimal; undefined while one is not known. */
  root(): string | undefined {
    return this.#unknown > 0 ? undefined : hash('sha256', this.bytes, 'hex');
  }
}
