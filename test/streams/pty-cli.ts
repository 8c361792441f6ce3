import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { root } from '../server-apart.js';
import type { NatWorld } from './nat-world.js';

/** The built CLI, with a terminal of its own when asked for. */
export interface PtyCli {
  readonly child: ChildProcess;
  /** Everything it printed, on both streams. */
  readonly text: string;
  type(keys: string): void;
  /** Resolves with the match when the text after `from` has it. */
  until(pattern: RegExp, from?: number, withinMs?: number): Promise<RegExpExecArray>;
  /** Exit code. */
  readonly ended: Promise<number | null>;
}

export function startCli({ url, token, state }: NatWorld, words: readonly string[], { terminal = false } = {}): PtyCli {
  const plain = [process.execPath, join(root, 'packages/cli/dist/main.js'), ...words];
  const quoted = plain.map((word) => `'${word}'`).join(' ');
  const [command = '', ...rest] = terminal ? ['script', '-qefc', quoted, '/dev/null'] : plain;
  const child = spawn(command, rest, {
    cwd: state,
    env: {
      ...{ PATH: process.env['PATH'], HOME: state, TERM: 'xterm' },
      ...{ VIRT8RA_SERVER: url, VIRT8RA_TOKEN: token, VIRT8RA_TENANT: 'default', VIRT8RA_WORKSPACE: 'tour' },
    },
  });
  let text = '';
  const watchers = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (octets: Buffer) => {
      text += octets.toString('latin1');
      for (const watcher of watchers) watcher();
    });
  }
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  return {
    child,
    get text() {
      return text;
    },
    type: (keys) => void child.stdin.write(keys),
    until: async (pattern, from = 0, withinMs = 90_000) =>
      await new Promise((resolve, reject) => {
        const give = (settle: () => void): void => {
          clearTimeout(timer);
          watchers.delete(look);
          settle();
        };
        const look = (): void => {
          const found = pattern.exec(text.slice(from));
          if (found !== null) give(() => resolve(found));
        };
        const fail = (why: string) => give(() => reject(new Error(`${why}, and never printed ${pattern}: ${text.slice(-2000)}`)));
        const timer = setTimeout(() => fail(`${withinMs} ms are over`), withinMs);
        watchers.add(look);
        void ended.then((code) => fail(`it ended with ${code}`));
        look();
      }),
    ended,
  };
}
