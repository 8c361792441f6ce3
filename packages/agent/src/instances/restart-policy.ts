import { type DesiredInstance, defaultRestart, type ObservedInstance } from '@virt8ra/contract';
import type { InstanceRecord } from './instance-store.js';

/** Ends further back than this do not count against the limit. */
const windowMs = 10 * 60_000;
const firstPauseMs = 1_000;
const longestPauseMs = 60_000;

/** Ends that count at this moment. A wall clock that was set back by far makes none of them count for longer. */
export function countedEnds(record: Pick<InstanceRecord, 'crashes'>, nowMs: number): string[] {
  return record.crashes.filter((at) => Math.abs(nowMs - Date.parse(at)) < windowMs);
}

/** The record after a guest's process ended without being told to. */
export function withEnd(record: InstanceRecord, how: 'process' | 'guest' | 'host', nowMs: number): InstanceRecord {
  const at = new Date(nowMs).toISOString();
  const crashes = how === 'host' ? record.crashes : [...countedEnds(record, nowMs), at];
  return { ...record, crashes, lastEnd: { at, how }, unasked: record.restarts };
}

/** The record once somebody asked for a start or for off: earlier ends count no more. */
export function withoutEnds(record: InstanceRecord): InstanceRecord {
  const { unasked: _, ...rest } = record;
  return { ...rest, crashes: [] };
}

type Now = Pick<ObservedInstance, 'state' | 'problem'>;

export type RestartVerdict =
  /** `asked`: somebody wanted this start since the last end. */
  | { readonly type: 'start'; readonly asked: boolean }
  /** Started again after so many milliseconds. */
  | { readonly type: 'wait'; readonly pauseMs: number; readonly now: Now }
  /** Not before somebody asks for it. */
  | { readonly type: 'stay'; readonly now: Now };

const mend = 'restart it, or turn its power off and on';

/** May a guest whose process is gone be started now? Power is on and the permit is good; what is asked here is the restart policy alone. */
export function restartVerdict(
  record: Pick<InstanceRecord, 'lastEnd' | 'unasked' | 'crashes'>,
  desired: Pick<DesiredInstance, 'restarts' | 'restart'>,
  nowMs: number,
): RestartVerdict {
  const { lastEnd, unasked } = record;
  const { policy, limit } = desired.restart ?? defaultRestart;
  if (lastEnd === undefined || unasked === undefined || desired.restarts > unasked) return { type: 'start', asked: true };
  const { how, at } = lastEnd;
  if (how === 'guest' && policy !== 'always') return stay('stopped', 'guest-shutdown', `the guest switched itself off at ${at}; ${mend}`);
  if (how === 'host') {
    if (policy !== 'never') return { type: 'start', asked: false };
    return stay(
      'stopped',
      'restart-policy',
      `the host was restarted under the guest, noticed at ${at}; its restart policy is never: ${mend}`,
    );
  }
  if (policy === 'never') {
    return stay('crashed', 'restart-policy', `the guest’s process ended by itself at ${at}; its restart policy is never: ${mend}`);
  }
  const counted = countedEnds(record, nowMs);
  const newest = counted.at(-1);
  if (newest === undefined) return { type: 'start', asked: false };
  const message = `the guest ended by itself ${counted.length} times within ten minutes, last at ${newest}`;
  if (counted.length > limit) return stay('crashed', 'restart-limit', `${message}; its restart policy allows ${limit}: ${mend}`);
  const pauseMs = Math.min(firstPauseMs * 2 ** (counted.length - 1), longestPauseMs);
  // However the wall clock jumps, the pause is never longer than itself.
  const leftMs = Math.min(Date.parse(newest) + pauseMs - nowMs, pauseMs);
  if (leftMs <= 0) return { type: 'start', asked: false };
  return { type: 'wait', pauseMs: leftMs, now: { state: 'crashed', problem: { code: 'internal', message } } };
}

function stay(state: Now['state'], code: string, message: string): RestartVerdict {
  return { type: 'stay', now: { state, problem: { code, message } } };
}
