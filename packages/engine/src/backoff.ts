export interface Backoff {
  readonly baseSeconds: number;
  readonly capSeconds: number;
}

export const defaultBackoff: Backoff = { baseSeconds: 1, capSeconds: 60 };

/**
 * Seconds to wait after the `failures`-th failure in a row (1 is the first): doubling up to the cap, then jittered down by up to half so
 * that many that failed together do not return together. `atLeastSeconds` is what the other side asked for and is never undercut.
 */
export function backoffSeconds(backoff: Backoff, failures: number, atLeastSeconds = 0, random: () => number = Math.random): number {
  const doubled = Math.min(backoff.capSeconds, backoff.baseSeconds * 2 ** Math.min(failures - 1, 30));
  return Math.max(atLeastSeconds, doubled * (0.5 + random() / 2));
}
