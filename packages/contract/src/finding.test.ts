import { expect, it } from 'vitest';
import { clockFinding, exitCodeOfFindings, findingsText, found, lifetimeFinding } from './finding.js';

const day = 24 * 3600 * 1000;

it.each([
  ['just renewed', { from: 0, until: 90 * day, now: day, renews: true }, 'pass'],
  ['beyond the middle though somebody should have renewed it', { from: 0, until: 90 * day, now: 60 * day, renews: true }, 'warn'],
  ['over', { from: 0, until: 90 * day, now: 90 * day, renews: true }, 'fail'],
  ['good for years', { from: 0, until: 3650 * day, now: 3000 * day, renews: false }, 'pass'],
  ['good for days only', { from: 0, until: 3650 * day, now: 3640 * day, renews: false }, 'warn'],
] as const)('says of a lifetime that is %s what is to be done', (_what, life, level) => {
  expect(lifetimeFinding('x', 'it', life, 'renew it')).toMatchObject({ level, ...(level === 'pass' ? {} : { mend: 'renew it' }) });
});

it.each([
  [200, 700, 'pass'],
  [2_600, 700, 'pass'],
  [5_000, 700, 'warn'],
  [-45_000, 700, 'fail'],
] as const)('takes clocks that are %i ms apart, known to %i ms, for %s', (offset, uncertainty, level) => {
  expect(clockFinding('x', 'the other', offset, uncertainty).level).toBe(level);
});

it('fails when anything fails, and prints how to mend what does not pass', () => {
  const findings = [found('a/b', 'pass', 'well', 'never shown'), found('c', 'warn', 'not so well', 'mend it')];
  expect(exitCodeOfFindings(findings)).toBe(0);
  expect(exitCodeOfFindings([...findings, found('d', 'fail', 'broken')])).toBe(1);
  expect(findingsText(findings)).toBe('pass  a/b  well\nwarn  c    not so well\n           → mend it\n1 passed, 1 to look at, 0 failed\n');
});
