import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  appendFile,
  chmod,
  chown,
  copyFile,
  mkdir,
  open,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  statfs,
  truncate,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Problem } from '@virt8ra/contract';
import type { Log } from '@virt8ra/engine';
import { Client, type ClientConfig } from 'pg';
import { readText, syncDirectory, writeFileAtomic } from '../files/atomic-file.js';
import { type Account, findAccount } from './account.js';
import type { Binaries } from './binaries.js';
import { isAlive, type ProcessIdentity, processesIn, processIdentity, signalProcess, workingDirectory } from './processes.js';
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
const rotateBytes = 16e6;

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

/** What must hold whatever the file says. Statements and details stay out of the log because they may carry secrets. */
function hardSettings(place: ClusterPlace): readonly string[] {
  return Object.entries({
    listen_addresses: '',
    unix_socket_directories: place.socketDirectory,
    unix_socket_permissions: '0700',
    port: '5432',
    fsync: 'on',
    full_page_writes: 'on',
    logging_collector: 'off',
    log_destination: 'stderr',
    log_error_verbosity: 'terse',
    log_min_error_statement: 'panic',
    log_statement: 'none',
  }).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}

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
    if (name.startsWith('data.new-')) await rm(join(place.root, name), { recursive: true, force: true });
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
  const child = spawn(command, args, { cwd: '/', env: childEnvironment, stdio: ['ignore', 'pipe', 'pipe'], ...runAs(account) });
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
const childEnvironment = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C', TZ: 'UTC' };

function runAs(account: Account | undefined): { uid?: number; gid?: number } {
  return account === undefined ? {} : { uid: account.uid, gid: account.gid };
}

/** The postmaster that works in the data directory, found by its own pid file and told from strangers by its working directory. */
export async function findPostmaster(place: ClusterPlace): Promise<(ProcessIdentity & { readonly socketDirectory: string }) | undefined> {
  const lines = (await readText(join(place.data, 'postmaster.pid')))?.split('\n');
  const pid = Number(lines?.[0]);
  if (lines === undefined || !Number.isInteger(pid) || pid <= 0) return undefined;
  const identity = await processIdentity(pid);
  if (identity === undefined || (await workingDirectory(pid)) !== (await realpath(place.data))) return undefined;
  return { ...identity, socketDirectory: lines[4] || place.socketDirectory };
}

/** After a postmaster was killed its children may linger; a new one cannot start beside them. */
export async function endOrphans(place: ClusterPlace, log: Log): Promise<void> {
  const data = await realpath(place.data);
  for (let round = 0; ; round += 1) {
    const orphans = await processesIn(data);
    if (orphans.length === 0) return;
    if (round === 60) throw new Problem('unavailable', `processes of an earlier PostgreSQL do not end: ${orphans.join(', ')}`);
    if (round === 10) log.warn('processes of a dead PostgreSQL linger and are ended', { pids: orphans });
    if (round === 10) for (const pid of orphans) signalProcess(pid, 'SIGQUIT');
    if (round === 30) for (const pid of orphans) signalProcess(pid, 'SIGKILL');
    await sleep(100);
  }
}

/** Starts it detached, so that it outlives this process. Resolves when it has begun, not when it is ready. */
export async function startPostmaster(
  place: ClusterPlace,
  binaries: Binaries,
): Promise<{ readonly child: ChildProcess; readonly logOffset: number }> {
  // A pid file whose number a stranger has by now would make postgres refuse.
  if ((await findPostmaster(place)) === undefined) await rm(join(place.data, 'postmaster.pid'), { force: true });
  const logHandle = await open(place.logFile, 'a', 0o600);
  try {
    const { size } = await logHandle.stat();
    const child = spawn(join(binaries.directory, 'postgres'), ['-D', place.data, ...hardSettings(place)], {
      cwd: '/',
      env: childEnvironment,
      detached: true,
      stdio: ['ignore', logHandle.fd, logHandle.fd],
      ...runAs(place.account),
    });
    await new Promise<void>((resolve, reject) => {
      child.once('error', (cause) => reject(new Problem('unavailable', `PostgreSQL could not be run: ${cause.message}`, { cause })));
      child.once('spawn', () => resolve());
    });
    child.unref();
    return { child, logOffset: size };
  } finally {
    await logHandle.close();
  }
}

