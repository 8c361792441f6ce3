import { describe, expect, it } from 'vitest';
import type { ScaleRow } from './scale.js';
import { ratiosOf, tableOf } from './table.js';
import { timed, timingOf } from './timing.js';

const row = (resources: number, medianMs: number): ScaleRow => {
  const timing = { medianMs, p99Ms: medianMs * 3 };
  return {
    resources,
    writesPerSecond: 1000,
    get: timing,
    put: timing,
    list: { medianMs: 4, p99Ms: 9 },
    labels: timing,
    watch: timing,
    serverMiB: 140,
  };
};

describe('table', () => {
  it('compares every row with the first', () => {
    const ratios = ratiosOf([row(1000, 2), row(10_000, 3)]);
    expect(ratios.filter(({ resources }) => resources === 10_000).map(({ what, ratio }) => [what, ratio])).toEqual([
      ['get', 1.5],
      ['put', 1.5],
      ['list', 1],
      ['labels', 1.5],
      ['watch', 1.5],
    ]);
    expect(tableOf([row(1000, 2), row(10_000, 3)])).toContain('3.0 (9, 1.50x)');
  });
});

describe('timing', () => {
  it('finds the middle and the tail', () => {
    expect(timingOf([...Array(100).keys()])).toEqual({ medianMs: 50, p99Ms: 99 });
  });

  it('leaves the warm-up out', async () => {
    const rounds: number[] = [];
    const timing = await timed(10, async (round) => {
      rounds.push(round);
      if (round % 12 < 2) await new Promise((resolve) => setTimeout(resolve, 20));
    });
    expect(rounds).toEqual([...Array(36).keys()]);
    expect(timing.p99Ms).toBeLessThan(20);
  });
});
