import { readdirSync, readFileSync } from 'node:fs';

/** Programs other than this one that were started on a directory, as their command lines say: guests and the database outlive who started them. */
export function processesOn(directory: string): readonly { readonly pid: number; readonly program: string }[] {
  const found: { pid: number; program: string }[] = [];
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid || pid === process.ppid) continue;
    const words = commandLine(pid);
    if (words.some((word) => word === directory || word.includes(`${directory}/`))) found.push({ pid, program: words[0] ?? '' });
  }
  return found;
}

/** Ends what was left running on a directory: asked first, then killed. Returns how many there were. */
export async function endProcessesOn(directory: string, patienceMs = 5_000): Promise<number> {
  const first = processesOn(directory);
  const signal = (name: NodeJS.Signals) => {
    for (const { pid } of processesOn(directory)) {
      try {
        process.kill(pid, name);
      } catch {
        // It ended by itself.
      }
    }
  };
  if (first.length === 0) return 0;
  // PostgreSQL takes SIGINT for a fast shutdown; QEMU, server and agents for a stop.
  signal('SIGINT');
  const deadline = performance.now() + patienceMs;
  while (processesOn(directory).length > 0 && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 50));
  signal('SIGKILL');
  while (processesOn(directory).length > 0 && performance.now() < deadline + patienceMs)
    await new Promise((resolve) => setTimeout(resolve, 50));
  return first.length;
}

/** Memory that a process holds, in MiB; undefined when it is gone. */
export function residentMiB(pid: number): number | undefined {
  try {
    const found = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    return found === null ? undefined : Math.round(Number(found[1]) / 102.4) / 10;
  } catch {
    return undefined;
  }
}

function commandLine(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').filter(Boolean);
  } catch {
    return [];
  }
}
