import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import { Problem } from '@virt8ra/contract/plain';
import { errorCode, syncDirectory } from '../disk/atomic-file.js';
import { chunkLength, digestBytes, digestOf } from './chunks.js';
import { DigestTable } from './digest-table.js';
import { scratchPages } from './scratch-pages.js';
import type { ChunkPlace } from './wire.js';

/**
 * What a receiver holds, as an append-only file of records of 48 bytes: type u8, zero u8, disk u16, pass u32, index u32, SHA-256, CRC-32 of
 * the 44 bytes before it. The first record names the transfer. Records are appended when the target has taken the write, so that they outlive
 * a killed process; a checkpoint is appended and synced when the target was flushed, so that what is before it outlives a power loss.
 */
const recordBytes = 48;
const recordType = { header: 1, chunk: 2, unknown: 3, checkpoint: 4, complete: 5 } as const;
type RecordType = (typeof recordType)[keyof typeof recordType];

const blockRecords = 16_384;
const none = Buffer.alloc(digestBytes);
/** Rewritten when it is so much longer than a journal of just what is held. */
const longestTail = 1_000_000;

interface JournalRecord {
  readonly type: RecordType;
  readonly disk: number;
  readonly pass: number;
  readonly index: number;
  readonly digest: Buffer;
}

interface Queued {
  readonly record: Buffer;
  resolve(): void;
  reject(error: Problem): void;
}

export interface HeldChunk extends ChunkPlace {
  readonly digest: Buffer;
}

export class ReceiveJournal {
  /** Digest of every chunk of every disk, as journaled. */
  readonly tables: readonly DigestTable[];
  /** Highest pass seen. */
  pass = 0;
  /** Content bytes of all chunks ever journaled, chunks of zeros not counted. */
  bytes = 0;
  /** The transfer is over: nothing may be written any more. */
  complete = false;
  readonly #path: string;
  readonly #header: Buffer;
  #file: FileHandle;
  #records = 0;
  #appended = 0;
  /** Places written since the last checkpoint, with the number of the record. */
  #sinceCheckpoint: { readonly number: number; readonly disk: number; readonly index: number }[] = [];
  /** `bytes` as it will be when everything that queues is written: a checkpoint stands behind that in the file. */
  #queuedBytes = 0;
  #queue: Queued[] = [];
  #writing = false;
  #broken: Problem | undefined;

  private constructor(path: string, file: FileHandle, header: Buffer, tables: readonly DigestTable[]) {
    this.#path = path;
    this.#file = file;
    this.#header = header;
    this.tables = tables;
  }

  /**
   * Opens or begins the journal of a transfer. A new one begins with what `scan` finds on the disks. `lostCache`: since the last writer the
   * target may have lost what was not flushed (power loss, or its server was killed); what was written after the last checkpoint is then not
   * known any more. Raises Problem conflict when the file is of another transfer.
   */
  static async open(
    path: string,
    transferId: string,
    sizes: readonly number[],
    lostCache: boolean,
    scan: () => Promise<readonly DigestTable[]>,
  ): Promise<ReceiveJournal> {
    const identity = digestOf(Buffer.from(JSON.stringify({ transferId, sizes })));
    const header = encode({ type: recordType.header, disk: sizes.length, pass: 1, index: 0, digest: identity });
    const found = await readHeader(path);
    // The header is written whole: damage is a disk's fault, and what the disks themselves hold is the truth then as well.
    if (found === undefined) {
      const scanned = await scan();
      await replaceFile(path, shortest(header, scanned, 0, 0, false));
      for (const table of scanned) table.close();
    }
    if (found !== undefined && !found.equals(header))
      throw new Problem('conflict', `${path} is the journal of another transfer, or of disks of other sizes`);
    const file = await open(path, 'r+');
    const tables = sizes.map((sizeBytes) => new DigestTable(sizeBytes, scratchPages(dirname(path))));
    for (const table of tables) table.setZeros(0, table.count);
    const journal = new ReceiveJournal(path, file, header, tables);
    await journal.#replay();
    journal.#queuedBytes = journal.bytes;
    if (lostCache && journal.#sinceCheckpoint.length > 0) {
      for (const { disk, index } of journal.#sinceCheckpoint) tables[disk]?.clear(index);
      await journal.#rewrite();
    }
    return journal;
  }

  /** Whether the transfer of a journal is over: that is its last record. */
  static async isComplete(path: string): Promise<boolean> {
    const bytes = Buffer.alloc(recordBytes);
    try {
      const file = await open(path, 'r');
      try {
        const { size } = await file.stat();
        if (size >= recordBytes) await file.read(bytes, 0, recordBytes, size - (size % recordBytes) - recordBytes);
      } finally {
        await file.close();
      }
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error;
    }
    return decode(bytes)?.type === recordType.complete;
  }

  async #replay(): Promise<void> {
    const block = Buffer.alloc(blockRecords * recordBytes);
    let position = 0;
    for (;;) {
      const { bytesRead } = await this.#file.read(block, 0, block.length, position);
      const whole = bytesRead - (bytesRead % recordBytes);
      for (let at = 0; at < whole; at += recordBytes) {
        const record = decode(block.subarray(at, at + recordBytes));
        if (record === undefined || !this.#apply(record, position + at)) {
          // A torn tail was never acknowledged.
          await this.#file.truncate(position + at);
          return;
        }
      }
      position += whole;
      if (whole === 0 || bytesRead < block.length) break;
    }
    await this.#file.truncate(position);
  }

