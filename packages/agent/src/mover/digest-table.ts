import { createHash } from 'node:crypto';
import { chunkBytes, chunkCount, chunkLength, digestBytes, digestOf } from './chunks.js';

/** Digests come in pages of so many chunks. */
export const pageChunks = 4096;
const pageBytes = pageChunks * digestBytes;
/** So many pages of a table are in memory (4 MiB, the digests of 128 GiB) when it has a place for the others. */
const heldPages = 32;

/** What a page is made of; only the last kind takes room. */
export const pageKind = { unknown: 0, zeros: 1, mixed: 2 } as const;

/** Where a table keeps the pages that memory has no room for. A page that is read was written before. */
export interface PageStore {
  read(page: number, into: Buffer): void;
  /** `from`: where in the page these bytes belong. */
  write(page: number, bytes: Buffer, from: number): void;
  close(): void;
}

interface Page {
  readonly bytes: Buffer;
  /** Bytes that the store does not have yet: from, to; equal when it has all. */
  dirtyFrom: number;
  dirtyTo: number;
}

const unknown = Buffer.alloc(digestBytes);

/**
 * Digests of all chunks of one disk. A digest of nothing but zero bytes stands for "not known"; no content has it. Where a page of chunks is
 * all unknown or all zeros it takes no room, and with a store no more than a few pages are in memory, however large the disk is.
 */
export class DigestTable {
  readonly sizeBytes: number;
  readonly count: number;
  /** One `pageKind` for each page; not to be written to from outside. */
  readonly kinds: Uint8Array;
  readonly #store: PageStore | undefined;
  /** Mixed pages in memory, the one used last at the end. */
  readonly #pages = new Map<number, Page>();
  /** Room to write out a page that is all alike. */
  #alike: Buffer | undefined;
  #recent: { readonly number: number; readonly page: Page } | undefined;
  #unknown: number;
  readonly #zero: Buffer;
  readonly #lastZero: Buffer;

  constructor(sizeBytes: number, store?: PageStore) {
    this.sizeBytes = sizeBytes;
    this.count = chunkCount(sizeBytes);
    this.kinds = new Uint8Array(Math.ceil(this.count / pageChunks));
    this.#store = store;
    this.#unknown = this.count;
    this.#zero = digestOf(Buffer.alloc(chunkBytes));
    this.#lastZero = this.count === 0 ? this.#zero : digestOf(Buffer.alloc(chunkLength(sizeBytes, this.count - 1)));
  }

  /** A view that is good until the next call. */
  get(index: number): Buffer {
    const number = Math.floor(index / pageChunks);
    const kind = this.kinds[number];
    if (kind !== pageKind.mixed) return kind === pageKind.zeros ? this.zero(index) : unknown;
    const at = (index % pageChunks) * digestBytes;
    return this.#page(number).bytes.subarray(at, at + digestBytes);
  }

  set(index: number, digest: Buffer): void {
    const before = this.get(index);
    if (before.equals(digest)) return;
    if (before.equals(unknown)) this.#unknown -= 1;
    if (digest.equals(unknown)) this.#unknown += 1;
    const page = this.#mixedPage(Math.floor(index / pageChunks));
    const at = (index % pageChunks) * digestBytes;
    digest.copy(page.bytes, at, 0, digestBytes);
    soil(page, at, at + digestBytes);
  }

  clear(index: number): void {
    this.set(index, unknown);
  }

  /** The chunks from `first` to before `after` are zeros. */
  setZeros(first: number, after: number): void {
    for (let index = first; index < after; ) {
      const number = Math.floor(index / pageChunks);
      const start = number * pageChunks;
      const end = Math.min(start + pageChunks, this.count);
      if (index === start && after >= end) {
        this.#become(number, pageKind.zeros);
        index = end;
      } else {
        this.set(index, this.zero(index));
        index += 1;
      }
    }
  }

  /** Takes over digests of consecutive chunks. */
  load(digests: Buffer, first = 0): void {
    for (let at = 0; at < digests.length; ) {
      const index = first + at / digestBytes;
      const number = Math.floor(index / pageChunks);
      const length = this.lengthOf(number) * digestBytes;
      if (index % pageChunks !== 0 || digests.length - at < length) {
        this.set(index, digests.subarray(at, at + digestBytes));
        at += digestBytes;
      } else {
        this.#loadPage(number, digests.subarray(at, at + length));
        at += length;
      }
    }
  }

