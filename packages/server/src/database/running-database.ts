import { join } from 'node:path';
import { Problem } from '@virt8ra/contract';
import type { PoolConfig } from 'pg';
import type { Config } from '../config.js';
import { readText } from '../files/atomic-file.js';
import { findAccount } from './account.js';
import { databaseName } from './cluster.js';
import { findPostmaster } from './postmaster.js';
import { chooseSocketDirectory } from './socket-directory.js';

/** The database of these options: the one given by URL, or the server's own while it runs. Raises `unavailable`; starts and changes nothing. */
export async function runningDatabase(config: Pick<Config, 'stateDirectory' | 'runtimeDirectory' | 'database'>): Promise<PoolConfig> {
  if (config.database.url !== undefined) return { connectionString: config.database.url };
  const isRoot = process.getuid?.() === 0;
  const root = join(config.stateDirectory, 'pg');
  const running = await findPostmaster({
    root,
    data: join(root, 'data'),
    logFile: join(root, 'log', 'postgresql.log'),
    passwordFile: join(root, 'password'),
    changeLock: '',
    usersLock: '',
    socketDirectory: chooseSocketDirectory(config.stateDirectory, { root: isRoot, runtimeDirectory: config.runtimeDirectory }),
    account: isRoot ? await findAccount(config.database.user) : undefined,
  });
  const password = (await readText(join(root, 'password')))?.trim();
  if (running === undefined || password === undefined)
    throw new Problem(
      'unavailable',
      `the own PostgreSQL in ${root} does not run: start the server, which starts it, or name another by database.url`,
    );
  return { host: running.socketDirectory, port: 5432, user: databaseName, password, database: databaseName };
}
