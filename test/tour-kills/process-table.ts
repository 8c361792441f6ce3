import { readdirSync, readFileSync } from 'node:fs';

/** A process as the kernel knows it; pid and start together are never reused within one boot. */
export interface ProcessLine {
  readonly pid: number;
  readonly parent: number;
  readonly startTicks: number;
  readonly words: readonly string[];
}

/** Every living process that has a command line; a zombie is none. */
export function processTable(): ProcessLine[] {
  return readdirSync('/proc').flatMap((entry) => {
    const pid = Number(entry);
    const line = Number.isInteger(pid) ? processLine(pid) : undefined;
    return line === undefined ? [] : [line];
  });
}

export function processLine(pid: number): ProcessLine | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').filter(Boolean);
    return words.length === 0 ? undefined : { pid, parent: Number(fields[1]), startTicks: Number(fields[19]), words };
  } catch {
    return undefined;
  }
}

/** Nanoseconds that a QEMU's virtual processors have run, together; undefined when it is gone. A stopped guest's do not grow. */
export function guestRunNanoseconds(pid: number): number | undefined {
  try {
    let sum = 0;
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      if (!readFileSync(`/proc/${pid}/task/${thread}/comm`, 'utf8').startsWith('CPU ')) continue;
      sum += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
    }
    return sum;
  } catch {
    return undefined;
  }
}

/** SIGKILL to exactly this process; false when it was gone. */
export function killProcess({ pid, startTicks }: ProcessLine): boolean {
  if (processLine(pid)?.startTicks !== startTicks) return false;
  try {
    return process.kill(pid, 'SIGKILL');
  } catch {
    return false;
  }
}
