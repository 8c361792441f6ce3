import { spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { Duplex } from 'node:stream';
import { Problem } from '@virt8ra/contract';

/** Everything a command may touch of the process it runs in, so that tests can hand in another. */
export interface Terminal {
  readonly environment: Environment;
  /** Octets of standard input until its end. */
  readStdin(): Promise<string>;
  /** Asks on the terminal without echo. Only when `stdinIsTTY`. */
  readSecret(prompt: string): Promise<string>;
  /**
   * Hands over standard input as it comes: on a terminal key by key, with nothing interpreted here. Answers how to give it back.
   */
  takeInput(on: { readonly octets: (octets: Uint8Array) => void; readonly end: () => void }): InputHold;
  /** Standard output, octet by octet; `written` is called when they have gone. */
  outOctets(octets: Uint8Array, written?: () => void): void;
  /** Standard input and output as one connection. */
  duplex(): Duplex;
  /** Command that runs this very program. */
  readonly self: readonly string[];
  /** Runs a program that has the terminal to itself; answers its exit code. Raises `unsupported` when it is not installed. */
  runForeground(command: string, words: readonly string[]): Promise<number>;
  readonly stdinIsTTY: boolean;
  readonly stdoutIsTTY: boolean;
  readonly stderrIsTTY: boolean;
  /** Columns of standard output when it is a terminal. */
  readonly columns: number | undefined;
  out(text: string): void;
  err(text: string): void;
  now(): number;
  /** Fires at the first SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
}

export interface InputHold {
  pause(): void;
  resume(): void;
  release(): void;
}

/** Variables the CLI reads; nothing else looks at the environment. */
export interface Environment {
  readonly server: string | undefined;
  readonly token: string | undefined;
  readonly tenant: string | undefined;
  readonly workspace: string | undefined;
  readonly noColor: boolean;
  /** Folder of the context file. */
  readonly configFolder: string;
}

export function environmentFromVariables(variables: Readonly<Record<string, string | undefined>>): Environment {
  const given = (name: string) => (variables[name] === '' ? undefined : variables[name]);
  const home = given('HOME') ?? '/';
  return {
    server: given('VIRT8RA_SERVER'),
    token: given('VIRT8RA_TOKEN')?.trim(),
    tenant: given('VIRT8RA_TENANT'),
    workspace: given('VIRT8RA_WORKSPACE'),
    noColor: given('NO_COLOR') !== undefined || given('TERM') === 'dumb',
    configFolder: resolve(given('XDG_CONFIG_HOME') ?? resolve(home, '.config'), 'virt8ra'),
  };
}

/** The terminal of this process. */
export function terminalFromProcess(process: NodeJS.Process, signal: AbortSignal): Terminal {
  const { stdin, stdout, stderr } = process;
  return {
    environment: environmentFromVariables(process.env),
    stdinIsTTY: stdin.isTTY === true,
    stdoutIsTTY: stdout.isTTY === true,
    stderrIsTTY: stderr.isTTY === true,
    get columns() {
      return stdout.isTTY ? stdout.columns : undefined;
    },
    out: (text) => void stdout.write(text),
    err: (text) => void stderr.write(text),
    now: () => Date.now(),
    signal,
    async readStdin() {
      const chunks: Buffer[] = [];
      for await (const chunk of stdin) chunks.push(chunk as Buffer);
      return Buffer.concat(chunks).toString('utf8');
    },
    takeInput: (on) => takeInput(process, on),
    outOctets: (octets, written) => void stdout.write(octets, () => written?.()),
    duplex: () => Duplex.from({ readable: stdin, writable: stdout }),
    self: [process.execPath, process.argv[1] ?? ''],
    runForeground: (command, words) => runForeground(command, words),
    readSecret: (prompt) => readSecret(process, prompt, signal),
  };
}

function takeInput({ stdin }: NodeJS.Process, on: Parameters<Terminal['takeInput']>[0]): InputHold {
  if (stdin.isTTY) stdin.setRawMode(true);
  stdin.on('data', on.octets);
  stdin.once('end', on.end);
  stdin.resume();
  return {
    pause: () => void stdin.pause(),
    resume: () => void stdin.resume(),
    release() {
      stdin.off('data', on.octets);
      stdin.off('end', on.end);
      if (stdin.isTTY) stdin.setRawMode(false);
      stdin.pause();
    },
  };
}

async function runForeground(command: string, words: readonly string[]): Promise<number> {
  return await new Promise((resolve, reject) => {
    const child = spawn(command, words, { stdio: 'inherit' });
    child.once('error', (cause: NodeJS.ErrnoException) => {
      const why = cause.code === 'ENOENT' ? 'it is not installed' : cause.message;
      reject(new Problem('unsupported', `${command} cannot be run: ${why}`, { cause }));
    });
    child.once('exit', (code) => resolve(code ?? 1));
  });
}

function readSecret(process: NodeJS.Process, prompt: string, signal: AbortSignal): Promise<string> {
  const { stdin, stderr } = process;
  stderr.write(prompt);
  stdin.setRawMode(true);
  stdin.setEncoding('utf8');
  return new Promise((resolve, reject) => {
    let text = '';
    const finish = (settle: () => void) => {
      stdin.off('data', take);
      signal.removeEventListener('abort', stop);
      stdin.setRawMode(false);
      stdin.pause();
      stderr.write('\n');
      settle();
    };
    const stop = () => finish(() => reject(signal.reason));
    const take = (keys: string) => {
      for (const key of keys) {
        if (key === '\r' || key === '\n' || key === '\u0004') return finish(() => resolve(text));
        // Raw mode swallows the interrupt: hand it to the process as the terminal would.
        if (key === '\u0003') return void process.kill(process.pid, 'SIGINT');
        text = key === '\u007f' ? text.slice(0, -1) : text + key;
      }
    };
    stdin.on('data', take);
    signal.addEventListener('abort', stop);
    stdin.resume();
  });
}
