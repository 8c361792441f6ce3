import { statfs } from 'node:fs/promises';
import { Problem } from '@virt8ra/contract/plain';
import { errorCode } from './atomic-file.js';

const mib = 1024 ** 2;
const fullWords = /No space left on device|Disk quota exceeded/;

/** Room of a filesystem, in bytes. */
export interface Room {
  readonly freeBytes: number;
  readonly totalBytes: number;
}

/** What fills up: a filesystem, told by a folder on it, or something else that has a name. */
export type Filling = string | RoomSource;

export interface RoomSource {
  /** As messages name it, such as “the thin pool vg/pool”. */
  readonly name: string;
  look(): Promise<Room>;
}

/** The room there is now. */
export async function lookAt(filling: Filling): Promise<Room> {
  return typeof filling === 'string' ? await roomAt(filling) : await filling.look();
}

export async function roomAt(directory: string): Promise<Room> {
  const { bsize, blocks, bavail } = await statfs(directory);
  return { freeBytes: bsize * bavail, totalBytes: bsize * blocks };
}

/** True when a filesystem or a quota had no room: as a system error, in a command's own words, or as the cause of what was thrown. */
export function isDiskFull(thrown: unknown): boolean {
  for (let error = thrown; error instanceof Error; error = error.cause) {
    if (error instanceof Problem && error.kind === 'exhausted') return true;
    const code = errorCode(error);
    if (code === 'ENOSPC' || code === 'EDQUOT' || fullWords.test(error.message)) return true;
  }
  return false;
}

/**
 * Problem exhausted that says how much there is, how much may still be needed (0: not known), and how to mend it. The facts carry the same:
 * `freeBytes`, `totalBytes`, `neededBytes`.
 */
export async function diskFull(filling: Filling, neededBytes: number, cause?: unknown): Promise<Problem> {
  return fullProblem(await lookAt(filling), filling, neededBytes, cause);
}

function fullProblem({ freeBytes, totalBytes }: Room, filling: Filling, neededBytes: number, cause?: unknown): Problem {
  const where = typeof filling === 'string' ? { directory: filling } : { place: filling.name };
  const facts = { ...where, freeBytes, totalBytes, neededBytes };
  const name = typeof filling === 'string' ? `the disk of ${filling}` : filling.name;
  const needed = neededBytes === 0 ? '' : `, up to ${sized(neededBytes)} more are needed`;
  return new Problem(
    'exhausted',
    `${name} is full: ${sized(freeBytes)} of ${sized(totalBytes)} are free${needed}. Free some space there, or choose another host.`,
    { facts, ...(cause === undefined ? {} : { cause }) },
  );
}

/** The host must still be able to write down what it is told when a copy has filled its disk. */
function keptBytes(totalBytes: number): number {
  return Math.min(64 * mib, totalBytes / 16);
}

/**
 * Why a guest that was stopped because a write found no room must wait still; undefined: there is room again. The agent, too, needs some to write
 * down what it is told.
 */
export async function stillFull(filling: Filling): Promise<string | undefined> {
  const { freeBytes, totalBytes } = await lookAt(filling);
  const needed = keptBytes(totalBytes);
  if (freeBytes >= needed) return undefined;
  const name = typeof filling === 'string' ? 'the disk of its host' : filling.name;
  return `the guest is paused because ${name} is full: ${sized(freeBytes)} of ${sized(totalBytes)} are free; it goes on by itself, and has lost nothing, when ${sized(needed)} are`;
}

/** Raises Problem exhausted when `bytes` more would eat what is kept for the host itself. */
export async function requireRoom(filling: Filling, bytes: number): Promise<void> {
  const room = await lookAt(filling);
  if (room.freeBytes - keptBytes(room.totalBytes) < bytes) throw fullProblem(room, filling, bytes);
}

/** Watches over the room that a long write eats up, so that it ends before the last bytes are gone. Writes may overlap. */
export class RoomGauge {
  readonly #filling: Filling;
  readonly #look: () => Promise<Room>;
  #trustedBytes = 0;
  /** Let through and perhaps not written yet: a look at the filesystem does not see it. */
  #openBytes = 0;
  #turn: Promise<void> = Promise.resolve();

  constructor(filling: Filling, look = () => lookAt(filling)) {
    this.#filling = filling;
    this.#look = look;
  }

  /**
   * Writes `bytes` by `write`; `neededBytes` is what may still come, for the message. Raises Problem exhausted, before anything is written, when
   * they would eat what is kept for the host itself.
   */
  async hold(bytes: number, neededBytes: number, write: () => Promise<void>): Promise<void> {
    const turn = this.#turn.then(async () => await this.#take(bytes, neededBytes));
    this.#turn = turn.catch(() => {});
    await turn;
    try {
      await write();
    } finally {
      this.#openBytes -= bytes;
    }
  }

  async #take(bytes: number, neededBytes: number): Promise<void> {
    if (bytes > this.#trustedBytes) {
      const room = await this.#look();
      const usable = room.freeBytes - this.#openBytes - keptBytes(room.totalBytes);
      if (usable < bytes) throw fullProblem(room, this.#filling, neededBytes);
      // Others write here too: half of it is believed until the next look.
      this.#trustedBytes = Math.max(bytes, usable / 2);
    }
    this.#trustedBytes -= bytes;
    this.#openBytes += bytes;
  }
}

function sized(bytes: number): string {
  return bytes >= 1024 * mib ? `${(bytes / (1024 * mib)).toFixed(2)} GiB` : `${(bytes / mib).toFixed(1)} MiB`;
}
