import { rmSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { Problem } from '@virt8ra/contract/plain';
import { readProcessIdentity } from '../system/process-identity.js';
import { errorCode, readJson, writeJsonAtomic } from './atomic-file.js';

export interface StateLock {
  release(): Promise<void>;
}

/**
 * Exclusive right to a state directory while this process lives. The lock is a listening abstract socket named after the directory's
 * inode: the kernel frees it with the process, so that nothing stale can be left. Such sockets belong to one network namespace; the
 * pid file beside it catches an agent in another one.
 * Raises Problem conflict when another agent has it.
 */
export async function lockState(directory: string): Promise<StateLock> {
  const { dev, ino } = await stat(directory);
  const pidFile = join(directory, 'agent.pid');
  const holder = await livingHolder(pidFile);
  const taken = (pid: number | undefined) =>
    new Problem(
      'conflict',
      `another agent${pid === undefined ? '' : ` (process ${pid})`} already runs on ${directory}. ` +
        'Stop it first, or give this one a state directory of its own with --state.',
    );
  if (holder !== undefined) throw taken(holder);
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(errorCode(error) === 'EADDRINUSE' ? taken(undefined) : error));
    server.listen(`\0virt8ra-agent-${dev}-${ino}`, () => resolve());
  });
  server.unref();
  const self = await readProcessIdentity(process.pid);
  await writeJsonAtomic(pidFile, { pid: process.pid, startTicks: self?.startTicks ?? null });
  return {
    release: async () => {
      rmSync(pidFile, { force: true });
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** Process of the agent that a pid file names; undefined when it does not live. */
export async function livingHolder(pidFile: string): Promise<number | undefined> {
  let entry: unknown;
  try {
    entry = await readJson(pidFile);
  } catch {
    return undefined;
  }
  if (typeof entry !== 'object' || entry === null || !('pid' in entry) || typeof entry.pid !== 'number') return undefined;
  if (entry.pid === process.pid) return undefined;
  const living = await readProcessIdentity(entry.pid);
  return living !== undefined && 'startTicks' in entry && living.startTicks === entry.startTicks ? entry.pid : undefined;
}
