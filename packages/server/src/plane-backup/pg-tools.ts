import { type ChildProcessByStdio, execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { promisify } from 'node:util';
import { Problem } from '@virt8ra/contract';
import type { PoolConfig } from 'pg';
import { childEnvironment } from '../database/cluster.js';

const execute = promisify(execFile);

export interface PgTool {
  readonly path: string;
  readonly major: number;
}

/**
 * `pg_dump` or `pg_restore` of the server's own major version, else of the next newer one: an older one must not be used, and a much newer one
 * writes what an older server cannot read. Raises `unavailable` naming what to install.
 */
export async function findPgTool(name: 'pg_dump' | 'pg_restore', least: number, debianRoot = '/usr/lib/postgresql'): Promise<PgTool> {
  const majors = (await readdir(debianRoot).catch(() => [])).map(Number).filter(Number.isInteger);
  const installed = majors
    .map((major) => ({ major, path: join(debianRoot, String(major), 'bin', name) }))
    .filter(({ path }) => existsSync(path));
  const onPath = await execute(name, ['--version'], { env: childEnvironment }).then(
    ({ stdout }) => [{ major: Number(/(\d+)/.exec(stdout)?.[1] ?? 0), path: name }],
    () => [],
  );
  const fitting = [...installed, ...onPath].filter(({ major }) => major >= least).sort((left, right) => left.major - right.major);
  const [best] = fitting;
  if (best !== undefined) return best;
  const have = installed.length === 0 ? 'none is installed' : `installed: ${installed.map(({ major }) => major).join(', ')}`;
  throw new Problem(
    'unavailable',
    `${name} of PostgreSQL ${least} is needed (${have}). Install it: apt-get install postgresql-client-${least}`,
  );
}

/** How a tool reaches the database; the password goes by the environment, where other users cannot read it. */
export function reachOf(connection: PoolConfig): { readonly args: readonly string[]; readonly env: Readonly<Record<string, string>> } {
  if (connection.connectionString !== undefined) {
    const url = new URL(connection.connectionString);
    const password = decodeURIComponent(url.password) || (url.searchParams.get('password') ?? '');
    url.password = '';
    url.searchParams.delete('password');
    return { args: [`--dbname=${url.href}`], env: { ...childEnvironment, ...(password === '' ? {} : { PGPASSWORD: password }) } };
  }
  const { host, port, user, password, database } = connection;
  return {
    args: [`--host=${host ?? ''}`, `--port=${port ?? 5432}`, `--username=${user ?? ''}`, `--dbname=${database ?? ''}`],
    env: { ...childEnvironment, ...(typeof password === 'string' ? { PGPASSWORD: password } : {}) },
  };
}

/** Output of a dump of the whole database as one snapshot sees it. Raises `unavailable` with the tool's own words when it fails. */
export async function* dumpOf(tool: PgTool, connection: PoolConfig, snapshot: string): AsyncGenerator<Buffer> {
  const { args, env } = reachOf(connection);
  const child = start(tool, [...args, '--format=custom', '--no-owner', '--no-privileges', '--no-password', `--snapshot=${snapshot}`], env);
  child.stdin.end();
  const ended = endOf(child, 'pg_dump');
  ended.catch(() => undefined);
  try {
    yield* child.stdout as AsyncIterable<Buffer>;
    await ended;
  } finally {
    child.kill('SIGTERM');
  }
}

/** Fills an empty database from such a dump, wholly or not at all. */
export async function restoreDump(tool: PgTool, connection: PoolConfig, content: AsyncIterable<Buffer>): Promise<void> {
  const { args, env } = reachOf(connection);
  const options = ['--exit-on-error', '--single-transaction', '--no-owner', '--no-privileges', '--no-password'];
  const child = start(tool, [...args, ...options], env);
  const ended = endOf(child, 'pg_restore');
  ended.catch(() => undefined);
  child.stdout.resume();
  try {
    for await (const octets of content) {
      if (child.exitCode !== null || child.stdin.destroyed) break;
      if (!child.stdin.write(octets)) await Promise.race([drained(child), ended.catch(() => undefined)]);
    }
    child.stdin.end();
    await ended;
  } finally {
    child.kill('SIGTERM');
  }
}

type Tool = ChildProcessByStdio<Writable, Readable, Readable>;

function start({ path }: PgTool, args: readonly string[], env: Readonly<Record<string, string>>): Tool {
  // Tied to this process where that can be: a killed backup leaves no dump that runs on.
  const setpriv = '/usr/bin/setpriv';
  const tied = existsSync(setpriv) ? [setpriv, '--pdeathsig', 'TERM', path] : [path];
  const [program = path, ...before] = tied;
  const child: Tool = spawn(program, [...before, ...args], { cwd: '/', env, stdio: ['pipe', 'pipe', 'pipe'] });
  child.stdin.on('error', () => undefined);
  return child;
}

async function drained({ stdin }: Tool): Promise<void> {
  await new Promise<void>((resolve) => {
    stdin.once('drain', resolve);
    stdin.once('close', resolve);
  });
}

async function endOf(child: Tool, name: string): Promise<void> {
  let words = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    words = `${words}${text}`.slice(-4000);
  });
  await new Promise<void>((resolve, reject) => {
    child.once('error', (cause) => reject(new Problem('unavailable', `${name} could not be run: ${cause.message}`, { cause })));
    child.once('close', (code, signal) => {
      if (code === 0) resolve();
      else reject(new Problem('unavailable', `${name} failed (${signal ?? code}): ${words.trim().split('\n').slice(-3).join('; ')}`));
    });
  });
}
