import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../..', import.meta.url));
export const mainPath = join(root, 'packages/cli/dist/main.js');

/** Builds the CLI as users get it; quick when nothing changed. */
export function buildCli(): void {
  execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-b', join(root, 'packages/cli')], { stdio: 'inherit' });
}

export interface Finished {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export interface RunningCli {
  readonly child: ChildProcess;
  readonly finished: Promise<Finished>;
  /** Resolves when the text has been printed on either stream; raises when the process ends without it. */
  printed(text: string): Promise<void>;
  /** Lines on standard output so far. */
  said(): readonly string[];
}

export interface Home {
  readonly folder: string;
  start(words: readonly string[], options?: RunOptions): RunningCli;
  run(words: readonly string[], options?: RunOptions): Promise<Finished>;
  remove(): void;
}

export interface RunOptions {
  readonly stdin?: string;
  /** Standard input stays open for `child.stdin`. */
  readonly interactive?: boolean;
  readonly variables?: Readonly<Record<string, string>>;
  /** Command before the CLI, such as one that gives it a terminal. */
  readonly through?: (command: readonly string[]) => readonly string[];
}

/** A user's home with its own contexts, and the built CLI to run in it. With `server` it has one, which leads to tenant `t`, workspace `w` there. */
export function createHome(server?: { readonly url: string; readonly token: string }): Home {
  const folder = mkdtempSync(join(tmpdir(), 'virt8ra-cli-'));
  if (server !== undefined) {
    const context = { server: server.url, token: server.token, tenant: 't', workspace: 'w' };
    mkdirSync(join(folder, 'config/virt8ra'), { recursive: true });
    writeFileSync(join(folder, 'config/virt8ra/config.json'), JSON.stringify({ current: 'test', contexts: { test: context } }));
  }
  const start = (words: readonly string[], options: RunOptions = {}): RunningCli => {
    const plain = [process.execPath, mainPath, ...words];
    const [program = '', ...rest] = options.through?.(plain) ?? plain;
    const child = spawn(program, rest, {
      cwd: folder,
      env: { PATH: process.env['PATH'], HOME: folder, XDG_CONFIG_HOME: join(folder, 'config'), ...options.variables },
    });
    let out = '';
    let err = '';
    const listeners = new Set<() => void>();
    const heard = () => {
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
    if (options.interactive !== true) child.stdin.end(options.stdin ?? '');
    const finished = new Promise<Finished>((resolve) => child.on('close', (code) => resolve({ code, out, err })));
    return {
      child,
      finished,
      said: () => out.split('\n'),
      printed: (text) =>
        new Promise((resolve, reject) => {
          const check = () => {
            if (!`${out}\n${err}`.includes(text)) return;
            listeners.delete(check);
            resolve();
          };
          listeners.add(check);
          void finished.then(() => reject(new Error(`never printed ${JSON.stringify(text)}: ${out}${err}`)));
          check();
        }),
    };
  };
  return {
    folder,
    start,
    run: (words, options) => start(words, options).finished,
    remove: () => rmSync(folder, { recursive: true }),
  };
}