  #loadPage(number: number, digests: Buffer): void {
    const kind = this.#kindOf(number, digests);
    this.#become(number, kind);
    if (kind !== pageKind.mixed) return;
    const page = this.#hold(number);
    digests.copy(page.bytes);
    soil(page, 0, digests.length);
    this.#unknown += countUnknown(digests);
  }

  #kindOf(number: number, digests: Buffer): number {
    const alike = (digest: (index: number) => Buffer): boolean => {
      for (let at = 0, index = number * pageChunks; at < digests.length; at += digestBytes, index += 1)
        if (digests.compare(digest(index), 0, digestBytes, at, at + digestBytes) !== 0) return false;
      return true;
    };
    if (alike(() => unknown)) return pageKind.unknown;
    return alike((index) => this.zero(index)) ? pageKind.zeros : pageKind.mixed;
  }

  /** Takes over what the store has: the kinds, and the digests of all mixed pages. */
  adopt(kinds: Uint8Array): void {
    this.forget();
    for (const [number, kind] of kinds.entries()) {
      this.#become(number, kind);
      if (kind === pageKind.mixed) this.#unknown += countUnknown(this.#digestsOf(number));
    }
  }

  /** Every chunk becomes one that is not known. */
  forget(): void {
    this.kinds.fill(pageKind.unknown);
    this.#pages.clear();
    this.#recent = undefined;
    this.#unknown = this.count;
  }

  /** Writes to the store what it does not have yet; with an index, of the page that chunk is in. */
  flush(index?: number): void {
    if (index === undefined) for (const [number, page] of this.#pages) this.#writeBack(number, page);
    else {
      const number = Math.floor(index / pageChunks);
      const page = this.#pages.get(number);
      if (page !== undefined) this.#writeBack(number, page);
    }
  }

  /** Chunks in a page; the last one may be shorter. */
  lengthOf(number: number): number {
    return Math.min(pageChunks, this.count - number * pageChunks);
  }

  /** The digests in order, page by page, each with the number of its first chunk. A view that is good until the next call. */
  *pages(): Generator<readonly [first: number, digests: Buffer]> {
    for (let number = 0; number < this.kinds.length; number += 1) yield [number * pageChunks, this.#digestsOf(number)];
  }

  #digestsOf(number: number): Buffer {
    const length = this.lengthOf(number);
    if (this.kinds[number] === pageKind.mixed) return this.#page(number).bytes.subarray(0, length * digestBytes);
    this.#alike ??= Buffer.alloc(pageBytes);
    if (this.kinds[number] === pageKind.zeros) this.#fillZeros(number, this.#alike);
    else this.#alike.fill(0);
    return this.#alike.subarray(0, length * digestBytes);
  }

  #fillZeros(number: number, bytes: Buffer): void {
    const length = this.lengthOf(number);
    bytes.fill(this.#zero, 0, length * digestBytes);
    const last = this.count - 1 - number * pageChunks;
    if (last < pageChunks) this.#lastZero.copy(bytes, last * digestBytes);
  }

  /** Chunks whose digest is not known. */
  get unknownCount(): number {
    return this.#unknown;
  }

  equals(index: number, digest: Buffer): boolean {
    return this.get(index).equals(digest);
  }

  isKnown(index: number): boolean {
    const kind = this.kinds[Math.floor(index / pageChunks)];
    return kind === pageKind.mixed ? !this.equals(index, unknown) : kind === pageKind.zeros;
  }

  /** Digest of a chunk of zeros in that place. */
  zero(index: number): Buffer {
    return index === this.count - 1 ? this.#lastZero : this.#zero;
  }

  isZero(index: number): boolean {
    const kind = this.kinds[Math.floor(index / pageChunks)];
    return kind === pageKind.mixed ? this.equals(index, this.zero(index)) : kind === pageKind.zeros;
  }

  /** SHA-256 over all digests, hexadecimal; undefined while one is not known. */
  root(): string | undefined {
    if (this.#unknown > 0) return undefined;
    const sum = createHash('sha256');
    for (const [, digests] of this.pages()) sum.update(digests);
    return sum.digest('hex');
  }

  close(): void {
    this.#store?.close();
  }

  /** A page turns into one kind throughout; the digests of a mixed one, and how many of them are unknown, are the caller's to say. */
  #become(number: number, kind: number): void {
    const length = this.lengthOf(number);
    const before = this.kinds[number];
    if (before === pageKind.unknown) this.#unknown -= length;
    else if (before === pageKind.mixed) this.#unknown -= countUnknown(this.#digestsOf(number));
    if (kind === pageKind.unknown) this.#unknown += length;
    if (this.#recent?.number === number) this.#recent = undefined;
    this.#pages.delete(number);
    this.kinds[number] = kind;
  }

  #mixedPage(number: number): Page {
    const kind = this.kinds[number];
    if (kind === pageKind.mixed) return this.#page(number);
    const page = this.#hold(number);
    if (kind === pageKind.zeros) this.#fillZeros(number, page.bytes);
    soil(page, 0, this.lengthOf(number) * digestBytes);
    this.kinds[number] = pageKind.mixed;
    return page;
  }

  #page(number: number): Page {
    if (this.#recent?.number === number) return this.#recent.page;
    const found = this.#pages.get(number);
    if (found !== undefined) {
      this.#pages.delete(number);
      this.#pages.set(number, found);
      this.#recent = { number, page: found };
      return found;
    }
    const page = this.#hold(number);
    this.#store?.read(number, page.bytes);
    return page;
  }

  /** A page of zero bytes in memory, in place of the one that was used longest ago. */
  #hold(number: number): Page {
    const [oldest] = this.#store === undefined || this.#pages.size < heldPages ? [] : this.#pages;
    if (oldest !== undefined) {
      this.#writeBack(...oldest);
      this.#pages.delete(oldest[0]);
    }
    // The same memory again: what is thrown away is collected late.
    const bytes = oldest?.[1].bytes.fill(0) ?? Buffer.alloc(pageBytes);
    const page: Page = { bytes, dirtyFrom: 0, dirtyTo: 0 };
    this.#pages.set(number, page);
    this.#recent = { number, page };
    return page;
  }

  #writeBack(number: number, page: Page): void {
    const { bytes, dirtyFrom, dirtyTo } = page;
    if (dirtyFrom === dirtyTo || this.#store === undefined) return;
    this.#store.write(number, bytes.subarray(dirtyFrom, dirtyTo), dirtyFrom);
    page.dirtyFrom = 0;
    page.dirtyTo = 0;
  }
}

function soil(page: Page, from: number, to: number): void {
  const clean = page.dirtyFrom === page.dirtyTo;
  page.dirtyFrom = clean ? from : Math.min(page.dirtyFrom, from);
  page.dirtyTo = clean ? to : Math.max(page.dirtyTo, to);
}

function countUnknown(digests: Buffer): number {
  let count = 0;
  for (let at = 0; at < digests.length; at += digestBytes) if (unknown.compare(digests, at, at + digestBytes) === 0) count += 1;
  return count;
}
