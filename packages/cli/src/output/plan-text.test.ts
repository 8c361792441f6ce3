import type { MigrationPlan, MoveForecast } from '@virt8ra/contract';
import { describe, expect, it } from 'vitest';
import { forecastText } from './forecast-text.js';
import { planText } from './plan-text.js';

const at = '2026-05-01T12:00:00.000Z';
const now = Date.parse(at);
const forecast: MoveForecast = {
  at,
  mode: 'warm',
  durationSeconds: 95,
  pauseMs: 210,
  bytes: 3 * 1024 ** 3,
  convergence: { verdict: 'converges', reason: 'it changes 1.0 MB/s and 40 MB/s are carried' },
  confidence: {
    level: 'medium',
    durationSeconds: { least: 70, most: 130 },
    pauseMs: { least: 150, most: 320 },
    bytes: { least: 2 * 1024 ** 3, most: 4 * 1024 ** 3 },
    reasons: ['the link was measured more than an hour ago'],
  },
  correction: { moves: 2, duration: 1.1, pause: 1, bytes: 1 },
  from: [
    { what: 'link', of: 'a-1 → b-1', value: 40 * 1024 ** 2, unit: 'bytes/s', source: 'probe', observedAt: '2026-05-01T11:58:00.000Z' },
    { what: 'disk-changes', of: 'data', reason: 'not measured yet' },
    { what: 'egress-price', of: 'south', reason: 'site south does not say what a GB that leaves it costs' },
  ],
};
const plan: MigrationPlan = {
  instance: 'web',
  at,
  verdict: 'ready',
  from: { site: 'south', host: 'a-1' },
  to: { site: 'north', host: 'b-1' },
  mode: 'warm',
  rungs: [
    { mode: 'live', possible: false, reason: 'it runs under tcg and host b-1 has kvm' },
    { mode: 'warm', possible: true },
    { mode: 'cold', possible: true },
  ],
  ranking: [
    { site: 'north', host: 'b-1', fits: true, reason: 'fits, 40 % of its tightest resource stays free' },
    { site: 'north', host: 'b-2', fits: false, reason: 'the host is cordoned', mend: 'uncordon b-2' },
  ],
  findings: [{ code: 'clock', severity: 'warns', what: 'its clock is 7 s ahead', where: 'host/b-1', mend: 'chronyc makestep\u001b[2J' }],
  forecast,
};
const plainly = (given: MigrationPlan): string => planText(given, { now, paint: (_, text) => text });

describe('a plan', () => {
  it('is read at a glance: the verdict, where, how and why not better, what it takes, what was found', () => {
    expect(plainly(plan)).toBe(
      [
        'web can be moved warm, 1 to know of. Nothing was changed.',
        'from        host a-1 at south',
        'to          host b-1 at north: fits, 40 % of its tightest resource stays free',
        '            not b-2: the host is cordoned (uncordon b-2)',
        'how         live  not possible: it runs under tcg and host b-1 has kvm',
        '            warm  this',
        '            cold  possible',
        'takes       about 1m35s (1m10s to 2m)',
        'pause       about 210 ms (150 ms to 320 ms)',
        'sends       about 3 GiB (2 GiB to 4 GiB)',
        'egress      not known: site south does not say what a GB that leaves it costs',
        'converges   yes: it changes 1.0 MB/s and 40 MB/s are carried',
        'confidence  medium; the link was measured more than an hour ago',
        '            corrected by 2 earlier moves between these hosts (duration ×1.10)',
        'made from   link a-1 → b-1: 40 MiB/s (probe, 2m ago)',
        '            disk changes data: not measured yet',
        'findings',
        '  warns   clock, host/b-1: its clock is 7 s ahead',
        // What others wrote does not move the cursor.
        '          → chronyc makestep',
        '',
      ].join('\n'),
    );
  });

  it('says first that it cannot be done, and no figure that nobody knows', () => {
    const { durationSeconds: _, pauseMs: __, bytes: ___, ...unknown } = forecast;
    const finding = {
      code: 'snapshots',
      severity: 'blocks' as const,
      what: 'it has snapshots',
      where: 'instance/web',
      mend: 'delete them',
    };
    const text = plainly({ ...plan, verdict: 'blocked', findings: [finding], forecast: unknown });
    expect(text.split('\n')[0]).toBe('web cannot be moved so: 1 finding in the way. Nothing was changed.');
    expect(text).toContain('takes       not known\n');
    expect(text).toContain('  blocks  snapshots, instance/web: it has snapshots\n');
  });
});

describe('what a move took', () => {
  it('stands beside its forecast with the deviation', () => {
    const lines = forecastText({ forecast, findings: [], actual: { at, durationSeconds: 114, pauseMs: 105, bytes: 3 * 1024 ** 3 } }).split(
      '\n',
    );
    expect(lines[0]).toBe(`Forecast (medium confidence, of ${at}):`);
    expect(lines.slice(1, 5).map((each) => each.trim().split(/ {2,}/))).toEqual([
      ['WHAT', 'FORECAST', 'BETWEEN', 'TOOK', 'DEVIATION'],
      ['duration', '1m35s', '1m10s to 2m', '1m54s', '+20 %'],
      ['pause', '210 ms', '150 ms to 320 ms', '105 ms', '-50 %'],
      ['bytes', '3 GiB', '2 GiB to 4 GiB', '3 GiB', '0 %'],
    ]);
  });

  it('is not there yet while it goes, and nothing is shown of a migration of before forecasts', () => {
    expect(forecastText({ forecast })).toContain('-\n');
    expect(forecastText({})).toBe('');
  });
});
