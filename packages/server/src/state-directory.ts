import { existsSync } from 'node:fs';
import { chmod, mkdir, statfs } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { Problem } from '@virt8ra/contract';
import type { Log } from '@virt8ra/engine';
import { stateDirectoryHash } from './config.js';
import { type FileLock, lockFile } from './files/file-lock.js';

/** Lies in a state directory while a control plane backup is restored into it. */
export const restoreMarker = 'restoring.json';

const temporaryFileSystem = 0x01021994;

/**
 * Makes the state directory. As root others may pass through it, because the database runs under its own account; what is secret in it
 * is closed by itself. Raises `unavailable` when it cannot be made, and `conflict` while a restore into it was begun and not ended.
 */
export async function prepareStateDirectory(path: string, log: Log, { restoring = false } = {}): Promise<void> {
  const mode = process.getuid?.() === 0 ? 0o711 : 0o700;
  try {
    const made = await mkdir(path, { recursive: true, mode });
    // The umask may have taken bits away.
    if (made !== undefined) await chmod(path, mode);
  } catch (cause) {
    throw new Problem(
      'unavailable',
      `the state directory ${path} cannot be made: ${(cause as Error).message}; choose another with --state`,
      { cause },
    );
  }
  if (!restoring && existsSync(join(path, restoreMarker)))
    throw new Problem('conflict', `a restore into ${path} was begun and has not ended; run it again: virt8ra-server restore FILE`);
  if ((await statfs(path)).type === temporaryFileSystem) {
    log.warn('the state directory lies in memory and is lost at the next boot', { stateDirectory: path });
  }
}

export interface ReplicaName {
  readonly name: string;
  release(): Promise<void>;
}

const mostReplicas = 64;

/**
 * A name that no other living server has and that a server which comes back after a kill takes again, so that it finds its own leases:
 * the first free of a row of locks in the state directory.
 */
export async function takeReplicaName(stateDirectory: string): Promise<ReplicaName> {
  const directory = join(stateDirectory, 'replicas');
  await mkdir(directory, { recursive: true, mode: 0o700 });
  for (let slot = 1; slot <= mostReplicas; slot += 1) {
    const lock: FileLock | undefined = await lockFile(join(directory, `${slot}.lock`), 'exclusive', { wait: false });
    if (lock !== undefined)
      return { name: `${hostname()}/${stateDirectoryHash(stateDirectory)}/${slot}`, release: async () => await lock.release() };
  }
  throw new Problem('exhausted', `${mostReplicas} servers already run on ${stateDirectory}`);
}
