import { type FSWatcher, type Stats, watch } from 'node:fs';
import { type FileHandle, lstat } from 'node:fs/promises';
import { cutPartOf, serialLimitBytes } from '../qemu/serial-log.js';
import { openGuestFile } from '../system/guest-files.js';

/** A look without being told, should the kernel have lost a word of a change. */
const lookMs = 1_000;
const pieceBytes = 64 * 1024;

/**
 * Follows a serial log, to which QEMU appends and which this agent cuts (see `serial-log.ts`). The log is the one source of a console's output:
 * what is shown, what is kept and what is counted are the same octets, each once and in order.
 */
export class SerialTail {
  readonly #path: string;
  readonly #onOctets: (octets: Buffer) => void;
  /** In the file as it is now: everything before was handed over or was there at the start. */
  #offset = 0;
  /** Which part was cut off last. */
  #cut = '';
  #turn: Promise<void> = Promise.resolve();
  #asked = false;
  #watcher: FSWatcher | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  private constructor(path: string, onOctets: (octets: Buffer) => void) {
    this.#path = path;
    this.#onOctets = onOctets;
  }

  /** Follows from the end of what is there. A file that does not exist yet is awaited. */
  static async open(path: string, onOctets: (octets: Buffer) => void): Promise<SerialTail> {
    const tail = new SerialTail(path, onOctets);
    tail.#cut = await cutOf(path);
    tail.#offset = await sizeOf(path);
    tail.#timer = setInterval(() => tail.#look(), lookMs);
    tail.#watch();
    return tail;
  }

  /** Runs `task` with the newest `bytes` before what will be handed over next; nothing is handed over meanwhile. */
  async withPast(bytes: number, task: (past: Buffer) => void): Promise<void> {
    const turn = this.#turn.then(async () => {
      await this.#pump();
      if (this.#closed) return;
      task(await lastOctets(this.#path, this.#offset, bytes));
    });
    this.#turn = turn.catch(() => {});
    await turn;
  }

  close(): void {
    this.#closed = true;
    this.#watcher?.close();
    clearInterval(this.#timer);
  }

  #watch(): void {
    if (this.#watcher !== undefined || this.#closed) return;
    try {
      const watcher = watch(this.#path, () => this.#look());
      watcher.on('error', () => watcher.close());
      watcher.on('close', () => {
        if (this.#watcher === watcher) this.#watcher = undefined;
      });
      this.#watcher = watcher;
    } catch {
      // Not there yet, or the host has no more watches to give: the timer looks.
    }
  }

  #look(): void {
    this.#watch();
    if (this.#asked || this.#closed) return;
    this.#asked = true;
    this.#turn = this.#turn
      .then(async () => {
        this.#asked = false;
        await this.#pump();
      })
      .catch(() => {});
  }

  /** Each piece is taken only when no cut came in between: else it stands in the part that was cut off, from the same place on. */
  async #pump(): Promise<void> {
    const file = await openGuestFile(this.#path, 'r');
    if (file === undefined) return;
    try {
      for (;;) {
        if ((await cutOf(this.#path)) !== this.#cut) await this.#takeCutPart();
        const piece = await pieceAt(file, this.#offset);
        if ((await cutOf(this.#path)) !== this.#cut) continue;
        if (piece.length === 0 || this.#closed) return;
        this.#offset += piece.length;
        this.#onOctets(piece);
      }
    } finally {
      await file.close();
    }
  }

  /** The file was cut since: what was still to be read of it stands in the part that was cut off. */
  async #takeCutPart(): Promise<void> {
    const part = await openGuestFile(cutPartOf(this.#path), 'r');
    const from = this.#offset;
    this.#offset = 0;
    if (part === undefined) {
      this.#cut = await cutOf(this.#path);
      return;
    }
    try {
      this.#cut = nameOf(await part.stat());
      for (let at = from; ; ) {
        const piece = await pieceAt(part, at);
        if (piece.length === 0 || this.#closed) return;
        at += piece.length;
        this.#onOctets(piece);
      }
    } finally {
      await part.close();
    }
  }
}

async function pieceAt(file: FileHandle, at: number): Promise<Buffer> {
  const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(pieceBytes), 0, pieceBytes, at);
  return buffer.subarray(0, bytesRead);
}

/** All that is kept of a serial log, about twice what the log is cut at at most. */
export async function keptOctets(path: string): Promise<Buffer> {
  return await lastOctets(path, await sizeOf(path), 2 * serialLimitBytes);
}

async function lastOctets(path: string, end: number, bytes: number): Promise<Buffer> {
  const fromLog = Math.min(bytes, end);
  const newest = await range(path, end - fromLog, fromLog);
  const missing = bytes - fromLog;
  if (missing <= 0) return newest;
  const cutBytes = await sizeOf(cutPartOf(path));
  const fromCut = Math.min(missing, cutBytes);
  return Buffer.concat([await range(cutPartOf(path), cutBytes - fromCut, fromCut), newest]);
}

async function range(path: string, from: number, length: number): Promise<Buffer> {
  if (length === 0) return Buffer.alloc(0);
  const file = await openGuestFile(path, 'r');
  if (file === undefined) return Buffer.alloc(0);
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(length), 0, length, from);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/** Names the part that was cut off last, as no other one is named. */
async function cutOf(path: string): Promise<string> {
  return await lstat(cutPartOf(path)).then(nameOf, () => '');
}

function nameOf({ ino, mtimeMs, size }: Stats): string {
  return `${ino}/${mtimeMs}/${size}`;
}

async function sizeOf(path: string): Promise<number> {
  const file = await openGuestFile(path, 'r');
  if (file === undefined) return 0;
  try {
    return (await file.stat()).size;
  } finally {
    await file.close();
  }
}
