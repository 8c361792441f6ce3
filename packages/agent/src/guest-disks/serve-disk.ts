import { type ChildProcess, spawn } from 'node:child_process';
import { access, chown, rm } from 'node:fs/promises';
import { Problem } from '@virt8ra/contract';
import { diskFileNode, driverAt } from '../disk/disk-driver.js';
import type { GuestUser } from '../qemu/guest-user.js';

export interface ServedDisk {
  /** Returns when qemu-nbd has written and closed the image. Raises Problem internal with its words when it did not end well. */
  close(): Promise<void>;
}

const startMs = 15_000;
const lookMs = 20;

/** Serves a disk on a unix socket that `user` may connect to; it ends with this process at the latest. */
export async function serveDisk(
  files: readonly string[],
  socket: string,
  { user, writable }: { readonly user: GuestUser | undefined; readonly writable: boolean },
): Promise<ServedDisk> {
  const nodes = await Promise.all(files.map(async (path) => diskFileNode(await driverAt(path), path)));
  const image = nodes.reduceRight<object | null>((backing, file) => ({ driver: 'qcow2', file, backing }), null);
  const options = writable ? ['--discard=unmap', '--detect-zeroes=unmap', '--cache=writeback'] : ['--read-only'];
  await rm(socket, { force: true });
  const served = ['qemu-nbd', '--persistent', '--shared=8', '--socket', socket, ...options, `json:${JSON.stringify(image)}`];
  const child = spawn('setpriv', ['--pdeathsig', 'TERM', ...served], { stdio: ['ignore', 'ignore', 'pipe'], cwd: '/' });
  const ended = endOf(child);
  let over: string | undefined;
  void ended.then((said) => {
    over = said;
  });
  for (const end = performance.now() + startMs; ; ) {
    if (over !== undefined) throw new Problem('internal', `qemu-nbd ended: ${over}`);
    const there = await access(socket).then(
      () => true,
      () => false,
    );
    if (there) break;
    if (performance.now() > end) {
      child.kill('SIGKILL');
      throw new Problem('unavailable', `qemu-nbd did not come up within ${startMs / 1000} s`);
    }
    await new Promise((resolve) => setTimeout(resolve, lookMs));
  }
  if (user !== undefined) await chown(socket, user.uid, user.gid);
  return {
    close: async () => {
      child.kill('SIGTERM');
      const said = await ended;
      await rm(socket, { force: true });
      if (child.exitCode !== 0) throw new Problem('internal', `qemu-nbd did not close the image: ${said}`);
    },
  };
}

async function endOf(child: ChildProcess): Promise<string> {
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    if (said.length < 4096) said += text;
  });
  return await new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (status, signal) => resolve(said.trim() || `${signal ?? `status ${status}`}`));
  });
}
