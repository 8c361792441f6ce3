import {
  type FinishedOrder,
  freshRecord,
  type InstalledPackage,
  installedRelease,
  type ReleaseRecord,
  type Trial,
  withFinished,
} from './release-record.js';

/** What the launcher sees before a start. */
export interface StartFacts {
  readonly installed: InstalledPackage;
  readonly bootId: string;
  readonly sinceBootMs: number;
  /** For the record. */
  readonly now: string;
  /** True when a release's folder has what is needed to start it. */
  readonly isUsable: (release: string) => boolean;
  /** How the process before it ended, for the reason of a failure. */
  readonly ended?: string | undefined;
}

export interface Choice {
  readonly release: string;
  /** To be written before it starts. */
  readonly record: ReleaseRecord;
  /** Set for a release on trial: it is ended so many seconds after this start unless it has proven itself. */
  readonly trialSeconds?: number;
}

/** A release that ends so often before it has proven itself is not started again. */
export const trialStarts = 3;

/**
 * Which release is started. One on trial is, as long as it has time and has not ended too often; then the one before it, and in any doubt the installed
 * package. A package that was changed takes over from whatever was chosen under the one before it.
 */
export function chooseRelease(before: ReleaseRecord | undefined, facts: StartFacts): Choice {
  const record = before ?? freshRecord(facts.installed, facts.now);
  if (record.installed.build !== facts.installed.build) {
    const finished =
      record.trial === undefined
        ? record.finished
        : withFinished(record, failure(record.trial, 'another package was installed meanwhile', facts));
    return { release: installedRelease, record: freshRecord(facts.installed, facts.now, finished) };
  }
  const { trial } = record;
  if (trial === undefined) return settled(record, facts);
  const reason = failureOf(trial, facts);
  if (reason !== undefined) return settled(afterFailure(record, failure(trial, reason, facts)), facts);
  const { bootId, sinceBootMs } = facts;
  const began = trial.began?.bootId === bootId ? trial.began : { bootId, sinceBootMs };
  const left = trial.seconds - Math.round((sinceBootMs - began.sinceBootMs) / 1000);
  return {
    release: trial.release,
    record: { ...record, trial: { ...trial, began, starts: trial.starts + 1 } },
    trialSeconds: Math.max(left, 1),
  };
}

/** The record without its trial: what ran before goes on. */
export function afterFailure(record: ReleaseRecord, order: FinishedOrder): ReleaseRecord {
  const { trial: _, ...rest } = record;
  return { ...rest, finished: withFinished(record, order) };
}

/** The record when the release on trial has proven itself. */
export function afterSuccess(record: ReleaseRecord, trial: Trial, now: string): ReleaseRecord {
  const { trial: _, ...rest } = record;
  const { order, version } = trial;
  return {
    ...rest,
    current: trial.release,
    since: now,
    ...(record.current === trial.release ? {} : { previous: record.current }),
    finished: withFinished(record, { order, version, at: now }),
  };
}

function failureOf(trial: Trial, { bootId, sinceBootMs, isUsable, ended }: StartFacts): string | undefined {
  if (!isUsable(trial.release)) return 'its files are not whole';
  const { began, seconds, starts } = trial;
  if (began !== undefined && began.bootId === bootId && sinceBootMs - began.sinceBootMs >= seconds * 1000)
    return `it did not link to the control plane and take over what is desired within ${seconds} s`;
  if (starts < trialStarts) return undefined;
  const how = ended === undefined ? '' : `, the last time with ${ended}`;
  return `it ended ${starts} times before it had linked to the control plane${how}; the host's log says more`;
}

function failure({ order, version }: Trial, message: string, { now }: StartFacts): FinishedOrder {
  return { order, version, at: now, problem: { code: 'internal', message: `release ${version} was tried and given up: ${message}` } };
}

/** What is started when nothing is on trial. */
export function settled(record: ReleaseRecord, { isUsable, now }: Pick<StartFacts, 'isUsable' | 'now'>): Choice {
  const usable = [record.current, record.previous].find((release) => release !== undefined && isUsable(release)) ?? installedRelease;
  if (usable === record.current) return { release: usable, record };
  const { previous: _, ...rest } = record;
  return { release: usable, record: { ...rest, current: usable, since: now } };
}
