import { isDeepStrictEqual } from 'node:util';
import type { GuestFacts } from '@virt8ra/contract';
import type { Guest } from '../qemu/guest.js';
import { openGuestAgent } from './guest-agent.js';
import { readGuestFacts } from './guest-facts.js';

/** What a guest said of itself, and when. */
export interface GuestWord {
  readonly at: string;
  readonly facts: GuestFacts;
}

interface Inquired {
  readonly launchId: string;
  word?: GuestWord;
  /** On the clock that never jumps. */
  dueMs: number;
  toldMs: number;
  misses: number;
  asking: boolean;
}

const firstMs = 5_000;
const quietMs = 60_000;
const longestMs = 5 * 60_000;
/** What has hardly changed is told again after this long. */
const tellMs = 10 * 60_000;
/** Guests that are asked at the same time. */
const mostAtOnce = 4;

export interface InquiryOptions {
  /** A guest said something new. */
  readonly onWord: (key: string) => void;
  readonly wallMs: () => number;
  /** Milliseconds on a clock that never jumps. Default: the process's. */
  readonly nowMs?: () => number;
}

/**
 * Asks the agents inside guests, few at a time and seldom, what they tell of themselves; those that do not answer ever more seldom. Nobody waits for
 * an answer, and nothing is decided by one.
 */
export class GuestInquiry {
  readonly #options: InquiryOptions;
  readonly #nowMs: () => number;
  readonly #inquired = new Map<string, Inquired>();
  #asking = 0;

  constructor(options: InquiryOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? (() => performance.now());
  }

  /** What the guest said last. */
  of(key: string): GuestWord | undefined {
    return this.#inquired.get(key)?.word;
  }

  forget(key: string): void {
    this.#inquired.delete(key);
  }

  /** Asks a running guest when it is time; the answer settles when it has been asked and is not to be waited for. */
  async tend(key: string, guest: Guest): Promise<void> {
    const now = this.#nowMs();
    let inquired = this.#inquired.get(key);
    if (inquired?.launchId !== guest.launchId) {
      inquired = { launchId: guest.launchId, dueMs: now + firstMs, toldMs: now, misses: 0, asking: false };
      this.#inquired.set(key, inquired);
    }
    if (inquired.asking || now < inquired.dueMs || this.#asking >= mostAtOnce) return;
    inquired.asking = true;
    this.#asking += 1;
    await this.#ask(key, guest, inquired).finally(() => {
      this.#asking -= 1;
    });
  }

  async #ask(key: string, guest: Guest, inquired: Inquired): Promise<void> {
    const facts = await factsOf(guest).catch(() => undefined);
    const now = this.#nowMs();
    inquired.asking = false;
    inquired.misses = facts === undefined ? inquired.misses + 1 : 0;
    inquired.dueMs = now + (facts === undefined ? Math.min(firstMs * 2 ** inquired.misses, longestMs) : quietMs);
    if (facts === undefined || this.#inquired.get(key) !== inquired) return;
    if (inquired.word !== undefined && now - inquired.toldMs < tellMs && isMuchTheSame(inquired.word.facts, facts)) return;
    inquired.word = { at: new Date(this.#options.wallMs()).toISOString(), facts };
    inquired.toldMs = now;
    this.#options.onWord(key);
  }
}

async function factsOf(guest: Guest): Promise<GuestFacts | undefined> {
  const agent = await openGuestAgent(guest);
  try {
    return agent === undefined ? undefined : await readGuestFacts(agent);
  } finally {
    agent?.close();
  }
}

/** File systems fill and empty all the time: less than a hundredth of their size is no news. */
function isMuchTheSame(before: GuestFacts, now: GuestFacts): boolean {
  const { fileSystems: had = [], ...rest } = before;
  const { fileSystems: has = [], ...others } = now;
  if (!isDeepStrictEqual(rest, others) || had.length !== has.length) return false;
  return had.every((old, index) => {
    const fresh = has[index];
    if (fresh === undefined || fresh.mount !== old.mount || fresh.type !== old.type || fresh.sizeBytes !== old.sizeBytes) return false;
    return Math.abs(fresh.usedBytes - old.usedBytes) <= old.sizeBytes / 100;
  });
}
