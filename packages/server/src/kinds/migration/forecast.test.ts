import type { MoveForecast, PathLook } from '@virt8ra/contract';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { changeCurve } from './change-curve.js';
import { forecastMove } from './forecast.js';
import { correctionFrom } from './forecast-correction.js';
import type { DiskFacts, ForecastQuestion } from './forecast-question.js';
import { predictPauseMs } from './predict-pause.js';

const at = new Date('2026-05-01T12:00:00Z');
const minutesAgo = (minutes: number): string => new Date(at.getTime() - minutes * 60_000).toISOString();
const seen = { source: 'agent/a-1', observedAt: minutesAgo(1) };
const look = (source: PathLook['source'], bytesPerSecond: number, minutes = 5): PathLook => ({
  at: minutesAgo(minutes),
  source,
  bytesPerSecond,
});
/** 1 GB of a disk of 10 GB, of which nothing changes. */
const idle: DiskFacts = {
  name: 'boot',
  sizeBytes: 10e9,
  allocatedBytes: { value: 1e9, ...seen },
  changes: { writtenPerSecond: 0, distinct: [{ seconds: 10, bytes: 0 }], ...seen },
};
const writing = (perSecond: number): DiskFacts => ({
  ...idle,
  changes: {
    writtenPerSecond: perSecond,
    distinct: [
      { seconds: 10, bytes: perSecond * 10 },
      { seconds: 20, bytes: perSecond * 20 },
    ],
    ...seen,
  },
});
const question: ForecastQuestion = {
  at,
  mode: 'warm',
  minPasses: 1,
  isRunning: true,
  from: { site: 'a', host: 'a-1' },
  to: { site: 'b', host: 'b-1' },
  disks: [idle],
  path: [look('transfer', 100e6)],
  earlier: [],
};

describe('what a disk changes', () => {
  it.each([
    ['what is written alone counts as new every time', { writtenPerSecond: 5e6, sizeBytes: 1e9 }, 30, 150e6],
    ['never more than the disk', { writtenPerSecond: 5e6, sizeBytes: 100e6 }, 60, 100e6],
    ['two equal looks are all there is', { distinct: [10, 20].map((seconds) => ({ seconds, bytes: 64e6 })), sizeBytes: 1e9 }, 600, 64e6],
    [
      'growth without a bend goes on',
      { distinct: [10, 20].map((seconds) => ({ seconds, bytes: seconds * 1e6 })), sizeBytes: 1e9 },
      100,
      100e6,
    ],
    ['nothing stays nothing', { distinct: [{ seconds: 10, bytes: 0 }], sizeBytes: 1e9 }, 1000, 0],
  ])('%s', (_, changes, seconds, bytes) => {
    expect(changeCurve(changes)(seconds)).toBeGreaterThan(bytes * 0.99 - 1);
    expect(changeCurve(changes)(seconds)).toBeLessThan(bytes * 1.01 + 1);
  });

  it('is found again from two looks at a guest that writes at random within a working set', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), fc.double({ min: 0.2, max: 4, noNaN: true }), (megabytes, speed) => {
        const set = megabytes * 1e6;
        const truth = (seconds: number): number => set * -Math.expm1((-speed * seconds) / 20);
        const curve = changeCurve({ distinct: [10, 20].map((seconds) => ({ seconds, bytes: truth(seconds) })), sizeBytes: 1e12 });
        for (const seconds of [1, 10, 20, 60, 600]) expect(Math.abs(curve(seconds) - truth(seconds))).toBeLessThan(set * 0.02);
      }),
      { seed: 7 },
    );
  });
});

