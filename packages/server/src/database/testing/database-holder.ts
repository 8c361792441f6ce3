import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chmod, chown, mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client, type ClientConfig } from 'pg';
import { processesIn, signalProcess } from '../processes.js';

const root = fileURLToPath(new URL('../../../../..', import.meta.url));
const holderPath = join(root, 'packages/server/dist/database/testing/hold-database.js');

/** Tests kill the process that holds a database, so that it must be another one: built, because Node runs no TypeScript. */
export function buildHolder(): void {
  try {
    execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-b', join(root, 'packages/server')], { stdio: 'pipe' });
  } catch {
    // It writes what it can; errors elsewhere are not this test's business.
  }
}

export const unprivileged = { uid: 65534, gid: 65534 } as const;

export interface Holder {
  readonly child: ChildProcess;
  readonly origin: string;
  readonly connection: ClientConfig;
  log(): string;
  /** Resolves when the text stands in the log. */
  logged(text: string): Promise<void>;
  query<Row extends object>(sql: string): Promise<Row[]>;
  postmasterPid(): Promise<number>;
  stop(): Promise<number | null>;
}

export interface StateDirectory {
  readonly path: string;
  /** Raises what the holder says when it cannot. */
  hold(options?: HoldOptions): Promise<Holder>;
  /** Kills whatever is left of it and removes it. */
  remove(): Promise<void>;
}

export interface HoldOptions {
  readonly flags?: readonly string[];
  readonly unprivileged?: boolean;
  readonly environment?: Readonly<Record<string, string>>;
}

export async function temporaryState(
  options: { readonly within?: string; readonly owner?: typeof unprivileged } = {},
): Promise<StateDirectory> {
  const outside = await mkdtemp('/tmp/virt8ra-database-');
  await chmod(outside, 0o755);
  if (options.owner !== undefined) await chown(outside, options.owner.uid, options.owner.gid);
  const path = join(outside, options.within ?? 'state');
  const children: ChildProcess[] = [];
  return {
    path,
    async hold(request = {}) {
      const holder = await startHolder(path, request, children);
      return holder;
    },
    async remove() {
      for (const child of children) child.kill('SIGKILL');
      for (const pid of await processesIn(join(path, 'pg', 'data'))) signalProcess(pid, 'SIGKILL');
      await rm(outside, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
    },
  };
}

async function startHolder(path: string, request: HoldOptions, children: ChildProcess[]): Promise<Holder> {
  const child = spawn(process.execPath, [holderPath, '--state', path, ...(request.flags ?? [])], {
    cwd: '/',
    env: { PATH: process.env['PATH'], ...request.environment },
    stdio: ['pipe', 'pipe', 'pipe'],
    ...(request.unprivileged === true && process.getuid?.() === 0 ? unprivileged : {}),
  });
  children.push(child);
  let out = '';
  let err = '';
  const listeners = new Set<() => void>();
  const heard = (): void => {
    for (const listener of listeners) listener();
  };
  child.stdout.on('data', (octets: Buffer) => {
    out += octets.toString();
    heard();
  });
  child.stderr.on('data', (octets: Buffer) => {
    err += octets.toString();
    heard();
  });
  const exited = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)));
  const until = async (seen: () => boolean, what: string): Promise<void> => {
    await new Promise<void>((resolve, reject) => {
      const check = (): void => {
        if (!seen()) return;
        listeners.delete(check);
        resolve();
      };
      listeners.add(check);
      check();
      void exited.then(() => reject(new Error(`the holder ended before ${what}: ${out}${err}`)));
    });
  };
  await until(() => out.includes('\n'), 'it was ready');
  const answer = JSON.parse(out) as { failed?: string; kind?: string; origin: string; connection: ClientConfig };
  if (answer.failed !== undefined) throw Object.assign(new Error(answer.failed), { kind: answer.kind });
  return {
    child,
    ...answer,
    log: () => err,
    logged: async (text) => await until(() => err.includes(text), `it logged "${text}"`),
    async query<Row extends object>(sql: string) {
      const client = new Client(answer.connection);
      await client.connect();
      try {
        return (await client.query<Row>(sql)).rows;
      } finally {
        await client.end();
      }
    },
    postmasterPid: async () => Number.parseInt(await readFile(join(path, 'pg', 'data', 'postmaster.pid'), 'utf8'), 10),
    async stop() {
      child.stdin.end();
      return await exited;
    },
  };
}
