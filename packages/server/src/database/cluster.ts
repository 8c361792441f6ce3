import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { appendFile, chmod, chown, mkdir, readdir, rename, rm, stat, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Problem } from '@virt8ra/contract';
import type { Log } from '@virt8ra/engine';
import { readText, syncDirectory, writeFileAtomic } from '../files/atomic-file.js';
import { type Account, findAccount } from './account.js';
import type { Binaries } from './binaries.js';
import { startFailure } from './start-failure.js';

/** Places of the own PostgreSQL below `<state>/pg`. */
export interface ClusterPlace {
  readonly root: string;
  readonly data: string;
  readonly logFile: string;
  readonly passwordFile: string;
  /** Held while it is made, started or stopped. */
  readonly changeLock: string;
  /** Held, shared, by every server that uses it. */
  readonly usersLock: string;
  readonly socketDirectory: string;
  readonly account: Account | undefined;
}

/** Name of the role and of the database. */
export const databaseName = 'virt8ra';

const leastFreeBytes = 256e6;

/** Soft settings, written once into postgresql.conf, where an operator may change them. */
const initialSettings = `
# Written by virt8ra-server when the database was made. Change what you like, then restart it.
shared_buffers = 64MB
max_connections = 100
maintenance_work_mem = 32MB
min_wal_size = 80MB
max_wal_size = 1GB
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] '
log_checkpoints = off
`;

/** Makes the directories around the cluster. Raises `unavailable` when the account cannot reach them. */
export async function prepareDirectories(place: ClusterPlace): Promise<void> {
  const { account } = place;
  const outside = account === undefined ? 0o700 : 0o711;
  await makeDirectory(dirname(place.root), outside);
  await makeDirectory(place.root, outside);
  for (const own of [dirname(place.logFile), place.socketDirectory]) {
    await makeDirectory(own, 0o700);
    if (account !== undefined) await chown(own, account.uid, account.gid);
  }
  if (account !== undefined && !(await canEnter(account, place.socketDirectory))) {
    throw new Problem(
      'unavailable',
      `PostgreSQL runs as ${account.name}, which cannot reach ${place.root}: a directory above it is closed to others. Choose another state directory, such as /var/lib/virt8ra`,
    );
  }
}

async function makeDirectory(path: string, mode: number): Promise<void> {
  const made = await mkdir(path, { recursive: true, mode });
  // The umask may have taken bits away.
  if (made !== undefined) await chmod(path, mode);
}

async function canEnter(account: Account, directory: string): Promise<boolean> {
  const child = spawn('/usr/bin/test', ['-x', directory], { cwd: '/', uid: account.uid, gid: account.gid, stdio: 'ignore' });
  return await new Promise((resolve) => {
    child.once('error', () => resolve(true));
    child.once('exit', (code) => resolve(code === 0));
  });
}

/** Major version that made the data directory; undefined when there is none. Raises `internal` when the directory is no cluster. */
export async function clusterMajor(place: ClusterPlace): Promise<number | undefined> {
  const text = await readText(join(place.data, 'PG_VERSION'));
  const major = Number.parseInt(text ?? '', 10);
  if (Number.isInteger(major)) return major;
  const entries = await readdir(place.data).catch(() => undefined);
  if (entries === undefined) return undefined;
  throw new Problem(
    'internal',
    `${place.data} is no PostgreSQL data directory: PG_VERSION is ${text === undefined ? 'missing' : 'damaged'}. Restore it from a backup`,
  );
}

/** Raises `unavailable` when the data belong to another account than the one PostgreSQL would run as. */
export async function assertOwner(place: ClusterPlace): Promise<void> {
  const { uid } = await stat(place.data);
  const expected = place.account?.uid ?? process.getuid?.() ?? uid;
  if (uid === expected) return;
  const owner = (await findAccount(uid))?.name ?? `uid ${uid}`;
  const runner = place.account?.name ?? (await findAccount(expected))?.name ?? `uid ${expected}`;
  throw new Problem(
    'unavailable',
    `${place.data} belongs to ${owner}, but PostgreSQL would run as ${runner}. Start the server as before, or give it over: chown -R ${runner} ${place.data}`,
  );
}

/** Makes the cluster aside and moves it into place when it is whole, so that a crash leaves nothing half made. */
export async function createCluster(place: ClusterPlace, binaries: Binaries, log: Log): Promise<void> {
  const { account } = place;
  const { bavail, bsize } = await statfs(place.root);
  if (bavail * bsize < leastFreeBytes) {
    throw new Problem(
      'exhausted',
      `a new database needs ${leastFreeBytes / 1e6} MB, and ${place.root} has ${Math.floor((bavail * bsize) / 1e6)} MB left`,
    );
  }
  for (const name of await readdir(place.root)) {
    if (!name.startsWith('data.new-')) continue;
    await rm(join(place.root, name), { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }).catch((error: unknown) => {
      log.warn('what a cut start left half made could not be removed', { name, error: String(error) });
    });
  }
  const fresh = join(place.root, `data.new-${randomBytes(4).toString('hex')}`);
  await mkdir(fresh, { mode: 0o700 });
  const password = randomBytes(24).toString('base64url');
  await writeFileAtomic(place.passwordFile, `${password}\n`);
  const handed = join(place.root, `${randomBytes(4).toString('hex')}.pw`);
  await writeFileAtomic(handed, `${password}\n`);
  if (account !== undefined) for (const path of [fresh, handed]) await chown(path, account.uid, account.gid);
  try {
    const startedAt = performance.now();
    const args = ['-D', fresh, '-U', databaseName, '-E', 'UTF8', '--locale=C', '-A', 'scram-sha-256', '-k', `--pwfile=${handed}`];
    const { code, output } = await runToEnd(join(binaries.directory, 'initdb'), args, account);
    if (code !== 0) throw startFailure(output, place);
    await appendFile(join(fresh, 'postgresql.conf'), initialSettings);
    await syncDirectory(fresh);
    await rename(fresh, place.data);
    await syncDirectory(place.root);
    log.info('a new database was made', {
      data: place.data,
      source: binaries.source,
      major: binaries.major,
      seconds: secondsSince(startedAt),
    });
  } finally {
    await rm(handed, { force: true });
    await rm(fresh, { recursive: true, force: true });
  }
}

async function runToEnd(
  command: string,
  args: readonly string[],
  account: Account | undefined,
): Promise<{ code: number | null; output: string }> {
  // It must not work on when this process is killed: the next start clears away what is half made.
  const setpriv = '/usr/bin/setpriv';
  const tied = existsSync(setpriv) ? [setpriv, '--pdeathsig', 'KILL', command] : [command];
  const [program = command, ...before] = tied;
  const child = spawn(program, [...before, ...args], {
    cwd: '/',
    env: childEnvironment,
    stdio: ['ignore', 'pipe', 'pipe'],
    ...runAs(account),
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output = `${output}${text}`.slice(-20_000);
    });
  }
  return await new Promise((resolve) => {
    child.once('error', (error) => resolve({ code: null, output: `error: ${error.message}` }));
    child.once('close', (code) => resolve({ code, output }));
  });
}

/** Nothing of the server's environment, which may hold secrets; messages in English, because they are read above. */
export const childEnvironment = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C', TZ: 'UTC' };

export function runAs(account: Account | undefined): { uid?: number; gid?: number } {
  return account === undefined ? {} : { uid: account.uid, gid: account.gid };
}

export function secondsSince(startedAt: number): number {
  return Math.round(performance.now() - startedAt) / 1000;
}
