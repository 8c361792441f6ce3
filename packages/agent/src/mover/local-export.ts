import { type ChildProcess, spawn } from 'node:child_process';
import { access, rm } from 'node:fs/promises';
import { Problem } from '@virt8ra/contract/plain';
import { readText } from '../disk/atomic-file.js';
import { diskFileNode, driverAt } from '../disk/disk-driver.js';
import { awaitExit, readProcessIdentity, signalProcess } from '../system/process-identity.js';
import { NbdClient } from './nbd/client.js';

/** A disk image served to this mover alone by a qemu-nbd of its own. */
export interface LocalExport {
  readonly client: NbdClient;
  /** Closes the connection; returns when qemu-nbd has written and closed the image. */
  close(): Promise<void>;
  /** Ends when qemu-nbd does, with what it said if that was not asked for. */
  readonly ended: Promise<Problem>;
}

export type ExportedDisk =
  | { readonly access: 'read'; readonly files: readonly string[] }
  /** Whatever may be written to it meanwhile; newest on top, and nothing below that is not named. */
  | { readonly access: 'glance'; readonly files: readonly string[]; readonly format: 'qcow2' | 'raw' }
  /** One qcow2 file. */
  | { readonly access: 'write'; readonly file: string };

/** What became of the export that was last at a socket: `killed` when its qemu-nbd may not have written all it had taken. */
export type EarlierExport = 'none' | 'closed' | 'killed';

const startMs = 10_000;
const retryMs = 10;
const settleMs = 30_000;

/** The image as QEMU's block layer opens it; files newest on top, nothing but what is named. */
async function imageName(disk: ExportedDisk): Promise<string> {
  const paths = disk.access === 'write' ? [disk.file] : disk.files;
  const driver = disk.access === 'glance' ? disk.format : 'qcow2';
  const isSealed = driver === 'qcow2' && disk.access !== 'read';
  const files = await Promise.all(paths.map(async (path) => diskFileNode(await driverAt(path), path)));
  const image = files.reduceRight<object | null>(
    (backing, file) => ({
      driver,
      file,
      ...(isSealed || backing !== null || files.length > 1 ? { backing } : {}),
    }),
    null,
  );
  return `json:${JSON.stringify(disk.access === 'glance' ? { ...image, 'force-share': true } : image)}`;
}

/**
 * Serves an image on a unix socket and connects to it. The server ends, and closes the image, when the connection ends or this process dies. An
 * image that another process still has open is waited for, for a while. Raises Problem unsupported without qemu-nbd, unavailable when it
 * does not come up, exhausted or internal with qemu-nbd's words.
 */
export async function openLocalExport(disk: ExportedDisk, socketPath: string, contexts: readonly string[] = []): Promise<LocalExport> {
  const options = disk.access !== 'write' ? ['--read-only'] : ['--discard=unmap', '--detect-zeroes=unmap', '--cache=writeback'];
  const end = performance.now() + startMs;
  for (;;) {
    await rm(socketPath, { force: true });
    // Without --persistent it ends with its only client; the signal covers the time before there is one.
    const served = ['qemu-nbd', '--socket', socketPath, `--pid-file=${pidFile(socketPath)}`, ...options, await imageName(disk)];
    const args = ['--pdeathsig', 'TERM', ...served];
    const child = spawn('setpriv', args, { stdio: ['ignore', 'ignore', 'pipe'], cwd: '/' });
    const ended = endOf(child);
    let over: Problem | undefined;
    void ended.then((problem) => {
      over = problem;
    });
    try {
      const client = await connectWhenThere(socketPath, contexts, () => over, end);
      return {
        client,
        ended,
        close: async () => {
          await client.close();
          await ended;
        },
      };
    } catch (error) {
      child.kill('SIGTERM');
      const locked = /Failed to get .* lock/.test(over?.message ?? '');
      if (!locked || performance.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, retryMs * 5));
    }
  }
}

function endOf(child: ChildProcess): Promise<Problem> {
  return new Promise((resolve) => {
    let said = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      if (said.length < 4096) said += text;
    });
    child.once('error', (error: NodeJS.ErrnoException) =>
      resolve(
        error.code === 'ENOENT'
          ? new Problem('unsupported', 'setpriv (package util-linux) is not installed on this host')
          : new Problem('internal', `qemu-nbd did not start: ${error.message}`),
      ),
    );
    child.once('close', (status, signal) => {
      const words = said.trim().split('\n').slice(-3).join(' · ');
      if (words.includes('No such file or directory') && words.includes('setpriv'))
        return resolve(new Problem('unsupported', 'qemu-nbd (package qemu-utils) is not installed on this host'));
      resolve(new Problem('internal', `qemu-nbd ended with ${signal ?? `status ${status}`}${words === '' ? '' : `: ${words}`}`));
    });
  });
}

async function connectWhenThere(
  path: string,
  contexts: readonly string[],
  over: () => Problem | undefined,
  end: number,
): Promise<NbdClient> {
  for (;;) {
    try {
      return await NbdClient.connect({ address: { path }, contexts });
    } catch (error) {
      const ended = over();
      if (ended !== undefined) throw ended;
      if (!(error instanceof Problem) || error.kind !== 'unavailable' || performance.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, retryMs));
    }
  }
}

/**
 * Ends what an earlier mover left at a socket, waits until it is gone, and tells how it ended: qemu-nbd removes its socket after it has closed
 * the image, so that a socket without a process is that of a killed one. Raises Problem unavailable when the process does not end.
 */
export async function settleEarlierExport(socketPath: string): Promise<EarlierExport> {
  const pid = Number((await readText(pidFile(socketPath)))?.trim());
  if (!Number.isSafeInteger(pid) || pid <= 1) return 'none';
  const identity = await readProcessIdentity(pid);
  const ours = identity !== undefined && ((await readText(`/proc/${pid}/cmdline`)) ?? '').includes(socketPath);
  if (ours) {
    await signalProcess(identity, 'SIGTERM');
    if (!(await awaitExit(identity, settleMs)))
      throw new Problem('unavailable', `an earlier qemu-nbd (process ${pid}) still has the image open after ${settleMs / 1000} s`);
  }
  const killed = await access(socketPath).then(
    () => true,
    () => false,
  );
  await rm(socketPath, { force: true });
  await rm(pidFile(socketPath), { force: true });
  return killed ? 'killed' : 'closed';
}

function pidFile(socketPath: string): string {
  return `${socketPath}.pid`;
}