/**
 * Resolves when a query is answered. While it recovers from a crash it is waited for as long as it lives. Raises what its log says when
 * it ends, and `unavailable` when it is alive but does not answer for `silenceMs`.
 */
export async function awaitReady(
  place: ClusterPlace,
  connection: ClientConfig,
  postmaster: { readonly alive: () => Promise<boolean>; readonly logOffset: number },
  log: Log,
  silenceMs = 60_000,
): Promise<string> {
  const startedAt = performance.now();
  let lastSignAt = startedAt;
  let reportedAt = startedAt;
  for (let pauseMs = 10; ; pauseMs = Math.min(pauseMs * 1.5, 200)) {
    const answer = await askVersion(connection);
    if ('version' in answer) {
      if (answer.data !== (await realpath(place.data))) {
        throw new Problem('conflict', `the database that answers at ${connection.host ?? ''} lies in ${answer.data}, not in ${place.data}`);
      }
      return answer.version;
    }
    // 57P03: starting up, in recovery or shutting down.
    if (answer.code === '57P03') lastSignAt = performance.now();
    if (answer.code === '28P01') {
      throw new Problem('internal', `the database does not accept the password in ${place.passwordFile}; restore that file from a backup`);
    }
    if (!(await postmaster.alive())) throw startFailure(await readTail(place.logFile, postmaster.logOffset), place);
    if (performance.now() - lastSignAt > silenceMs) {
      throw new Problem('unavailable', `PostgreSQL runs but does not answer (${answer.message}); see ${place.logFile}`);
    }
    if (performance.now() - reportedAt > 10_000) {
      reportedAt = performance.now();
      log.info('the database is not ready yet', { seconds: secondsSince(startedAt), answer: answer.message });
    }
    await sleep(pauseMs);
  }
}

async function askVersion(
  connection: ClientConfig,
): Promise<{ readonly version: string; readonly data: string } | { readonly code: string | undefined; readonly message: string }> {
  const client = new Client({ ...connection, connectionTimeoutMillis: 10_000, query_timeout: 10_000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    const { rows } = await client.query<{ version: string; data: string }>(
      `select current_setting('server_version') as version, current_setting('data_directory') as data`,
    );
    const row = rows[0];
    return row === undefined ? { code: undefined, message: 'an empty answer' } : { version: row.version, data: await realpath(row.data) };
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    return { code, message };
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function readTail(path: string, offset: number): Promise<string> {
  const content = await readFile(path).catch(() => Buffer.alloc(0));
  return content.subarray(Math.max(offset, content.length - 20_000)).toString('utf8');
}

/** Fast shutdown: connections are broken, nothing is lost. After 30 s it is ended the hard way, which costs a recovery at next start. */
export async function stopPostmaster(identity: ProcessIdentity, log: Log): Promise<void> {
  signalProcess(identity.pid, 'SIGINT');
  for (let round = 0; await isAlive(identity); round += 1) {
    if (round === 600) {
      log.warn('the database does not end and is stopped at once', { pid: identity.pid });
      signalProcess(identity.pid, 'SIGQUIT');
    }
    if (round === 800) signalProcess(identity.pid, 'SIGKILL');
    await sleep(50);
  }
}

/** PostgreSQL appends to the file it was given, so that it is copied and cut instead of renamed. */
export async function rotateLog(place: ClusterPlace): Promise<void> {
  const { size } = await stat(place.logFile);
  if (size < rotateBytes) return;
  await copyFile(place.logFile, `${place.logFile}.1`);
  await truncate(place.logFile, 0);
}

export function secondsSince(startedAt: number): number {
  return Math.round(performance.now() - startedAt) / 1000;
}