describe('a forecast', () => {
  it('of an idle guest is one copy, a short pause, and says so with confidence', () => {
    const { durationSeconds, pauseMs, bytes, convergence, confidence } = forecastMove(question);
    expect(bytes).toBe(1e9);
    expect(durationSeconds).toBeGreaterThan(10);
    expect(durationSeconds).toBeLessThan(40);
    expect(pauseMs).toBeLessThan(300);
    expect(convergence).toMatchObject({ verdict: 'converges', leftBytes: 0 });
    expect(confidence).toMatchObject({ level: 'high', reasons: [] });
  });

  it('tells beforehand that a guest writes faster than the link carries, and what would help', () => {
    const fast = forecastMove({ ...question, disks: [writing(400e6 / 1)], path: [look('transfer', 50e6)] });
    expect(fast.convergence).toMatchObject({ verdict: 'never', carriedBytesPerSecond: 50e6 });
    expect(fast.convergence.leftBytes).toBeGreaterThan(1e9);
    for (const name of ['durationSeconds', 'pauseMs', 'bytes'] as const) expect(fast).not.toHaveProperty(name);
    const held = forecastMove({ ...question, disks: [writing(80e6)], path: [look('transfer', 50e6)] });
    expect(held.convergence).toMatchObject({ verdict: 'with-throttle', reason: expect.stringMatching(/held below \d+ MB\/s/) });
    expect(held.convergence.limitBytesPerSecond).toBeLessThan(50e6);
    expect(forecastMove({ ...question, disks: [writing(5e6)] }).convergence).toMatchObject({ verdict: 'converges' });
    expect(forecastMove({ ...question, mode: 'cold', disks: [writing(400e6)] }).convergence).toMatchObject({ verdict: 'not-needed' });
  });

  it('lets a guest converge that writes much to few places', () => {
    const disks: DiskFacts[] = [
      {
        ...idle,
        changes: { writtenPerSecond: 400e6, distinct: [10, 20].map((seconds) => ({ seconds, bytes: 3e6 })), ...seen },
      },
    ];
    expect(forecastMove({ ...question, disks, path: [look('transfer', 50e6)] }).convergence).toMatchObject({ verdict: 'converges' });
  });

  it('has no figure where the link is not known, and says what is missing', () => {
    const blind = forecastMove({ ...question, path: [{ at: minutesAgo(3), source: 'probe', reason: 'host b-1 did not answer' }] });
    expect(blind).not.toHaveProperty('durationSeconds');
    expect(blind).not.toHaveProperty('bytes');
    expect(blind.convergence.verdict).toBe('unknown');
    expect(blind.confidence).toMatchObject({ level: 'low', reasons: [expect.stringContaining('host b-1 did not answer')] });
    expect(blind.from).toContainEqual({ what: 'link', of: 'a-1 → b-1', reason: 'host b-1 did not answer' });
  });

  it.each([
    ['a move counts more than an older probe', [look('transfer', 40e6, 1), look('probe', 300e6, 2)], undefined, 40e6],
    ['a newer probe counts up to what the host was seen to carry', [look('probe', 300e6, 1), look('transfer', 40e6, 60)], 90e6, 90e6],
    ['a slower probe than any move counts as it is', [look('probe', 3e6, 1), look('transfer', 40e6, 60)], 90e6, 3e6],
    ['a fast link before any move is bounded by what is usual', [look('probe', 900e6, 1)], undefined, 150e6],
  ])('believes what was measured: %s', (_, path, mover, rate) => {
    const moverPerSecond = mover === undefined ? {} : { moverPerSecond: { value: mover, ...seen } };
    expect(forecastMove({ ...question, path, ...moverPerSecond }).convergence.carriedBytesPerSecond).toBe(rate);
  });

  it('doubts what is old, varies, or was assumed', () => {
    const level = (change: Partial<ForecastQuestion>) => forecastMove({ ...question, ...change }).confidence;
    expect(level({ path: [look('transfer', 100e6, 26 * 60)] })).toMatchObject({
      level: 'medium',
      reasons: [expect.stringContaining('a day ago')],
    });
    const varying = [100e6, 60e6, 140e6].map((rate, index) => look('transfer', rate, index + 1));
    expect(level({ path: varying })).toMatchObject({ level: 'medium', reasons: [expect.stringContaining('varied')] });
    const { allocatedBytes: _, changes: __, ...bare } = idle;
    expect(level({ disks: [bare] })).toMatchObject({ level: 'low' });
  });

  it('counts what leaves a site by its price, and says when it has none', () => {
    const priced = forecastMove({ ...question, egressPrice: { perGB: 0.08, currency: 'EUR' } });
    expect(priced.egressCost).toEqual({ amount: 0.08, currency: 'EUR' });
    expect(forecastMove(question).from).toContainEqual(
      expect.objectContaining({ what: 'egress-price', reason: expect.stringContaining('does not say') }),
    );
    expect(forecastMove({ ...question, to: { site: 'a', host: 'a-2' }, egressPrice: { perGB: 0.08, currency: 'EUR' } })).not.toHaveProperty(
      'egressCost',
    );
  });

  it('of a live move adds the memory: in rounds, or at once where the guest is emulated', () => {
    const live = { ...question, mode: 'live' as const };
    const dirty = (value: number) => ({ bytes: 2e9, isEmulated: false, dirtyPerSecond: { value, ...seen } });
    expect(forecastMove({ ...live, memory: dirty(10e6) }).pauseMs).toBeLessThan(300);
    expect(forecastMove({ ...live, memory: dirty(200e6) }).convergence).toMatchObject({
      verdict: 'never',
      reason: expect.stringContaining('memory'),
    });
    const emulated = forecastMove({ ...live, memory: { bytes: 200e6, isEmulated: true } });
    expect(emulated.pauseMs).toBeGreaterThan(2000);
    expect(emulated.bytes).toBe(1.2e9);
  });

  it('never gets shorter by more writing, more data or a slower link, and is the same twice', () => {
    const amount = fc.integer({ min: 1, max: 400 });
    fc.assert(
      fc.property(
        amount,
        amount,
        amount,
        fc.constantFrom('warm' as const, 'cold' as const, 'live' as const),
        (data, writes, rate, mode) => {
          const of = (more: number, faster: number, slower: number): MoveForecast =>
            forecastMove({
              ...question,
              mode,
              disks: [{ ...writing(writes * 1e5 * faster), allocatedBytes: { value: data * more * 1e7, ...seen } }],
              path: [look('transfer', (rate * 1e6) / slower)],
            });
          const duration = ({ durationSeconds }: MoveForecast): number => durationSeconds ?? Number.POSITIVE_INFINITY;
          const plain = of(1, 1, 1);
          expect(of(1, 1, 1)).toEqual(plain);
          for (const worse of [of(2, 1, 1), of(1, 1, 2)])
            if (worse.convergence.verdict === plain.convergence.verdict)
              expect(duration(worse)).toBeGreaterThanOrEqual(duration(plain) * 0.999);
          const order = ['not-needed', 'converges', 'with-throttle', 'never'];
          expect(order.indexOf(of(1, 4, 1).convergence.verdict)).toBeGreaterThanOrEqual(order.indexOf(plain.convergence.verdict));
          const { confidence } = plain;
          for (const name of ['durationSeconds', 'pauseMs', 'bytes'] as const) {
            const value = plain[name];
            if (value === undefined) continue;
            expect(Number.isFinite(value) && value >= 0).toBe(true);
            expect(confidence[name]?.least).toBeLessThanOrEqual(value);
            expect(confidence[name]?.most).toBeGreaterThanOrEqual(value);
          }
        },
      ),
      { seed: 11 },
    );
  });
});

