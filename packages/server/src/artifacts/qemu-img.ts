import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { type FileHandle, readFile } from 'node:fs/promises';
import { Problem } from '@virt8ra/contract';

const qemuImg = '/usr/bin/qemu-img';
const prlimit = '/usr/bin/prlimit';
const setpriv = '/usr/bin/setpriv';
const defaultTimeoutMs = 180_000;

export function hasQemuImg(): boolean {
  return existsSync(qemuImg);
}

/**
 * Has qemu-img walk every table of a qcow2 image that passed our own parser, and compares what it says. The image is a stranger's and the
 * reader a large C program: it runs with limits, without privileges, and gets the open file instead of a path.
 * Raises `validation` when the image is damaged, `unavailable` when the reader could not do its work.
 */
export async function checkWithQemuImg(file: FileHandle, expected: { readonly virtualSizeBytes: number }): Promise<void> {
  const check = await runQemuImg(['check', '--output=json', '-f', 'qcow2', '-U', path], { source: file });
  // 3: clusters that nothing uses, harmless.
  if (check.code !== 0 && check.code !== 3) {
    const corruptions = (parsed(check.output) as { corruptions?: number } | undefined)?.corruptions;
    throw new Problem(
      'validation',
      `the qcow2 image is refused: qemu-img check finds ${corruptions === undefined ? 'it unreadable' : `${corruptions} corruptions`}`,
      { facts: { complaint: check.complaint.slice(0, 500) } },
    );
  }
  const shown = await runQemuImg(['info', '--output=json', '-f', 'qcow2', '-U', path], { source: file });
  const facts = parsed(shown.output) as Record<string, unknown> | undefined;
  if (shown.code !== 0 || facts === undefined) throw new Problem('validation', 'the qcow2 image is refused: qemu-img cannot read it');
  const specific = (facts['format-specific'] as { data?: Record<string, unknown> } | undefined)?.data ?? {};
  if (
    facts['virtual-size'] !== expected.virtualSizeBytes ||
    facts['backing-filename'] !== undefined ||
    facts['encrypted'] === true ||
    facts['snapshots'] !== undefined ||
    specific['data-file'] !== undefined
  ) {
    throw new Problem('validation', 'the qcow2 image is refused: two readers understand its header differently');
  }
}

/** One run of qemu-img. */
interface Ran {
  readonly code: number;
  readonly output: string;
  readonly complaint: string;
}

export interface QemuImgRun {
  /** What it reads, as /proc/self/fd/3. */
  readonly source: FileHandle;
  /** What it writes, as /proc/self/fd/4, and how much of it at most. */
  readonly target?: { readonly file: FileHandle; readonly bytes: number };
  /** Default: three minutes. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** Told what it says of its progress, 0 to 100. */
  readonly onPercent?: (percent: number) => void;
}

const path = '/proc/self/fd/3';

/**
 * Runs qemu-img on open files of strangers: with limits, without privileges, and never by their names. Raises `validation` when it was stopped for asking for
 * too much, `unavailable` when it could not be run.
 */
export async function runQemuImg(args: readonly string[], { source, target, signal, onPercent, ...given }: QemuImgRun): Promise<Ran> {
  const timeoutMs = given.timeoutMs ?? defaultTimeoutMs;
  const memory = target === undefined ? 1024 ** 3 : 2 * 1024 ** 3;
  const cpuSeconds = Math.ceil(timeoutMs / 1500);
  const limits = existsSync(prlimit)
    ? [prlimit, `--as=${memory}`, `--cpu=${cpuSeconds}`, `--fsize=${target?.bytes ?? 0}`, '--core=0', '--nofile=64', '--']
    : [];
  const drop =
    process.getuid?.() === 0 && existsSync(setpriv)
      ? [
          setpriv,
          '--reuid=nobody',
          `--regid=${await groupOfNobody()}`,
          '--clear-groups',
          '--no-new-privs',
          '--inh-caps=-all',
          '--bounding-set=-all',
          '--',
        ]
      : [];
  const [program = qemuImg, ...rest] = [...drop, ...limits, qemuImg, ...args];
  const child = spawn(program, rest, {
    cwd: '/',
    env: { LC_ALL: 'C' },
    stdio: ['ignore', 'pipe', 'pipe', source.fd, ...(target === undefined ? [] : [target.file.fd])],
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
  });
  const stop = (): void => void child.kill('SIGKILL');
  signal?.addEventListener('abort', stop);
  let output = '';
  let complaint = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    const percent = onPercent === undefined ? undefined : /\((\d+\.\d+)\/100%\)[^(]*$/.exec(text)?.[1];
    if (percent !== undefined) onPercent?.(Number(percent));
    else output = `${output}${text}`.slice(0, 1_000_000);
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    complaint = `${complaint}${text}`.slice(-10_000);
  });
  try {
    return await new Promise((resolve, reject) => {
      child.once('error', (cause) => reject(new Problem('unavailable', `qemu-img could not be run: ${cause.message}`, { cause })));
      child.once('close', (code, ended) => {
        if (code !== null) resolve({ code, output, complaint });
        else if (signal?.aborted === true) reject(new Problem('unavailable', 'the work of qemu-img was ended', { retryAfterSeconds: 1 }));
        // Killed for time or for a limit: the image asks for more than an honest one.
        else
          reject(
            new Problem('validation', `the image is refused: reading it was stopped (${ended}) because it took too much time or memory`),
          );
      });
    });
  } finally {
    signal?.removeEventListener('abort', stop);
  }
}

async function groupOfNobody(): Promise<string> {
  const passwd = await readFile('/etc/passwd', 'utf8').catch(() => '');
  return /^nobody:[^:]*:\d+:(\d+):/m.exec(passwd)?.[1] ?? '65534';
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
