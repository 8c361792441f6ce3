import { closeSync, existsSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { chunkCount, digestBytes, digestOf } from './chunks.js';
import { DigestTable, type PageStore, pageChunks } from './digest-table.js';

/**
 * What a sender knows: the digest of each chunk as the receiver acknowledged it, and its counters. One file: a head with counters and the
 * chunks in flight, then the kind of each page of digests, a byte each, then the pages that are of mixed kind, in place. It must survive a killed process, for which the kernel's cache is
 * enough; after a power loss neither dirty bitmaps nor this are believed, and everything is read anew.
 */
const magic = 'V8RASND2';
const slotCount = 64;
const slotBytes = 12;
const headBytes = 96 + slotCount * slotBytes;
const pageBytes = pageChunks * digestBytes;

export interface SendLedgerOptions {
  readonly directory: string;
  readonly transferId: string;
  readonly sizes: readonly number[];
  /** The digests are forgotten when this differs from the last time: another boot, a changed file. */
  readonly validity: string;
}

export class SendLedger {
  readonly tables: readonly DigestTable[];
  /** Pass that was begun last. */
  pass = 0;
  /** Passes that ended. */
  passes = 0;
  /** Content bytes sent, over all attempts. */
  bytes = 0;
  /** Of these, bytes sent again because nobody knew whether they had arrived. */
  resentBytes = 0;
  readonly #file: number;
  readonly #head = Buffer.alloc(headBytes);
  /** Where each disk's kinds of pages begin in the file. */
  readonly #kindsAt: readonly number[];
  /** Chunks in flight: place → slot. Those of an earlier process stay until they are sent again. */
  readonly #flying = new Map<string, number>();
  readonly #freeSlots: number[] = [];

  private constructor(file: number, sizes: readonly number[]) {
    this.#file = file;
    const kindsAt: number[] = [];
    let end = headBytes;
    const place = (bytes: number): number => {
      const at = end;
      end += bytes;
      return at;
    };
    const pages = sizes.map((sizeBytes) => Math.ceil(chunkCount(sizeBytes) / pageChunks));
    for (const count of pages) kindsAt.push(place(count));
    this.#kindsAt = kindsAt;
    this.tables = sizes.map((sizeBytes, disk) => new DigestTable(sizeBytes, pagesInFile(file, place((pages[disk] ?? 0) * pageBytes))));
  }

  static open({ directory, transferId, sizes, validity }: SendLedgerOptions): SendLedger {
    const path = join(directory, 'send.ledger');
    const found = existsSync(path);
    const ledger = new SendLedger(openSync(path, found ? 'r+' : 'w+', 0o600), sizes);
    const identity = digestOf(Buffer.from(JSON.stringify({ transferId, sizes })));
    const point = digestOf(Buffer.from(validity));
    if (found) ledger.#load(identity, point);
    else ledger.#resetSlots();
    ledger.#head.write(magic, 0, 'latin1');
    identity.copy(ledger.#head, 8);
    point.copy(ledger.#head, 40);
    ledger.#saveHead();
    return ledger;
  }

  #load(identity: Buffer, point: Buffer): void {
    const head = this.#head;
    readSync(this.#file, head, 0, headBytes, 0);
    if (head.toString('latin1', 0, 8) !== magic || !head.subarray(8, 40).equals(identity)) {
      head.fill(0);
      this.#resetSlots();
      this.forget();
      return;
    }
    this.pass = head.readUInt32BE(72);
    this.passes = head.readUInt32BE(76);
    this.bytes = Number(head.readBigUInt64BE(80));
    this.resentBytes = Number(head.readBigUInt64BE(88));
    for (let slot = 0; slot < slotCount; slot += 1) {
      const at = 96 + slot * slotBytes;
      if (head.readUInt32BE(at) === 0) this.#freeSlots.push(slot);
      else this.#flying.set(placeKey(head.readUInt32BE(at + 4), head.readUInt32BE(at + 8)), slot);
    }
    if (!head.subarray(40, 72).equals(point)) this.forget();
    else {
      for (const [disk, table] of this.tables.entries()) {
        const kinds = Buffer.alloc(table.kinds.length);
        readSync(this.#file, kinds, 0, kinds.length, this.#kindsAt[disk] ?? 0);
        table.adopt(kinds);
      }
    }
  }

  #resetSlots(): void {
    for (let slot = 0; slot < slotCount; slot += 1) this.#freeSlots.push(slot);
  }

  /** Nothing is known any more of what the chunks were. */
  forget(): void {
    for (const [disk, table] of this.tables.entries()) {
      table.forget();
      this.save(disk);
    }
  }

  beginPass(pass: number): void {
    this.pass = pass;
    this.#saveHead();
  }

  endPass(): void {
    this.passes += 1;
    this.#saveHead();
  }

  /** A chunk of that length goes out. */
  sending(disk: number, index: number, contentBytes: number): void {
    const key = placeKey(disk, index);
    let slot = this.#flying.get(key);
    if (slot !== undefined) this.resentBytes += contentBytes;
    else {
      slot = this.#freeSlots.pop() ?? 0;
      this.#flying.set(key, slot);
      const at = 96 + slot * slotBytes;
      this.#head.writeUInt32BE(1, at);
      this.#head.writeUInt32BE(disk, at + 4);
      this.#head.writeUInt32BE(index, at + 8);
    }
    this.bytes += contentBytes;
    this.#saveHead();
  }

  /** The receiver holds this content: it acknowledged it, or said so when the connection was made. */
  held(disk: number, index: number, digest: Buffer): void {
    const table = this.tables[disk];
    if (table === undefined) return;
    const page = Math.floor(index / pageChunks);
    const before = table.kinds[page];
    table.set(index, digest);
    table.flush(index);
    const kind = table.kinds[page];
    // The page first: a kind that the file tells is one that its pages bear out.
    if (kind !== undefined && kind !== before) writeSync(this.#file, Uint8Array.of(kind), 0, 1, (this.#kindsAt[disk] ?? 0) + page);
    const key = placeKey(disk, index);
    const slot = this.#flying.get(key);
    if (slot === undefined) return;
    this.#flying.delete(key);
    this.#freeSlots.push(slot);
    this.#head.writeUInt32BE(0, 96 + slot * slotBytes);
    this.#saveHead();
  }

  /** Writes the whole table of a disk, after changes to it in memory. */
  save(disk: number): void {
    const table = this.tables[disk];
    if (table === undefined) return;
    table.flush();
    writeSync(this.#file, table.kinds, 0, table.kinds.length, this.#kindsAt[disk] ?? 0);
  }

  close(): void {
    closeSync(this.#file);
  }

  #saveHead(): void {
    const head = this.#head;
    head.writeUInt32BE(this.pass, 72);
    head.writeUInt32BE(this.passes, 76);
    head.writeBigUInt64BE(BigInt(this.bytes), 80);
    head.writeBigUInt64BE(BigInt(this.resentBytes), 88);
    writeSync(this.#file, head, 0, headBytes, 0);
  }
}

function pagesInFile(file: number, start: number): PageStore {
  return {
    read: (page, into) => void readSync(file, into, 0, into.length, start + page * pageBytes),
    write: (page, bytes, from) => void writeSync(file, bytes, 0, bytes.length, start + page * pageBytes + from),
    close: () => {},
  };
}

function placeKey(disk: number, index: number): string {
  return `${disk}/${index}`;
}
