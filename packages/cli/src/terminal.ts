import { resolve } from 'node:path';

/** Everything a command may touch of the process it runs in, so that tests can hand in another. */
export interface Terminal {
  readonly environment: Environment;
  /** Octets of standard input until its end. */
  readStdin(): Promise<string>;
  /** Asks on the terminal without echo. Only when `stdinIsTTY`. */
  readSecret(prompt: string): Promise<string>;
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
    readSecret: (prompt) => readSecret(process, prompt, signal),
  };
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
