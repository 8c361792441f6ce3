import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

/** A program of ours as users run it, with what it said so far. */
export interface Program {
  readonly pid: number;
  output(): string;
  /** Resolves with what the pattern found; raises when it ends or the time is over before. */
  said(pattern: RegExp, withinSeconds: number): Promise<RegExpExecArray>;
  stop(): Promise<void>;
  kill(): Promise<void>;
}

export function startProgram(file: string, options: readonly string[]): Program {
  const child = spawn(process.execPath, [file, ...options], { stdio: ['ignore', 'pipe', 'pipe'], cwd: '/' });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-65_536);
    });
  }
  let over = false;
  const ended = new Promise<void>((resolve) => {
    child.once('close', () => {
      over = true;
      resolve();
    });
  });
  const end = async (signal: NodeJS.Signals) => {
    if (!over) child.kill(signal);
    await ended;
  };
  return {
    pid: child.pid ?? 0,
    output: () => output,
    async said(pattern, withinSeconds) {
      const deadline = performance.now() + withinSeconds * 1000;
      for (;;) {
        const found = pattern.exec(output);
        if (found !== null) return found;
        if (over || performance.now() > deadline) throw new Error(`${file} did not say ${pattern}: ${output.slice(-1000)}`);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    },
    stop: async () => await end('SIGTERM'),
    kill: async () => await end('SIGKILL'),
  };
}

/** Memory that a process holds, and the most it ever held, in MiB. */
export function memoryOf(pid: number): { readonly nowMiB: number; readonly mostMiB: number } | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const read = (name: string) => Math.round(Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0) / 102.4) / 10;
    return { nowMiB: read('VmRSS'), mostMiB: read('VmHWM') };
  } catch {
    return undefined;
  }
}

/** Time that all threads of a process have had on a core, in milliseconds, to the nanosecond where the kernel counts so (proc_pid_schedstat). */
export function cpuMsOf(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`).map((thread) => {
    try {
      return Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]) / 1e6;
    } catch {
      return 0;
    }
  });
  return threads.reduce((sum, each) => sum + each, 0);
}
