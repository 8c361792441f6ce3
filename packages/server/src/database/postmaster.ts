import { type ChildProcess, spawn } from 'node:child_process';
import { copyFile, open, readFile, realpath, rm, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Problem } from '@virt8ra/contract';
import type { Log } from '@virt8ra/engine';
import { Client, type ClientConfig } from 'pg';
import { readText } from '../files/atomic-file.js';
import type { Binaries } from './binaries.js';
import { type ClusterPlace, childEnvironment, runAs, secondsSince } from './cluster.js';
import { isAlive, type ProcessIdentity, processesIn, processIdentity, signalProcess, workingDirectory } from './processes.js';
import { startFailure } from './start-failure.js';

const rotateBytes = 16e6;

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
    // Those of a host that runs guests, too, are theirs.
    huge_pages: 'off',
  }).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
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
  // Lock files whose number a stranger or a corpse nobody buried has by now would make postgres refuse.
  if ((await findPostmaster(place)) === undefined) {
    for (const stale of [join(place.data, 'postmaster.pid'), join(place.socketDirectory, '.s.PGSQL.5432.lock')])
      await rm(stale, { force: true });
  }
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
