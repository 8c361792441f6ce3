import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../..', import.meta.url));
const mainPath = join(root, 'packages/server/dist/main.js');

/** Builds the server as users get it; quick when nothing changed. */
export function buildServer(): void {
  try {
    execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-b', join(root, 'packages/server')], { stdio: 'pipe' });
  } catch {
    // It writes what it can; errors elsewhere are not this test's business.
  }
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ServerProcess {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  out(): string;
  log(): string;
  /** Resolves with the URL when it is ready; raises what it said when it ends before. */
  ready(): Promise<string>;
  logged(text: string): Promise<void>;
  /** As the file in the state directory says. */
  adminToken(): Promise<string>;
}

/** The built server on free ports, with that state directory and further options. */
export function startServer(
  stateDirectory: string,
  options: readonly string[] = [],
  environment: Readonly<Record<string, string>> = {},
): ServerProcess {
  const flags = ['--state', stateDirectory, '--api-listen', '127.0.0.1:0', '--agents-listen', '127.0.0.1:0', ...options];
  return runServer(flags, environment);
}

export function runServer(argv: readonly string[], environment: Readonly<Record<string, string>> = {}): ServerProcess {
  const child = spawn(process.execPath, [mainPath, ...argv], { cwd: '/', env: { PATH: process.env['PATH'], ...environment } });
  let out = '';
  let err = '';
  const listeners = new Set<() => void>();
  const heard = (): void => {
    for (const listener of listeners) listener();
  };
  child.stdout.on('data', (octets: Buffer) => {
    out += octets.toString();
    heard();
  });
  child.stderr.on('data', (octets: Buffer) => {
    err += octets.toString();
    heard();
  });
  const ended = new Promise<Ended>((resolve) => child.once('close', (code, signal) => resolve({ code, signal })));
  const until = async (seen: () => boolean, what: string): Promise<void> => {
    await new Promise<void>((resolve, reject) => {
      const check = (): void => {
        if (!seen()) return;
        listeners.delete(check);
        resolve();
      };
      listeners.add(check);
      check();
      void ended.then(() => reject(new Error(`the server ended before ${what}: ${out}${err}`)));
    });
  };
  return {
    child,
    ended,
    out: () => out,
    log: () => err,
    async ready() {
      await until(() => /is ready at \S+ after/.test(out), 'it was ready');
      return /is ready at (\S+) after/.exec(out)?.[1] ?? '';
    },
    logged: async (text) => await until(() => err.includes(text), `it logged "${text}"`),
    async adminToken() {
      const state = argv[argv.indexOf('--state') + 1] ?? '';
      return (await readFile(join(state, 'admin-token'), 'utf8')).trim();
    },
  };
}
