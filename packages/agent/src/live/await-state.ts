import { Problem } from '@virt8ra/contract';
import type { Monitor } from '../qemu/monitor.js';

export interface AwaitOptions {
  readonly signal: AbortSignal;
  readonly timeoutMs?: number;
  /** Looked again so often without an event. */
  readonly lookMs?: number;
}

/**
 * Looks at a hypervisor until there is an answer, again at each of its events. Raises Problem unavailable when time is up or the hypervisor is
 * gone, and the signal's reason when it is aborted.
 */
export async function awaitState<Found>(
  monitor: Monitor,
  what: string,
  look: () => Promise<Found | undefined>,
  options: AwaitOptions,
): Promise<Found> {
  const { signal, timeoutMs, lookMs = 500 } = options;
  const end = performance.now() + (timeoutMs ?? Number.POSITIVE_INFINITY);
  let wake: () => void = () => {};
  let happened = false;
  let gone = false;
  const stir = () => {
    happened = true;
    wake();
  };
  const stopListening = monitor.onEvent(stir);
  void monitor.closed.then(() => {
    gone = true;
    wake();
  });
  signal.addEventListener('abort', stir);
  try {
    for (;;) {
      happened = false;
      signal.throwIfAborted();
      const found = await look();
      if (found !== undefined) return found;
      if (gone) throw new Problem('unavailable', `the guest’s process ended while ${what}`);
      const leftMs = end - performance.now();
      if (leftMs <= 0) throw new Problem('unavailable', `${what} took longer than ${(timeoutMs ?? 0) / 1000} s`);
      if (happened) continue;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(lookMs, leftMs));
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  } finally {
    stopListening();
    signal.removeEventListener('abort', stir);
  }
}