describe('earlier moves', () => {
  const took = (times: number, forecast = forecastMove(question)) => ({
    forecast,
    actual: {
      at: minutesAgo(60),
      durationSeconds: (forecast.durationSeconds ?? 0) * times,
      pauseMs: forecast.pauseMs ?? 0,
      bytes: forecast.bytes ?? 0,
    },
  });

  it('correct the next forecast: carefully while they are few, and never more than twofold', () => {
    expect(correctionFrom([], 'warm')).toEqual({ moves: 0, duration: 1, pause: 1, bytes: 1 });
    expect(correctionFrom([took(1.5)], 'warm').duration).toBeCloseTo(Math.sqrt(1.5), 2);
    expect(correctionFrom([took(1.5)], 'live')).toMatchObject({ moves: 0, duration: 1 });
    expect(
      correctionFrom(
        Array.from({ length: 20 }, () => took(100)),
        'warm',
      ),
    ).toMatchObject({ moves: 8, duration: 2 });
    expect(
      correctionFrom(
        Array.from({ length: 20 }, () => took(0.001)),
        'warm',
      ).duration,
    ).toBe(0.5);
  });

  it('bring the forecast to what the moves take, and do not run away from there', () => {
    const truth = (forecastMove(question).durationSeconds ?? 0) * 1.4;
    let earlier: ReturnType<typeof took>[] = [];
    let last = forecastMove(question);
    for (let round = 0; round < 8; round += 1) {
      last = forecastMove({ ...question, earlier });
      earlier = [took(truth / (last.durationSeconds ?? 1), last), ...earlier];
    }
    expect((last.durationSeconds ?? 0) / truth).toBeGreaterThan(0.93);
    expect((last.durationSeconds ?? 0) / truth).toBeLessThan(1.02);
  });
});

it('the pause is what is left over what is carried, and what a pause always takes', () => {
  const idlePause = predictPauseMs({ dirtyBytes: 0, bytesPerSecond: 0 });
  expect(idlePause).toBeLessThan(300);
  expect(predictPauseMs({ dirtyBytes: 50e6, bytesPerSecond: 50e6, rttMs: 10 })).toBe(idlePause + 1040);
  expect(predictPauseMs({ dirtyBytes: 1, bytesPerSecond: 0 })).toBe(Number.POSITIVE_INFINITY);
});
