import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Problem, toProblem } from '@virt8ra/contract';
import type { Log } from '@virt8ra/engine';
import { Client, type PoolConfig } from 'pg';
import { type Config, redactUrl } from '../config.js';
import { readText } from '../files/atomic-file.js';
import { type FileLock, lockFile, withFileLock } from '../files/file-lock.js';
import { databaseAccount } from './account.js';
import { findBinaries } from './binaries.js';
import { assertOwner, type ClusterPlace, clusterMajor, createCluster, databaseName, prepareDirectories, secondsSince } from './cluster.js';
import { awaitGivenDatabase } from './given-database.js';
import { awaitReady, endOrphans, findPostmaster, rotateLog, startPostmaster, stopPostmaster } from './postmaster.js';
import { isAlive, type ProcessIdentity, processIdentity } from './processes.js';
import { chooseSocketDirectory } from './socket-directory.js';

/** The database the server uses. */
export interface Database {
  /** `url`: someone else runs it. `attached`: found running; `started`: by this server. */
  readonly origin: 'url' | 'attached' | 'started';
  /** What a pool connects with; stays right when the database is restarted. */
  readonly connection: PoolConfig;
  /**
   * An own database ends (fast shutdown) unless another server uses it too. One given by URL is left alone.
   * Connections should be closed before.
   */
  stop(): Promise<void>;
}

export interface DatabaseOptions {
  readonly config: Pick<Config, 'stateDirectory' | 'runtimeDirectory' | 'database'>;
  readonly log: Log;
  /** For tests: where Debian keeps its versions. */
  readonly debianRoot?: string;
}

const watchMs = 500;
const rotateEveryMs = 60_000;

/**
 * The database given by URL, else an own PostgreSQL in the state directory: found running, or made and started. It outlives this process
 * when that is killed, is attached to again at the next start, and is restarted when it dies. Several servers on one state directory
 * share it; whoever sees it dead restarts it under a lock, and the last one to stop ends it.
 */
export async function startDatabase(options: DatabaseOptions): Promise<Database> {
  const { config, log } = options;
  if (config.database.url !== undefined) {
    await awaitGivenDatabase(config.database.url, log);
    log.info('the database is given by URL', { url: redactUrl(config.database.url) });
    return { origin: 'url', connection: { connectionString: config.database.url }, stop: async () => undefined };
  }
  const place = await clusterPlace(config, log);
  await prepareDirectories(place);
  return await startOwn(place, options);
}

async function clusterPlace(config: DatabaseOptions['config'], log: Log): Promise<ClusterPlace> {
  const { stateDirectory } = config;
  const account = await databaseAccount(config.database.user, log);
  const root = join(stateDirectory, 'pg');
  return {
    root,
    data: join(root, 'data'),
    logFile: join(root, 'log', 'postgresql.log'),
    passwordFile: join(root, 'password'),
    changeLock: join(root, 'change.lock'),
    usersLock: join(root, 'users.lock'),
    socketDirectory: chooseSocketDirectory(stateDirectory, { root: account !== undefined, runtimeDirectory: config.runtimeDirectory }),
    account,
  };
}

async function startOwn(place: ClusterPlace, options: DatabaseOptions): Promise<Database> {
  const { log } = options;
  const users = await lockUsers(place);
  let current: Running;
  try {
    current = await withFileLock(place.changeLock, async () => await ensureRunning(place, options));
  } catch (error) {
    await users.release();
    throw error;
  }
  const { origin, connection } = current;
  // One found running may have its socket elsewhere; after a restart it must be where the pool looks.
  const kept: ClusterPlace = { ...place, socketDirectory: connection.host };
  const stopping = new AbortController();
  const watching = watch(kept, options, current, stopping.signal);
  return {
    origin,
    connection,
    async stop() {
      stopping.abort();
      await watching;
      await withFileLock(place.changeLock, async () => {
        await users.release();
        const last = await lockFile(place.usersLock, 'exclusive', { wait: false });
        if (last === undefined) {
          log.info('the database runs on for another server');
          return;
        }
        const startedAt = performance.now();
        const postmaster = await findPostmaster(place);
        if (postmaster !== undefined) await stopPostmaster(postmaster, log);
        await last.release();
        log.info('the database was stopped', { seconds: secondsSince(startedAt) });
      });
    },
  };
}

async function lockUsers(place: ClusterPlace): Promise<FileLock> {
  // Under the change lock, so that no server that is stopping takes this one for absent.
  return await withFileLock(place.changeLock, async () => {
    const lock = await lockFile(place.usersLock, 'shared', { wait: true });
    if (lock === undefined) throw new Problem('internal', `the lock ${place.usersLock} was refused`);
    return lock;
  });
}