  /** False when the record makes no sense, like a torn one. */
  #apply({ type, disk, pass, index, digest }: JournalRecord, position: number): boolean {
    if (position === 0) {
      this.#records = 1;
      return true;
    }
    const number = this.#records;
    const table = this.tables[disk];
    switch (type) {
      case recordType.header:
        return false;
      case recordType.chunk:
      case recordType.unknown:
        if (table === undefined || index >= table.count) return false;
        if (type === recordType.unknown) table.clear(index);
        else this.#note({ disk, pass, index, digest }, number);
        break;
      case recordType.checkpoint:
        this.#sinceCheckpoint = this.#sinceCheckpoint.filter((entry) => entry.number >= index);
        this.bytes = Number(digest.readBigUInt64BE(0));
        this.pass = Math.max(this.pass, pass);
        break;
      case recordType.complete:
        this.complete = true;
        this.#sinceCheckpoint = [];
    }
    this.#records += 1;
    this.#appended += 1;
    return true;
  }

  #note({ disk, pass, index, digest }: HeldChunk, number: number): void {
    const table = this.tables[disk];
    if (table === undefined) return;
    table.set(index, digest);
    this.pass = Math.max(this.pass, pass);
    this.bytes += this.#contentBytes(disk, index, digest);
    this.#sinceCheckpoint.push({ number, disk, index });
  }

  #contentBytes(disk: number, index: number, digest: Buffer): number {
    const table = this.tables[disk];
    return table === undefined || table.zero(index).equals(digest) ? 0 : chunkLength(table.sizeBytes, index);
  }

  /** Journals a chunk that the target has taken; its digest counts as held when this returns. Raises Problem exhausted or internal. */
  async append(chunk: HeldChunk): Promise<void> {
    this.#queuedBytes += this.#contentBytes(chunk.disk, chunk.index, chunk.digest);
    await this.#append({ type: recordType.chunk, ...chunk }, (number) => this.#note(chunk, number));
  }

  /** Number for `checkpoint`: what is journaled now is covered by a flush that begins now. */
  get mark(): number {
    return this.#records;
  }

  get isCheckpointed(): boolean {
    return this.#sinceCheckpoint.length === 0;
  }

  /** The target was flushed after `mark` was read: what was journaled before it will outlive a power loss. */
  async checkpoint(mark: number): Promise<void> {
    await this.#append(checkpointRecord(this.pass, mark, this.#queuedBytes));
    await this.#sync();
    this.#sinceCheckpoint = this.#sinceCheckpoint.filter(({ number }) => number >= mark);
    if (this.#appended > longestTail && this.isCheckpointed && this.#queue.length === 0 && !this.#writing) await this.#rewrite();
  }

  /** Marks the transfer as over, durably. Everything must be checkpointed. */
  async finish(): Promise<void> {
    await this.#append({ type: recordType.complete, disk: 0, pass: this.pass, index: 0, digest: none });
    await this.#sync();
    this.complete = true;
  }

  async close(): Promise<void> {
    await this.#file.close();
    for (const table of this.tables) table.close();
  }

  #append(record: JournalRecord, then: (number: number) => void = () => {}): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = () => {
        then(this.#records);
        this.#records += 1;
        this.#appended += 1;
        resolve();
      };
      this.#queue.push({ record: encode(record), resolve: settle, reject });
      if (!this.#writing) void this.#drain();
    });
  }

  /** One write for all that queued up meanwhile. */
  async #drain(): Promise<void> {
    this.#writing = true;
    while (this.#queue.length > 0) {
      const batch = this.#queue;
      this.#queue = [];
      try {
        if (this.#broken !== undefined) throw this.#broken;
        const bytes = Buffer.concat(batch.map(({ record }) => record));
        const { bytesWritten } = await this.#file.write(bytes, 0, bytes.length, this.#records * recordBytes);
        if (bytesWritten !== bytes.length) throw new Error('a short write');
        for (const { resolve } of batch) resolve();
      } catch (error) {
        this.#broken ??= journalProblem(this.#path, error);
        for (const { reject } of batch) reject(this.#broken);
      }
    }
    this.#writing = false;
  }

  async #sync(): Promise<void> {
    try {
      await this.#file.datasync();
    } catch (error) {
      this.#broken ??= journalProblem(this.#path, error);
      throw this.#broken;
    }
  }

  /** Replaces the file by the shortest one that says the same, while appending waits. Everything held must be durable at the target. */
  async #rewrite(): Promise<void> {
    this.#writing = true;
    try {
      await this.#replace();
    } finally {
      this.#writing = false;
    }
    if (this.#queue.length > 0) void this.#drain();
  }

  async #replace(): Promise<void> {
    const records = await replaceFile(this.#path, shortest(this.#header, this.tables, this.pass, this.bytes, this.complete));
    await this.#file.close();
    this.#file = await open(this.#path, 'r+');
    this.#records = records;
    this.#appended = 0;
    this.#sinceCheckpoint = [];
  }
}

