import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { afterSuccess, chooseRelease, type StartFacts, trialStarts } from './choose-release.js';
import { freshRecord, installedRelease, type ReleaseRecord, type Trial } from './release-record.js';

const installed = { version: '0.1.0', build: 'b1' };
const facts: StartFacts = { installed, bootId: 'boot', sinceBootMs: 10_000, now: '2026-01-01T00:00:00.000Z', isUsable: () => true };
const trial: Trial = { order: 'o2', version: '0.3.0', release: '0.3.0-bbbbbbbbbbbb', seconds: 180, at: facts.now, starts: 0 };
const settled: ReleaseRecord = {
  ...freshRecord(installed, facts.now),
  current: '0.2.0-aaaaaaaaaaaa',
  previous: installedRelease,
  finished: [{ order: 'o1', version: '0.2.0', at: facts.now }],
};
const tried: ReleaseRecord = { ...settled, trial };

describe('which release is started', () => {
  it('is the installed one where nothing was ever chosen', () => {
    expect(chooseRelease(undefined, facts).release).toBe(installedRelease);
  });

  it('is the one on trial, for so long and so often', () => {
    const first = chooseRelease(tried, facts);
    expect(first).toMatchObject({
      release: trial.release,
      trialSeconds: 180,
      record: { trial: { starts: 1, began: { sinceBootMs: 10_000 } } },
    });
    const second = chooseRelease(first.record, { ...facts, sinceBootMs: 70_000 });
    expect(second).toMatchObject({ release: trial.release, trialSeconds: 120, record: { trial: { starts: 2 } } });
    const late = chooseRelease(second.record, { ...facts, sinceBootMs: 190_000 });
    expect(late).toMatchObject({
      release: settled.current,
      record: { finished: [{ order: 'o2', problem: { message: expect.stringContaining('within 180 s') } }, { order: 'o1' }] },
    });
    expect(late.record.trial).toBeUndefined();
    const third = chooseRelease(second.record, { ...facts, sinceBootMs: 71_000 });
    const crashed = chooseRelease(third.record, { ...facts, sinceBootMs: 72_000, ended: 'status 1' });
    expect(crashed).toMatchObject({
      release: settled.current,
      record: {
        finished: [
          {
            problem: {
              message: expect.stringContaining('ended 3 times before it had linked to the control plane, the last time with status 1'),
            },
          },
          {},
        ],
      },
    });
  });

  it('begins the time of a trial anew after a reboot, and not the count of its starts', () => {
    const first = chooseRelease(tried, { ...facts, sinceBootMs: 500_000 });
    const rebooted = chooseRelease(first.record, { ...facts, bootId: 'next', sinceBootMs: 20_000 });
    expect(rebooted).toMatchObject({
      release: trial.release,
      trialSeconds: 180,
      record: { trial: { starts: 2, began: { bootId: 'next' } } },
    });
  });

  it('is the one before where files of the chosen are gone, and in the end the installed one', () => {
    const without = (...gone: string[]): StartFacts => ({ ...facts, isUsable: (release) => !gone.includes(release) });
    expect(chooseRelease(tried, without(trial.release))).toMatchObject({
      release: settled.current,
      record: { finished: [{ problem: {} }, {}] },
    });
    expect(chooseRelease(settled, without(settled.current))).toMatchObject({
      release: installedRelease,
      record: { current: installedRelease },
    });
  });

  it('is the installed one once another package is installed', () => {
    const changed = chooseRelease(tried, { ...facts, installed: { version: '0.4.0', build: 'b2' } });
    expect(changed).toMatchObject({
      release: installedRelease,
      record: { installed: { build: 'b2' }, finished: [{ order: 'o2', problem: {} }, { order: 'o1' }] },
    });
    expect(chooseRelease(changed.record, { ...facts, installed: { version: '0.4.0', build: 'b2' } }).record).toBe(changed.record);
  });

  it('goes on with the one that has proven itself', () => {
    const { record } = chooseRelease(tried, facts);
    const proven = afterSuccess(record, { ...trial, ...record.trial }, facts.now);
    expect(proven).toMatchObject({ current: trial.release, previous: settled.current, finished: [{ order: 'o2' }, { order: 'o1' }] });
    expect(chooseRelease(proven, facts)).toEqual({ release: trial.release, record: proven });
  });

  it('comes to rest at a release with whole files, whatever happens between the starts', () => {
    const happening = fc.record({ minutes: fc.nat(5), reboot: fc.boolean(), broken: fc.boolean(), package: fc.boolean() });
    fc.assert(
      fc.property(fc.array(happening, { maxLength: 20 }), (happenings) => {
        let record: ReleaseRecord = tried;
        let at = facts;
        let starts = 0;
        for (const { minutes, reboot, broken, package: other } of happenings) {
          at = {
            ...at,
            sinceBootMs: reboot ? 1_000 : at.sinceBootMs + minutes * 60_000,
            bootId: reboot ? `${at.bootId}'` : at.bootId,
            installed: other ? { version: 'x', build: `${at.installed.build}'` } : at.installed,
            isUsable: (release) => release === installedRelease || !broken,
          };
          const choice = chooseRelease(record, at);
          expect(at.isUsable(choice.release)).toBe(true);
          if (choice.trialSeconds !== undefined) starts += 1;
          record = choice.record;
        }
        expect(starts).toBeLessThanOrEqual(trialStarts);
      }),
      { seed: fc.readConfigureGlobal().seed ?? 20_261_127, numRuns: 300 },
    );
  });
});
