import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { FakeControlPlane } from './fake-control-plane.js';
import { childOf } from './separate-machines.js';

const mainFile = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'dist', 'main.js');

/** A folder for a test, short enough for sockets and open to guests' users. */
export async function testFolder(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'v8a-'));
  await chmod(folder, 0o711);
  return folder;
}

/** An agent in a process of its own, so that tests can kill it as a power failure would. */
export class AgentProcess {
  readonly host: string;
  readonly folder: string;
  readonly #plane: FakeControlPlane;
  readonly #options: readonly string[];
  readonly #within: readonly string[];
  #child: ChildProcess | undefined;
  #log = '';

  /** `within`: the words that enter the machine it runs on, unless that is this one. */
  constructor(plane: FakeControlPlane, host: string, folder: string, options: readonly string[] = [], within: readonly string[] = []) {
    this.host = host;
    this.folder = folder;
    this.#plane = plane;
    this.#options = options;
    this.#within = within;
  }

  get pid(): number | undefined {
    const pid = this.#child?.pid;
    // Entering a machine leaves the process that entered in between.
    return pid === undefined || this.#within.length === 0 ? pid : childOf(pid);
  }

  get log(): string {
    return this.#log;
  }

  get state(): string {
    return join(this.folder, `${this.host}-state`);
  }

  start(): void {
    const enrol = ['--server', this.#plane.url, '--token', this.#plane.token(this.host), '--ca-sha256', this.#plane.authority.sha256];
    const options = [
      '--state',
      this.state,
      '--shutdown-seconds',
      '1',
      '--reserve-storage-gib',
      '0',
      '--network',
      'user',
      '--log-level',
      'debug',
      ...this.#options,
    ];
    const [command = '', ...args] = [...this.#within, process.execPath, mainFile, 'run', ...enrol, ...options];
    const child = spawn(command, args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { PATH: process.env['PATH'] ?? '', VIRT8RA_AGENT_RUNTIME: join(this.folder, `${this.host}-run`) },
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#log += text;
    });
    this.#child = child;
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    process.kill(this.pid ?? 0, signal);
    await ended;
  }

  serial(instanceKey: string): string {
    try {
      return readFileSync(join(this.state, 'instances', instanceKey, 'guest', 'serial.log'), 'latin1');
    } catch {
      return '';
    }
  }

  /** Ends the agent and every guest it left, by the pids it recorded, and removes its files. */
  async destroy(): Promise<void> {
    await this.stop('SIGKILL');
    for (const view of [this.#plane.view(this.host)]) {
      for (const { pid } of view.instances.values()) {
        if (pid === undefined) continue;
        const name = readCommand(pid);
        if (name.includes(this.folder)) process.kill(pid, 'SIGKILL');
      }
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function readCommand(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}
