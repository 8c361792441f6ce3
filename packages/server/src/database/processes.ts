import { readdir, readFile, readlink } from 'node:fs/promises';

/** A process that cannot be mistaken for a later one of the same number. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks after boot at which it began (proc(5), field 22). */
  readonly startTicks: number;
}

/** Undefined when there is none, or only its corpse. */
export async function processIdentity(pid: number): Promise<ProcessIdentity | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  // The command's name stands in parentheses and may itself hold spaces and parentheses.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  const startTicks = Number(fields?.[19]);
  if (fields === undefined || fields[0] === 'Z' || fields[0] === 'X' || !Number.isFinite(startTicks)) return undefined;
  return { pid, startTicks };
}

export async function isAlive(identity: ProcessIdentity): Promise<boolean> {
  return (await processIdentity(identity.pid))?.startTicks === identity.startTicks;
}

/** Processes whose working directory is `directory`, as every process of a PostgreSQL cluster has its data directory. */
export async function processesIn(directory: string): Promise<readonly number[]> {
  const pids = (await readdir('/proc')).map(Number).filter((pid) => Number.isInteger(pid) && pid > 0);
  const found = await Promise.all(pids.map(async (pid) => ((await workingDirectory(pid)) === directory ? [pid] : [])));
  return found.flat();
}

export async function workingDirectory(pid: number): Promise<string | undefined> {
  return await readlink(`/proc/${pid}/cwd`).catch(() => undefined);
}

/** Silent when the process is gone already. */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // Gone.
  }
}
