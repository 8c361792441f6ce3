import { readFileSync } from 'node:fs';

/** A process as the kernel knows it. Pid and start time together are never reused within one boot. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks after boot at which it started (`/proc/PID/stat`, field 22). */
  readonly startTicks: number;
}

/**
 * Identity of a living process; undefined when there is none or only its zombie. Read synchronously: the kernel answers from memory within
 * microseconds, and the way through the thread pool costs many times as much for each guest that is looked at.
 */
export async function readProcessIdentity(pid: number): Promise<ProcessIdentity | undefined> {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  // The second field is the command in parentheses and may itself hold blanks and parentheses.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const startTicks = Number(fields[19]);
  if (fields[0] === 'Z' || fields[0] === 'X' || !Number.isSafeInteger(startTicks)) return undefined;
  return { pid, startTicks };
}

export async function isAlive(identity: ProcessIdentity): Promise<boolean> {
  return (await readProcessIdentity(identity.pid))?.startTicks === identity.startTicks;
}

/** Sends a signal to exactly this process; false when it is gone. */
export async function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): Promise<boolean> {
  if (!(await isAlive(identity))) return false;
  try {
    return process.kill(identity.pid, signal);
  } catch {
    return false;
  }
}

/** True once the process is gone, false when it still lives after `timeoutMs`. The kernel offers no event for processes that are not our children. */
export async function awaitExit(identity: ProcessIdentity, timeoutMs: number): Promise<boolean> {
  const end = performance.now() + timeoutMs;
  for (let pause = 5; await isAlive(identity); pause = Math.min(pause * 1.5, 100)) {
    if (performance.now() >= end) return false;
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
  return true;
}
