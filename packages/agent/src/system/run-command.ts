import { spawn } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import { Problem } from '@virt8ra/contract/plain';

export interface CommandOptions {
  /** Killed after this many milliseconds. */
  readonly timeoutMs?: number;
  readonly input?: string;
  readonly signal?: AbortSignal;
}

const outputLimit = 4 * 1024 * 1024;

/**
 * Runs a system command without a shell and answers its standard output.
 * Raises Problem unsupported when the command is not installed, cancelled when aborted, unavailable on time-out, internal when it fails;
 * the message carries what it wrote to standard error.
 */
export async function runCommand(command: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
  const { timeoutMs = 60_000, input, signal } = options;
  return await new Promise<string>((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], ...(signal === undefined ? {} : { signal }) });
    let output = '';
    let errors = '';
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill('SIGKILL');
    }, timeoutMs);
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (output.length < outputLimit) output += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      if (errors.length < 8192) errors += text;
    });
    child.stdin.on('error', () => {});
    child.stdin.end(input ?? '');
    child.once('error', (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      if (error.code === 'ENOENT') reject(new Problem('unsupported', `${command} is not installed on this host`, { cause: error }));
      else if (error.name === 'AbortError') reject(new Problem('cancelled', `${command} was cancelled`, { cause: error }));
      else reject(new Problem('internal', `${command} did not start: ${error.message}`, { cause: error }));
    });
    child.once('close', (code, killedBy) => {
      clearTimeout(timer);
      if (code === 0) return resolve(output);
      const how = late ? `took longer than ${timeoutMs / 1000} s` : `ended with ${code === null ? killedBy : `status ${code}`}`;
      const said = errors.trim().split('\n').slice(-5).join(' · ');
      reject(new Problem(late ? 'unavailable' : 'internal', `${command} ${how}${said === '' ? '' : `: ${said}`}`, { facts: { args } }));
    });
  });
}

const commandFolders = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'] as const;

/** True when a system command of that name is installed. */
export async function hasCommand(command: string): Promise<boolean> {
  for (const folder of commandFolders) {
    const usable = await access(`${folder}/${command}`, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (usable) return true;
  }
  return false;
}