/** Undefined when there is none that is whole. */
async function readHeader(path: string): Promise<Buffer | undefined> {
  const bytes = Buffer.alloc(recordBytes);
  try {
    const file = await open(path, 'r');
    try {
      await file.read(bytes, 0, recordBytes, 0);
    } finally {
      await file.close();
    }
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
  }
  return decode(bytes)?.type === recordType.header ? bytes : undefined;
}

/** The shortest journal that says the same, all of it durable. */
function* shortest(header: Buffer, tables: readonly DigestTable[], pass: number, bytes: number, complete: boolean): Generator<Buffer> {
  yield header;
  let records = 1;
  for (const [disk, table] of tables.entries()) {
    for (let index = 0; index < table.count; index += 1) {
      if (table.isZero(index)) continue;
      const type = table.isKnown(index) ? recordType.chunk : recordType.unknown;
      yield encode({ type, disk, pass, index, digest: table.get(index) });
      records += 1;
    }
  }
  yield encode(checkpointRecord(pass, records, bytes));
  if (complete) yield encode({ type: recordType.complete, disk: 0, pass, index: 0, digest: none });
}

/** Covers the records before `mark`; carries the count of bytes. */
function checkpointRecord(pass: number, mark: number, bytes: number): JournalRecord {
  const digest = Buffer.alloc(digestBytes);
  digest.writeBigUInt64BE(BigInt(bytes), 0);
  return { type: recordType.checkpoint, disk: 0, pass, index: mark, digest };
}

function journalProblem(path: string, error: unknown): Problem {
  if (error instanceof Problem) return error;
  const full = errorCode(error) === 'ENOSPC' || errorCode(error) === 'EDQUOT';
  return new Problem(full ? 'exhausted' : 'internal', `${path} cannot be written${full ? ': the disk is full' : ''}`, { cause: error });
}

/** Answers how many pieces there were. */
async function replaceFile(path: string, pieces: Iterable<Buffer>): Promise<number> {
  const temporary = `${path}.new`;
  let count = 0;
  try {
    const file = await open(temporary, 'w', 0o600);
    try {
      let block: Buffer[] = [];
      for (const piece of pieces) {
        count += 1;
        block.push(piece);
        if (block.length < blockRecords) continue;
        await file.writeFile(Buffer.concat(block));
        block = [];
      }
      await file.writeFile(Buffer.concat(block));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    await syncDirectory(dirname(path));
    return count;
  } catch (error) {
    await rm(temporary, { force: true });
    throw journalProblem(path, error);
  }
}

function encode({ type, disk, pass, index, digest }: JournalRecord): Buffer {
  const bytes = Buffer.alloc(recordBytes);
  bytes.writeUInt8(type, 0);
  bytes.writeUInt16BE(disk, 2);
  bytes.writeUInt32BE(pass, 4);
  bytes.writeUInt32BE(index, 8);
  digest.copy(bytes, 12, 0, digestBytes);
  bytes.writeUInt32BE(crc32(bytes.subarray(0, 44)), 44);
  return bytes;
}

function decode(bytes: Buffer): JournalRecord | undefined {
  if (bytes.readUInt32BE(44) !== crc32(bytes.subarray(0, 44))) return undefined;
  const type = Object.values(recordType).find((known) => known === bytes.readUInt8(0));
  if (type === undefined) return undefined;
  return {
    type,
    disk: bytes.readUInt16BE(2),
    pass: bytes.readUInt32BE(4),
    index: bytes.readUInt32BE(8),
    digest: bytes.subarray(12, 12 + digestBytes),
  };
}
