import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open } from 'node:fs/promises';
import { Problem } from '@virt8ra/contract';

export interface FileLock {
  release(): Promise<void>;
}

/**
 * A kernel lock (flock) on `path`, which is created when missing. It ends with this process however it dies: flock(1) holds it in a child
 * that lives as long as its standard input is open. Node has no call for it, and a pid file can be stale.
 * Answers undefined when someone else holds it and `wait` is false.
 */
export async function lockFile(
  path: string,
  mode: 'shared' | 'exclusive',
  options: { readonly wait: boolean },
): Promise<FileLock | undefined> {
  const busy = 75;
  // Made here and closed to others: whoever can open it could keep the lock.
  await (await open(path, 'a', 0o600)).close();
  const args = [`--${mode}`, ...(options.wait ? [] : ['--nonblock', '--conflict-exit-code', `${busy}`]), '--no-fork', path, 'cat'];
  // Its own session: Ctrl-C at a terminal must not take the lock away before the server has ended.
  const child = spawn('flock', args, { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint += text;
  });
  child.stdin.on('error', () => undefined);
  const exited = new Promise<number | string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) => resolve(code ?? signal ?? 'gone'));
  });
  // Echoed as soon as `cat` runs, that is when the lock is held.
  child.stdin.write('.');
  const outcome = await Promise.race([once(child.stdout, 'data').then(() => 'held' as const), exited]);
  if (outcome === 'held') {
    child.unref();
    for (const stream of [child.stdin, child.stdout, child.stderr]) {
      if ('unref' in stream && typeof stream.unref === 'function') stream.unref();
    }
    return {
      release: async () => {
        child.ref();
        child.stdin.end();
        await exited;
      },
    };
  }
  if (outcome === busy) return undefined;
  throw new Problem('unavailable', `the lock ${path} cannot be taken: ${complaint.trim() || `flock (util-linux) ended with ${outcome}`}`);
}

/** Runs `work` while holding the lock, waiting for it first. */
export async function withFileLock<Value>(path: string, work: () => Promise<Value>): Promise<Value> {
  const lock = await lockFile(path, 'exclusive', { wait: true });
  try {
    return await work();
  } finally {
    await lock?.release();
  }
}
