import { describe, expect, it } from 'vitest';
import { dueSince, nextDue } from './clock.js';

const at = (text: string) => new Date(`2026-03-${text}Z`);

describe('a schedule', () => {
  it.each([
    { every: { hours: 6 }, after: '01T10:00:00', next: '01T16:00:00' },
    { every: { dailyAt: '02:30' }, after: '01T01:00:00', next: '01T02:30:00' },
    { every: { dailyAt: '02:30' }, after: '01T02:30:00', next: '02T02:30:00' },
    { every: { dailyAt: '00:00' }, after: '31T23:59:59', next: '32T00:00:00' },
  ])('$every is due after $after at $next', ({ every, after, next }) => {
    const expected = next.startsWith('32') ? new Date('2026-04-01T00:00:00Z') : at(next);
    expect(nextDue(every, at(after))).toEqual(expected);
  });

  it('of hours is due at once when it is new, one of a time of day when that comes', () => {
    const now = at('01T10:00:00');
    expect(dueSince({ hours: 6 }, undefined, now, now)).toEqual(now);
    expect(dueSince({ dailyAt: '12:00' }, undefined, now, now)).toBeUndefined();
    expect(dueSince({ dailyAt: '12:00' }, undefined, now, at('01T12:00:00'))).toEqual(at('01T12:00:00'));
  });

  it('that was missed several times is due once, for the newest of them', () => {
    const last = at('01T10:00:00');
    expect(dueSince({ hours: 6 }, last, last, at('02T11:00:00'))).toEqual(at('02T10:00:00'));
    expect(dueSince({ dailyAt: '02:30' }, last, last, at('04T00:00:00'))).toEqual(at('03T02:30:00'));
    expect(dueSince({ hours: 6 }, last, last, at('01T15:59:59'))).toBeUndefined();
  });
});
