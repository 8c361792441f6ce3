import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { Problem } from '@virt8ra/contract';

/** A program of ours that runs until it is told to stop; what it says goes to a file. */
export interface LongProcess {
  readonly name: string;
  readonly pid: number;
  readonly logFile: string;
  readonly running: boolean;
  /** Resolves with what the pattern found in its output; raises when the program ends or the time is over before. */
  said(pattern: RegExp, withinSeconds: number): Promise<RegExpExecArray>;
  /** SIGTERM, and SIGKILL when that is not obeyed. */
  stop(withinSeconds: number): Promise<void>;
  /** SIGKILL at once. */
  kill(): Promise<void>;
}

export interface LongProcessOptions {
  readonly name: string;
  readonly arguments: readonly string[];
  readonly logFile: string;
  readonly environment?: Readonly<Record<string, string>>;
}

const lookMs = 50;

/** In a process group of its own: the Ctrl-C of a terminal is for the demo, which then ends its programs in order. */
export function startLongProcess({ name, logFile, ...options }: LongProcessOptions): LongProcess {
  const log = openSync(logFile, 'a', 0o600);
  const begin = readFileSync(logFile).length;
  const child: ChildProcess = spawn(process.execPath, options.arguments, {
    detached: true,
    stdio: ['ignore', log, log],
    env: { ...process.env, ...options.environment },
  });
  closeSync(log);
  let ended: string | undefined;
  const end = new Promise<void>((resolve) => {
    child.once('error', (error) => {
      ended = error.message;
      resolve();
    });
    child.once('exit', (code, signal) => {
      ended = signal === null ? `exit code ${code}` : signal;
      resolve();
    });
  });
  const output = () => readFileSync(logFile).subarray(begin).toString();
  const within = async (seconds: number) => {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(() => resolve('late'), seconds * 1000);
    });
    const first = await Promise.race([end, late]);
    clearTimeout(timer);
    return first !== 'late';
  };
  return {
    name,
    pid: child.pid ?? 0,
    logFile,
    get running() {
      return ended === undefined;
    },
    async said(pattern, withinSeconds) {
      const deadline = performance.now() + withinSeconds * 1000;
      for (;;) {
        const over = ended;
        const found = pattern.exec(output());
        if (found !== null) return found;
        if (over !== undefined) throw new Problem('internal', `${name} ended (${over}): ${output().trim().slice(-600)}`);
        if (performance.now() > deadline) throw new Problem('unavailable', `${name} did not say ${pattern} within ${withinSeconds} s`);
        await new Promise((resolve) => setTimeout(resolve, lookMs));
      }
    },
    async stop(withinSeconds) {
      if (ended !== undefined) return;
      child.kill('SIGTERM');
      if (await within(withinSeconds)) return;
      child.kill('SIGKILL');
      await end;
    },
    async kill() {
      if (ended !== undefined) return;
      child.kill('SIGKILL');
      await end;
    },
  };
}
