import { problemTable } from '@virt8ra/contract';
import type { BootClock } from '../system/boot-clock.js';
import { kindFromCode } from './mover-port.js';

interface Row {
  readonly sinceMs: number;
  readonly count: number;
}

/** So often, and over so long a time, a mover must have failed without a byte in between before repeating it is given up. */
const attempts = 5;
const patienceMs = 30_000;

/**
 * Tells interruptions that pass by themselves (the other end is away, an agent starts again) from failures that repeating cannot mend. A full
 * disk is one at once; what is refused, damaged or unreadable is one when it stays so.
 */
export class Setbacks {
  readonly #clock: Pick<BootClock, 'sinceBootMs'>;
  readonly #rows = new Map<string, Row>();

  constructor(clock: Pick<BootClock, 'sinceBootMs'>) {
    this.#clock = clock;
  }

  /** Notes that a mover of the transfer failed with the code of a problem; true when another one would be in vain. */
  isLast(id: string, code: string): boolean {
    const kind = kindFromCode(code);
    if (kind === 'exhausted') return true;
    if (kind === 'cancelled' || problemTable[kind].retry !== 'never') {
      this.forget(id);
      return false;
    }
    const now = this.#clock.sinceBootMs();
    const { sinceMs, count } = this.#rows.get(id) ?? { sinceMs: now, count: 0 };
    this.#rows.set(id, { sinceMs, count: count + 1 });
    return count + 1 >= attempts && now - sinceMs >= patienceMs;
  }

  /** The transfer got on, or is over. */
  forget(id: string): void {
    this.#rows.delete(id);
  }
}
