import type { InstanceRecord } from './instance-store.js';

const windowMs = 10 * 60_000;
const allowed = 5;

/** A guest whose process ended by itself is started again after a pause, and after too many ends not at all. */
export interface CrashVerdict {
  /** Until it may be started; undefined: not before its power was turned off and on. */
  readonly pauseMs: number | undefined;
  readonly message: string;
}

/** When the process ended by itself, newest last; what is older than the window no longer counts. */
export function withCrash(crashes: readonly string[], nowMs: number): string[] {
  return [...crashes.filter((at) => nowMs - Date.parse(at) < windowMs), new Date(nowMs).toISOString()];
}

/** Undefined when it never ended by itself, or may be started again now. */
export function judgeCrashes({ crashes }: Pick<InstanceRecord, 'crashes'>, nowMs: number): CrashVerdict | undefined {
  const last = crashes.at(-1);
  if (last === undefined) return undefined;
  const message = `the guest’s process ended by itself ${crashes.length} times within ten minutes, last at ${last}`;
  if (crashes.length > allowed)
    return { pauseMs: undefined, message: `${message}; it is not started again before its power is turned off and on` };
  const pauseMs = Date.parse(last) + 1_000 * 2 ** (crashes.length - 1) - nowMs;
  return pauseMs > 0 ? { pauseMs, message } : undefined;
}
