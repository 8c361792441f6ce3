import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Problem } from '@virt8ra/contract/plain';
import type { BackupUploader, UploadProgress } from '../backups/backup-reconciler.js';
import type { Log } from '../log.js';
import type { ImageFetcher } from '../storage/image-cache.js';
import { kindFromCode, type Mover, type MoverNotice, type MoverPort, type ReceiveConfig, type SendConfig } from '../transfer/mover-port.js';
import { chunkBytes } from './chunks.js';
import type { DigestConfig } from './run-digest.js';
import type { FetchConfig } from './run-fetch.js';
import type { UploadConfig } from './run-upload.js';

export type MoverRole =
  | { readonly type: 'send'; readonly config: SendConfig }
  | { readonly type: 'receive'; readonly config: ReceiveConfig }
  | { readonly type: 'digest'; readonly config: DigestConfig }
  | { readonly type: 'fetch'; readonly config: FetchConfig }
  | { readonly type: 'upload'; readonly config: UploadConfig };

export interface SpawnedMover extends Mover {
  readonly pid: number | undefined;
}

const termMs = 5_000;
/**
 * Content lives outside of JavaScript's heap, which stays small: collecting it at once costs less than in steps, which the many short-lived
 * buffers of TLS would start again and again (a fifth of the receiver's time), and than by threads that compete with qemu-nbd.
 */
const nodeOptions = ['--max-old-space-size=48', '--max-semi-space-size=2', '--single-threaded', '--no-incremental-marking', '--expose-gc'];

/** Entry point in the build, also for tests that run from the sources. */
function mainFile(): string {
  const beside = fileURLToPath(new URL('mover-main.js', import.meta.url));
  return existsSync(beside) ? beside : beside.replace('/src/', '/dist/');
}

/**
 * Starts a mover in a process of its own. `onNotice` hears what it says; a process that ends without a last word is reported as `failed`.
 * When this process dies the mover stops by itself.
 */
export function spawnMover(role: MoverRole, onNotice: (notice: MoverNotice) => void, log: Log): SpawnedMover {
  const child = spawn(process.execPath, [...nodeOptions, mainFile()], { stdio: ['pipe', 'pipe', 'pipe'], cwd: '/' });
  let over = false;
  let killed = false;
  const say = (message: object) => {
    if (child.stdin.writable) child.stdin.write(`${JSON.stringify(message)}\n`);
  };
  child.stdin.on('error', () => {});
  say(role);
  const notices = createInterface({ input: child.stdout });
  notices.on('line', (line) => {
    if (killed) return;
    const notice = JSON.parse(line) as MoverNotice;
    over ||= notice.type === 'finished' || notice.type === 'aborted' || notice.type === 'failed';
    onNotice(notice);
  });
  createInterface({ input: child.stderr }).on('line', (line) => log.debug('a mover says', { pid: child.pid, line }));
  let fault = '';
  child.once('error', (error) => {
    fault = error.message;
  });
  const exited = new Promise<void>((resolve) => {
    // After `close` everything it wrote has been read.
    child.once('close', (status, signal) => {
      if (!over && !killed) {
        const how = fault === '' ? `it ended with ${signal ?? `status ${status}`}` : fault;
        onNotice({ type: 'failed', code: 'unavailable', message: `the mover’s process is gone: ${how}` });
      }
      resolve();
    });
  });
  return {
    pid: child.pid,
    exited,
    finish: () => say({ order: 'finish' }),
    hold: (holding) => say({ order: holding ? 'hold' : 'go-on' }),
    abort: () => say({ order: 'abort' }),
    kill: async () => {
      killed = true;
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), termMs);
      await exited;
      clearTimeout(timer);
    },
  };
}

/** Movers as child processes of the agent. */
export function spawnedMovers(log: Log): MoverPort {
  return {
    send: (config, onNotice) => spawnMover({ type: 'send', config }, onNotice, log),
    receive: (config, onNotice) => spawnMover({ type: 'receive', config }, onNotice, log),
    digest: async (file, _sizeBytes, directory, signal) => {
      const name = createHash('sha256').update(file).digest('hex').slice(0, 12);
      const socketDirectory = join(directory, name);
      const role: MoverRole = { type: 'digest', config: { file, socketDirectory } };
      const roots = await lastWordOf(role, signal, log).finally(async () => await rm(socketDirectory, { recursive: true, force: true }));
      return { root: roots[0] ?? '', chunkBytes };
    },
  };
}

/** Fetches images in a process of its own, so that the agent does not keep the memory that so many bytes leave behind. */
export function spawnedFetcher(identity: () => FetchConfig['credentials'] & Pick<FetchConfig, 'server'>, log: Log): ImageFetcher {
  return async (image, signal) => {
    const { server, certificate, privateKey, ca, proxies = {} } = identity();
    await lastWordOf({ type: 'fetch', config: { image, server, credentials: { certificate, privateKey, ca, proxies } } }, signal, log);
  };
}

/** Sends the content of a backup's volume in a process of its own; answers its digest. */
export function spawnedUploader(identity: () => FetchConfig['credentials'] & Pick<FetchConfig, 'server'>, log: Log): BackupUploader {
  return async ({ file, path }, onProgress, signal) => {
    const { server, certificate, privateKey, ca, proxies = {} } = identity();
    const config = { file, path, server, credentials: { certificate, privateKey, ca, proxies } };
    const [sha256] = await lastWordOf({ type: 'upload', config }, signal, log, onProgress);
    if (sha256 === undefined) throw new Problem('internal', 'an upload ended without a digest');
    return sha256;
  };
}

/** Has a mover do its work to the end; raises the Problem that it failed with, or cancelled. */
async function lastWordOf(
  role: MoverRole,
  signal: AbortSignal,
  log: Log,
  onProgress: (progress: UploadProgress) => void = () => {},
): Promise<readonly string[]> {
  return await new Promise((resolve, reject) => {
    const cancelled = () => reject(new Problem('cancelled', `a ${role.type} was cancelled`));
    const onNotice = (notice: MoverNotice) => {
      if (notice.type === 'progress') onProgress(notice);
      else if (notice.type === 'finished') resolve(notice.roots);
      else if (notice.type === 'failed') reject(new Problem(kindFromCode(notice.code), notice.message));
      else if (notice.type === 'aborted') cancelled();
    };
    const mover = spawnMover(role, onNotice, log);
    const cancel = () => {
      mover.kill().then(cancelled, reject);
    };
    if (signal.aborted) cancel();
    signal.addEventListener('abort', cancel, { once: true });
    void mover.exited.then(() => signal.removeEventListener('abort', cancel));
  });
}
