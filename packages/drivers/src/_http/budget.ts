import { setTimeout as sleep } from 'node:timers/promises';
import { Problem } from '@virt8ra/contract';

/** What one credential may ask of its provider, shared by everybody who uses it, so that our loops do not starve the customer's own use. */
export interface Budget {
  /** Runs `work` when there is room for it. Raises `throttled` at once when that would take longer than `patienceMs`. */
  run<Value>(work: () => Promise<Value>, patienceMs?: number): Promise<Value>;
  /** The provider has had enough: half as much from now on, and nothing before `retryAfterSeconds` are over. */
  slowDown(retryAfterSeconds: number | undefined): void;
  /** Requests a second that are allowed now. */
  readonly perSecond: number;
}

export interface BudgetOptions {
  /** Requests at once. Default 8. */
  readonly concurrency?: number;
  /** Requests a second, and at once after a rest. Default 20. */
  readonly perSecond?: number;
  /** Milliseconds of a clock that only goes forward. */
  readonly now?: () => number;
}

const slowest = 0.2;
/** Answers without complaint until the whole rate is back, about. */
const recoverySteps = 50;
const patienceDefaultMs = 5_000;

export function createBudget({ concurrency = 8, perSecond: most = 20, now = () => performance.now() }: BudgetOptions = {}): Budget {
  let rate = most;
  /** When the next request may begin, were they evenly spread; it lags behind after a rest, by a second at most. */
  let nextAt = now();
  let pausedUntil = 0;
  let running = 0;
  const waiting: (() => void)[] = [];

  const startsAt = (): number => Math.max(Math.max(nextAt, now() - 1000), pausedUntil);

  return {
    get perSecond() {
      return rate;
    },
    slowDown(retryAfterSeconds) {
      rate = Math.max(rate / 2, slowest);
      pausedUntil = Math.max(pausedUntil, now() + (retryAfterSeconds ?? 1) * 1000);
    },
    async run(work, patienceMs = patienceDefaultMs) {
      const waitMs = startsAt() - now();
      if (waitMs > patienceMs)
        throw new Problem('throttled', 'the provider has asked us to slow down', { retryAfterSeconds: Math.ceil(waitMs / 1000) });
      nextAt = startsAt() + 1000 / rate;
      if (waitMs > 0) await sleep(waitMs);
      if (running >= concurrency) await new Promise<void>((resolve) => waiting.push(resolve));
      else running += 1;
      try {
        const value = await work();
        rate = Math.min(most, rate + most / recoverySteps);
        return value;
      } finally {
        // The place goes to the next in line, or becomes free.
        const next = waiting.shift();
        if (next === undefined) running -= 1;
        else next();
      }
    },
  };
}