interface Running {
  readonly origin: 'attached' | 'started';
  readonly postmaster: ProcessIdentity;
  readonly connection: PoolConfig & { readonly host: string };
}

/** Called under the change lock. */
async function ensureRunning(place: ClusterPlace, options: DatabaseOptions): Promise<Running> {
  const { log } = options;
  const startedAt = performance.now();
  const found = (await clusterMajor(place)) === undefined ? undefined : await findPostmaster(place);
  if (found !== undefined) return await attach(place, found, log);
  const major = await clusterMajor(place);
  const binaries = await findBinaries({
    major,
    prefer: options.config.database.binaries,
    home: place.root,
    account: place.account,
    ...(options.debianRoot === undefined ? {} : { debianRoot: options.debianRoot }),
  });
  if (major === undefined) await createCluster(place, binaries, log);
  await assertOwner(place);
  const connection = await connectionOf(place, place.socketDirectory);
  await endOrphans(place, log);
  const { child, logOffset } = await startPostmaster(place, binaries);
  const postmaster = await processIdentity(child.pid ?? -1);
  const alive = async (): Promise<boolean> => child.exitCode === null && child.signalCode === null;
  const version = await awaitReady(place, { ...connection, database: 'postgres' }, { alive, logOffset }, log);
  await ensureDatabase(connection);
  if (postmaster === undefined) throw new Problem('unavailable', 'PostgreSQL ended right after its start');
  log.info('the database is ready', {
    version,
    source: binaries.source,
    data: await realpath(place.data),
    seconds: secondsSince(startedAt),
  });
  return { origin: 'started', postmaster, connection };
}

async function attach(place: ClusterPlace, found: ProcessIdentity & { readonly socketDirectory: string }, log: Log): Promise<Running> {
  const connection = await connectionOf(place, found.socketDirectory);
  const version = await awaitReady(place, { ...connection, database: 'postgres' }, { alive: () => isAlive(found), logOffset: 0 }, log);
  await ensureDatabase(connection);
  log.info('the database was found running', { version, pid: found.pid });
  return { origin: 'attached', postmaster: found, connection };
}

async function connectionOf(place: ClusterPlace, socketDirectory: string): Promise<PoolConfig & { readonly host: string }> {
  const password = (await readText(place.passwordFile))?.trim();
  if (password === undefined || password === '') {
    throw new Problem(
      'internal',
      `${place.passwordFile} is missing, and without it the database cannot be opened; restore it from a backup`,
    );
  }
  return { host: socketDirectory, port: 5432, user: databaseName, password, database: databaseName };
}

/** A crash between initdb and this leaves a cluster without our database. */
async function ensureDatabase(connection: PoolConfig): Promise<void> {
  const client = new Client({ ...connection, database: 'postgres' });
  client.on('error', () => undefined);
  await client.connect();
  try {
    const { rowCount } = await client.query('select 1 from pg_database where datname = $1', [databaseName]);
    if (rowCount === 0) await client.query(`create database ${databaseName}`);
  } finally {
    await client.end();
  }
}

/** Looks after the database until `signal`: rotates its log, and restarts it with back-off when it is gone. */
async function watch(place: ClusterPlace, options: DatabaseOptions, first: Running, signal: AbortSignal): Promise<void> {
  const { log } = options;
  let current = first;
  let rotateAt = performance.now();
  const pause = async (milliseconds: number): Promise<void> =>
    await sleep(milliseconds, undefined, { signal, ref: false }).catch(() => undefined);
  for (;;) {
    await pause(watchMs);
    if (signal.aborted) return;
    if (performance.now() >= rotateAt) {
      rotateAt = performance.now() + rotateEveryMs;
      await rotateLog(place).catch((error: unknown) => log.warn('the log of the database could not be rotated', { error: String(error) }));
    }
    if (await isAlive(current.postmaster)) continue;
    log.error('the database died; it is started again', { pid: current.postmaster.pid });
    for (let backoffMs = 100; !signal.aborted; backoffMs = Math.min(backoffMs * 2, 5_000)) {
      try {
        current = await withFileLock(place.changeLock, async () => await ensureRunning(place, options));
        break;
      } catch (error) {
        log.error('the database could not be started again', { error: toProblem(error).message, nextSeconds: backoffMs / 1000 });
        await pause(backoffMs);
      }
    }
  }
}
