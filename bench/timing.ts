/** Middle and tail of a set of durations, in milliseconds. */
export interface Timing {
  readonly medianMs: number;
  readonly p99Ms: number;
}

export function timingOf(durations: readonly number[]): Timing {
  const sorted = [...durations].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
  return { medianMs: rounded(at(0.5)), p99Ms: rounded(at(0.99)) };
}

/** Runs work again and again, one after the other; the first rounds warm up and do not count. */
export async function timed(rounds: number, work: (round: number) => Promise<unknown>): Promise<Timing> {
  const warmUp = Math.ceil(rounds / 5);
  const durations: number[] = [];
  for (let round = -warmUp; round < rounds; round += 1) {
    const begin = performance.now();
    await work(round + warmUp);
    if (round >= 0) durations.push(performance.now() - begin);
  }
  return timingOf(durations);
}

export function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}
