import type { DesiredRestart } from '@virt8ra/contract';
import { describe, expect, it } from 'vitest';
import type { InstanceRecord } from './instance-store.js';
import { restartVerdict, withEnd, withoutEnds } from './restart-policy.js';

const record: InstanceRecord = { version: 1, key: 'i1', instance: 'res_1', restarts: 0, crashes: [], forwards: [], serialDropped: 0 };
const start = Date.parse('2026-01-01T00:00:00.000Z');
const wants = (policy: DesiredRestart['policy'], limit = 5, restarts = 0) => ({ restarts, restart: { policy, limit } });
const ended = (how: 'process' | 'guest' | 'host') => withEnd(record, how, start);

describe('a restart policy', () => {
  it('says for each way to end whether the guest is started again', () => {
    const verdicts = (['always', 'on-failure', 'never'] as const).map((policy) =>
      (['process', 'guest', 'host'] as const).map((how) => restartVerdict(ended(how), wants(policy), start + 5_000).type),
    );
    expect(verdicts).toEqual([
      ['start', 'start', 'start'],
      ['start', 'stay', 'start'],
      ['stay', 'stay', 'stay'],
    ]);
  });

  it('is on-failure with five restarts where none is given', () => {
    expect(restartVerdict(ended('guest'), { restarts: 0 }, start)).toMatchObject({ now: { problem: { code: 'guest-shutdown' } } });
    expect(restartVerdict(ended('process'), { restarts: 0 }, start)).toMatchObject({ type: 'wait', pauseMs: 1_000 });
  });

  it('starts what nobody stopped and what somebody asked for, whatever the policy', () => {
    expect(restartVerdict(record, wants('never'), start)).toEqual({ type: 'start', asked: true });
    expect(restartVerdict(ended('process'), wants('never', 5, 1), start)).toEqual({ type: 'start', asked: true });
    const asked = withoutEnds(ended('process'));
    expect(restartVerdict(asked, wants('never'), start)).toEqual({ type: 'start', asked: true });
    expect(asked.lastEnd).toEqual({ at: new Date(start).toISOString(), how: 'process' });
  });

  it('waits longer after each end, at most a minute, and stops at the limit', () => {
    let now = start;
    let current = record;
    const pauses: number[] = [];
    for (;;) {
      current = withEnd(current, 'process', now);
      const verdict = restartVerdict(current, wants('on-failure', 8), now);
      if (verdict.type !== 'wait') {
        expect(verdict).toMatchObject({ type: 'stay', now: { state: 'crashed', problem: { code: 'restart-limit' } } });
        break;
      }
      pauses.push(verdict.pauseMs / 1000);
      now += verdict.pauseMs;
      expect(restartVerdict(current, wants('on-failure', 8), now).type).toBe('start');
    }
    expect(pauses).toEqual([1, 2, 4, 8, 16, 32, 60, 60]);
  });

  it('forgets ends after ten minutes, and counts a guest that switches itself off again and again under always', () => {
    const later = start + 10 * 60_000;
    expect(withEnd(ended('process'), 'process', later).crashes).toHaveLength(1);
    expect(restartVerdict(ended('process'), wants('on-failure', 1), later)).toEqual({ type: 'start', asked: false });
    const twice = withEnd(ended('guest'), 'guest', start + 5_000);
    expect(restartVerdict(twice, wants('always', 1), start + 5_000)).toMatchObject({ now: { problem: { code: 'restart-limit' } } });
  });

  it('is not held up by a wall clock that was set back or forth', () => {
    expect(restartVerdict(ended('process'), wants('always'), start - 3_600_000)).toMatchObject({ type: 'start' });
    expect(restartVerdict(ended('process'), wants('always'), start - 60_000)).toMatchObject({ type: 'wait', pauseMs: 1_000 });
    expect(restartVerdict(ended('process'), wants('always'), start + 3_600_000)).toMatchObject({ type: 'start' });
  });
});
