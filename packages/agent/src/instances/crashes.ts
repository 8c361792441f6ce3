const windowMs = 10 * 60_000;
const allowed = 5;

/** The crashes that count, with one more. Times as ISO 8601 text. */
export function withCrash(crashes: readonly string[], nowMs: number): string[] {
  return [...crashes.filter((at) => nowMs - Date.parse(at) < windowMs), new Date(nowMs).toISOString()];
}

/** Why a guest that crashed is not started now, and after how long it is; undefined when it may be. Pauses double; after five it stays down. */
export function afterCrashes(
  crashes: readonly string[],
  nowMs: number,
): { readonly message: string; readonly pauseMs: number | undefined } | undefined {
  const last = crashes.at(-1);
  if (last === undefined) return undefined;
  const message = `the guest’s process ended by itself ${crashes.length} times within ten minutes, last at ${last}`;
  if (crashes.length > allowed)
    return { message: `${message}; it is not started again before its power is turned off and on`, pauseMs: undefined };
  const pauseMs = Date.parse(last) + 1_000 * 2 ** (crashes.length - 1) - nowMs;
  return pauseMs > 0 ? { message, pauseMs } : undefined;
}
