import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chown, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Problem } from '@virt8ra/contract';
import { Pool, type PoolConfig } from 'pg';
import type { Migration } from '../migrations.js';
import { makeCluster } from './make-cluster.js';
import { type Account, findPostgresBinaries, type PostgresBinaries, postgresAccount } from './postgres-binaries.js';

/** A private PostgreSQL cluster on a unix socket, without durability: for tests only. */
export interface TestPostgres {
  readonly source: PostgresBinaries['source'];
  readonly version: string;
  /** A fresh database with the migrations applied in order. `stop` ends the pool; `config` is for further ones. */
  createDatabase(migrations?: readonly Migration[]): Promise<TestDatabase>;
  /** Ends the pools and the cluster, and removes its files. */
  stop(): Promise<void>;
}

export interface TestDatabase {
  readonly pool: Pool;
  readonly config: PoolConfig;
  /** Another pool on it, of at most `max` connections. Whoever ends it need not: the end of the cluster is no fault of its connections. */
  connect(max: number): Pool;
}

export interface TestPostgresOptions {
  /** Default: Debian's when installed, else the npm package's. */
  readonly source?: PostgresBinaries['source'];
  /** Folder `native` of the npm package; default: the installed one. */
  readonly native?: string;
}

/**
 * Starts a cluster of this process. Call it in `beforeAll` and `stop` in `afterAll`; when the process dies without, the cluster ends too.
 * Raises `unavailable` when there are no binaries.
 */
export async function startTestPostgres(options: TestPostgresOptions = {}): Promise<TestPostgres> {
  const account = await postgresAccount();
  const home = await mkdtemp(join(tmpdir(), 'virt8ra-postgres-'));
  try {
    if (account !== undefined) await chown(home, account.uid, account.gid);
    const binaries = await findPostgresBinaries(options.source, home, account, options.native);
    const cluster = join(home, 'cluster');
    await makeCluster(binaries, cluster, home, account);
    const server = await startServer(join(binaries.directory, 'postgres'), cluster, home, account);
    return connectCluster(binaries, home, server);
  } catch (error) {
    await rm(home, { recursive: true, force: true });
    throw error;
  }
}

/** Resolves when it accepts connections. */
async function startServer(postgres: string, cluster: string, home: string, account: Account | undefined): Promise<ChildProcess> {
  const settings = {
    unix_socket_directories: home,
    listen_addresses: '',
    max_connections: '200',
    shared_buffers: '32MB',
    fsync: 'off',
    synchronous_commit: 'off',
    full_page_writes: 'off',
  };
  const args = ['-D', cluster, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])];
  // By setpriv the cluster gets a fast-shutdown signal when this process dies, however it dies.
  const setpriv = '/usr/bin/setpriv';
  const identity = account === undefined ? [] : ['--reuid', `${account.uid}`, '--regid', `${account.gid}`, '--clear-groups'];
  const server = existsSync(setpriv)
    ? spawn(setpriv, [...identity, '--pdeathsig', 'INT', postgres, ...args], { cwd: home, stdio: ['ignore', 'ignore', 'pipe'] })
    : spawn(postgres, args, { cwd: home, stdio: ['ignore', 'ignore', 'pipe'], ...account });
  let output = '';
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.once('exit', () => {
      reject(new Problem('unavailable', `PostgreSQL did not start: ${output}`));
    });
    server.stderr?.setEncoding('utf8').on('data', (text: string) => {
      output = `${output}${text}`.slice(-10_000);
      if (output.includes('ready to accept connections')) resolve();
    });
  });
  return server;
}

function connectCluster(binaries: PostgresBinaries, home: string, server: ChildProcess): TestPostgres {
  const base: PoolConfig = { host: home, user: 'postgres' };
  const pools: Pool[] = [];
  const connect = (config: PoolConfig): Pool => {
    // As the server's own pool is.
    const pool = new Pool({ ...config, pipeline: true });
    // Idle connections break when the cluster stops; that is no fault of the test.
    pool.on('error', () => undefined);
    pools.push(pool);
    return pool;
  };
  const admin = connect({ ...base, database: 'postgres', max: 1 });
  return {
    source: binaries.source,
    version: binaries.version,
    async createDatabase(migrations = []) {
      const database = `test_${pools.length}`;
      const config = { ...base, database };
      await admin.query(`create database ${database}`);
      const pool = connect(config);
      for (const migration of migrations) await pool.query(migration.sql);
      return { pool, config, connect: (max) => connect({ ...config, max }) };
    },
    async stop() {
      const exited = new Promise<void>((resolve) => {
        if (server.exitCode !== null || server.signalCode !== null) resolve();
        server.once('exit', () => resolve());
      });
      // Fast shutdown breaks the connections; ending the pools first could wait for a client that a failed test never gave back.
      server.kill('SIGINT');
      await exited;
      await Promise.allSettled(pools.map(async (pool) => await Promise.race([pool.end(), exited])));
      await rm(home, { recursive: true, force: true });
    },
  };
}
