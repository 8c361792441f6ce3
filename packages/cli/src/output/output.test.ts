import { kinds, Problem } from '@virt8ra/contract';
import { describe, expect, it } from 'vitest';
import { columnsOf } from './columns.js';
import { problemText } from './problem-text.js';
import { progressText } from './progress-text.js';
import { tableText } from './table.js';
import { ageText, bytesText, durationText, pauseText, secondsFromText } from './units.js';

describe('units', () => {
  it('reads and writes durations', () => {
    const cases: [number, string][] = [
      [0, '0s'],
      [59.9, '59s'],
      [60, '1m'],
      [90, '1m30s'],
      [125, '2m'],
      [3660, '1h1m'],
      [7200, '2h'],
      [47 * 3600, '47h'],
      [48 * 3600, '2d'],
    ];
    for (const [seconds, text] of cases) expect(durationText(seconds)).toBe(text);
    const read: [string, number | undefined][] = [
      ['90', 90],
      ['0.5', 0.5],
      ['1h30m', 5400],
      ['2d', 172800],
      ['', undefined],
      ['m', undefined],
      ['5x', undefined],
    ];
    for (const [text, seconds] of read) expect(secondsFromText(text)).toBe(seconds);
  });

  it('writes bytes, pauses and ages', () => {
    expect([0, 1023, 1024, 1536, 150 * 1024 ** 2, 1.5 * 1024 ** 3].map(bytesText)).toEqual([
      '0 B',
      '1023 B',
      '1 KiB',
      '1.5 KiB',
      '150 MiB',
      '1.5 GiB',
    ]);
    expect([420.4, 1240].map(pauseText)).toEqual(['420 ms', '1.24 s']);
    const now = Date.parse('2026-01-01T00:01:00Z');
    expect(['2026-01-01T00:00:48Z', '2026-01-01T00:02:00Z', 'rubbish', undefined].map((at) => ageText(at, now))).toEqual([
      '12s',
      '0s',
      '-',
      '-',
    ]);
  });
});

describe('table', () => {
  it('aligns columns', () => {
    expect(
      tableText(
        ['NAME', 'X'],
        [
          ['a', 'long one'],
          ['bcdefg', ''],
        ],
        undefined,
      ),
    ).toBe('NAME    X\na       long one\nbcdefg\n');
  });

  it('cuts the widest cells of a narrow terminal and never wraps', () => {
    const text = tableText(['NAME', 'REASON', 'AGE'], [['web', 'no site has four GiB of memory free', '12s']], 30);
    expect(text).toContain('no site has four G…');
    for (const line of text.trimEnd().split('\n')) expect(line.length).toBeLessThanOrEqual(30);
  });

  it('pads what was coloured by what is seen', () => {
    const text = tableText(
      ['S', 'N'],
      [
        ['up', 'a'],
        ['down', 'b'],
      ],
      undefined,
      (cell) => `\u001b[32m${cell}\u001b[0m`,
    );
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the colours are what is taken out
    expect(text.replace(/\u001b\[\d+m/g, '')).toBe('S     N\nup    a\ndown  b\n');
  });
});

describe('columns', () => {
  it('exist for every kind and survive a resource without status', () => {
    for (const kind of kinds) {
      const columns = columnsOf(kind, true);
      // Name, age and labels alone tell nothing of a kind.
      expect(columns.length, kind.kind).toBeGreaterThan(3);
      if (kind.status === undefined) continue;
      const bare = { metadata: { name: 'x' } } as never;
      const state = columns.find((column) => column.title === 'STATE');
      expect(state?.cell(bare, 0), kind.kind).toBe('-');
    }
  });
});

describe('progress', () => {
  it('shows what is known only', () => {
    const base = { phase: 'copy', bytes: 0, totalBytes: 0, bytesPerSecond: 0, etaSeconds: null, updatedAt: '' };
    expect(progressText(base)).toBe('copy');
    expect(progressText({ ...base, bytes: 2048 })).toBe('copy      2 KiB');
    expect(progressText({ ...base, pass: 2, bytes: 3, totalBytes: 2, bytesPerSecond: 1, etaSeconds: 0 })).toContain('100%');
  });
});

describe('problem', () => {
  it('is told with its place and how to mend it', () => {
    const problem = new Problem('validation', 'the zone does not exist', { sources: [{ pointer: '/spec/zone' }, { parameter: 'limit' }] });
    expect(problemText(problem)).toBe('error: the zone does not exist\n  at /spec/zone\n  at parameter limit\n');
    expect(problemText(new Problem('unauthorized', 'no'), { contextName: 'lab', server: 'https://x' })).toContain(
      'virt8ra login --server https://x',
    );
    expect(problemText(new Problem('exhausted', 'full'))).toContain('virt8ra sites');
    expect(problemText(new Problem('unavailable', 'busy', { retryAfterSeconds: 7 }))).toContain('try again in 7 s');
    expect(problemText(new Problem('internal', 'bad \u001b[2Jthing'))).toBe('error: bad thing\n');
  });
});
