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

const series = 3;

/**
 * Runs work again and again, one after the other, in three series; the first rounds of each warm up and do not count. The series with the least
 * median stands: what else a machine does comes and goes, what the work itself costs is in all of them.
 */
export async function timed(rounds: number, work: (round: number) => Promise<unknown>): Promise<Timing> {
  const warmUp = Math.ceil(rounds / 5);
  const timings: Timing[] = [];
  let round = 0;
  for (let at = 0; at < series; at += 1) {
    const durations: number[] = [];
    for (let turn = -warmUp; turn < rounds; turn += 1) {
      const begin = performance.now();
      await work(round++);
      if (turn >= 0) durations.push(performance.now() - begin);
    }
    timings.push(timingOf(durations));
  }
  return quietest(timings);
}

/** Of several series, the one with the least median. */
export function quietest(timings: readonly Timing[]): Timing {
  return timings.reduce((best, timing) => (timing.medianMs < best.medianMs ? timing : best));
}

export function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}
