import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { Problem } from '@virt8ra/contract';
import { type GuestUser, unprivileged } from '../qemu/guest-user.js';

export interface SessionOptions {
  /** NBD exports, in the order of the machine. */
  readonly disks: readonly { readonly socket: string; readonly exportName: string }[];
  readonly writable: boolean;
  /** Folder of `user`'s own, for what libguestfs writes. */
  readonly folder: string;
  readonly appliance: string;
  readonly accelerator: 'kvm' | 'tcg';
  readonly user: GuestUser | undefined;
  readonly signal: AbortSignal;
}

const memoryMiB = 768;
const launchMs = 300_000;
const commandMs = 120_000;
const outputBytes = 8 * 1024 * 1024;

/**
 * The appliance of libguestfs with the disks, driven through guestfish: a guest of its own, under a user without rights, without a network. It ends when its
 * input does, and so with this process.
 */
export class ApplianceSession {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #ended: Promise<string>;
  #output = '';
  #errors = '';
  #over: string | undefined;
  #look: () => void = () => {};

  private constructor(child: ChildProcessWithoutNullStreams) {
    this.#child = child;
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#output += text;
      if (this.#output.length > outputBytes) child.kill('SIGKILL');
      this.#look();
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#errors = `${this.#errors}${text}`.slice(-65_536);
      this.#look();
    });
    child.stdin.on('error', () => {});
    this.#ended = new Promise((resolve) => {
      const end = (how: string): void => {
        this.#over ??= how;
        this.#look();
        resolve(how);
      };
      child.once('error', (error) => end(error.message));
      child.once('close', (status, signal) => end(`ended with ${signal ?? `status ${status}`}`));
    });
  }

  /** Raises Problem unavailable when the appliance does not come up. */
  static async open(options: SessionOptions): Promise<ApplianceSession> {
    const { disks, writable, folder, appliance, accelerator, user, signal } = options;
    const drives = disks.flatMap(({ socket, exportName }) => ['-a', `nbd:///${exportName}?socket=${socket}`]);
    const [command = '', ...args] = unprivileged(user, [
      'stdbuf',
      '-o0',
      'guestfish',
      '--format=raw',
      ...(writable ? [] : ['--ro']),
      ...drives,
    ]);
    const child = spawn(command, args, {
      cwd: folder,
      stdio: 'pipe',
      signal,
      killSignal: 'SIGKILL',
      env: {
        PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        LC_ALL: 'C.UTF-8',
        HOME: folder,
        TMPDIR: folder,
        LIBGUESTFS_CACHEDIR: folder,
        LIBGUESTFS_PATH: appliance,
        LIBGUESTFS_BACKEND: 'direct',
        LIBGUESTFS_MEMSIZE: String(memoryMiB),
        ...(accelerator === 'tcg' ? { LIBGUESTFS_BACKEND_SETTINGS: 'force_tcg' } : {}),
      },
    });
    const session = new ApplianceSession(child);
    try {
      await session.run(['run'], launchMs);
    } catch (error) {
      await session.kill();
      throw error;
    }
    return session;
  }

  /** What one command of guestfish prints. Raises Problem internal with its words when it fails, unavailable when it takes too long. */
  async run(words: readonly string[], timeoutMs = commandMs): Promise<string> {
    const [command = '', ...args] = words;
    const mark = `mark-${randomBytes(9).toString('hex')}`;
    this.#output = '';
    this.#errors = '';
    this.#child.stdin.write(`-${[command, ...args.map(quoted)].join(' ')}\n!echo; echo ${mark}; echo ${mark} >&2\n`);
    const end = `\n${mark}\n`;
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#child.kill('SIGKILL');
        reject(new Problem('unavailable', `the appliance took longer than ${timeoutMs / 1000} s for ${command}`));
      }, timeoutMs);
      this.#look = () => {
        const done = this.#output.endsWith(end) && this.#errors.endsWith(`${mark}\n`);
        if (!done && this.#over === undefined) return;
        clearTimeout(timer);
        this.#look = () => {};
        if (done) resolve();
        else reject(new Problem('unavailable', `the appliance ended at ${command}: ${this.#over}; ${words5(this.#errors)}`));
      };
      this.#look();
    });
    const errors = this.#errors.slice(0, -(mark.length + 1));
    const failed = errors.split('\n').find((line) => line.includes('error:'));
    if (failed !== undefined) throw new Problem('internal', failed.replace(/^.*?error: /, '').slice(0, 1024));
    return this.#output.slice(0, -end.length);
  }

  /** Writes everything out and ends. Raises Problem when that failed. */
  async close(): Promise<void> {
    await this.run(['umount-all']);
    await this.run(['sync']);
    await this.run(['shutdown']);
    this.#child.stdin.end();
    await this.#ended;
  }

  async kill(): Promise<void> {
    this.#child.stdin.end();
    this.#child.kill('SIGKILL');
    await this.#ended;
  }
}

/** A word as guestfish reads it. Raises Problem invalid-request for what no path of ours has. */
function quoted(word: string): string {
  if (/\p{Cc}/u.test(word)) throw new Problem('invalid-request', 'a name on the guest’s disk has control characters');
  return `"${word.replaceAll(/["\\]/g, '\\$&')}"`;
}

function words5(text: string): string {
  return text.trim().split('\n').slice(-5).join(' · ').slice(0, 1024);
}
