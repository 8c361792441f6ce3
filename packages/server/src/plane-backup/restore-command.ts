import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { Problem } from '@virt8ra/contract';
import { inTransaction, type Log } from '@virt8ra/engine';
import { Client, type ClientConfig, Pool } from 'pg';
import { migrations } from '../app-migrations.js';
import type { Config, Environment } from '../config.js';
import { migrate } from '../database/migrations.js';
import { startDatabase } from '../database/supervisor.js';
import { errorCode, readText, syncDirectory, writeFileAtomic } from '../files/atomic-file.js';
import { lockFile } from '../files/file-lock.js';
import { beginStandstill } from '../standstill/begin-standstill.js';
import { prepareStateDirectory, restoreMarker } from '../state-directory.js';
import { backupArguments, megabytes } from './backup-command.js';
import { type BackupFile, openBackupFile } from './backup-file.js';
import { readPooled, writeStream } from './content-pool.js';
import { assertKnownSchema, fillFromBackup } from './fill-from-backup.js';
import { readPassphrase } from './passphrase.js';

/** What a begun restore leaves until it is done: by it a repetition knows that what lies there is its own. */
interface Marker {
  readonly backup: string;
  /** The database given by URL had no tables when the restore was begun. */
  readonly databaseWasEmpty: boolean;
}

const lockName = 'restore.lock';

/** `restore FILE`, with the server's own options. Answers the exit code. */
export async function runRestore(
  argv: readonly string[],
  environment: Environment,
  uid: number,
  print: (text: string) => void,
): Promise<number> {
  const { words, config, log } = backupArguments(argv, environment, uid);
  const [path] = words;
  if (path === undefined || words.length !== 1) throw new Problem('validation', 'say which backup: restore FILE; see --help');
  const { manifest } = await restoreBackup(resolve(path), config, log);
  const { tables, artifacts } = manifest;
  const rows = Object.values(tables).reduce((sum, each) => sum + each.rows, 0);
  const bytes = artifacts.reduce((sum, each) => sum + each.bytes, 0);
  print(
    [
      `restored ${path}: of ${manifest.at}, made by ${manifest.build}; ${rows} rows, ${artifacts.length} contents of ${megabytes(bytes)} MB`,
      'Start the server now. It stands still: agents link and tell what they have, and nothing is changed at any host until you have seen',
      'what differs (virt8ra restore show) and released it (virt8ra restore release).',
    ].join('\n'),
  );
  return 0;
}

/**
 * Makes the control plane of a backup on an empty state directory and an empty database. It may be killed at any moment and begun again. Raises
 * `conflict` for a directory or database with anything in it, for a server that runs there, and for a backup of a newer schema.
 */
export async function restoreBackup(path: string, config: Config, log: Log): Promise<BackupFile> {
  const { stateDirectory } = config;
  const passphrase = await readPassphrase(config.controlPlaneBackup.passphraseFile);
  const file = await openBackupFile(path, passphrase);
  assertKnownSchema(file.manifest, config);
  const begun = await readMarker(stateDirectory);
  if (begun === undefined) await assertEmpty(stateDirectory);
  await prepareStateDirectory(stateDirectory, log, { restoring: true });
  const lock = await lockFile(join(stateDirectory, lockName), 'exclusive', { wait: false });
  if (lock === undefined) throw new Problem('conflict', `another restore into ${stateDirectory} is under way`);
  try {
    await beginAnew(config, begun, path, log);
    const database = await fill(file, config, log);
    try {
      const pool = new Pool({ ...database.connection, max: 2 });
      pool.on('error', () => undefined);
      try {
        await migrate(pool, migrations, log);
        const { at, build } = file.manifest;
        await inTransaction(pool, async (client) => await beginStandstill(client, { file: basename(path), at, build }));
      } finally {
        await pool.end();
      }
      await bringContent(file, config, passphrase);
    } finally {
      await database.stop();
    }
    await rm(join(stateDirectory, restoreMarker));
    await syncDirectory(stateDirectory);
    return file;
  } catch (error) {
    if (errorCode(error) === 'ENOSPC' || errorCode(error) === 'EDQUOT')
      throw new Problem('exhausted', `there is no room left for the restore in ${stateDirectory}; make some and run it again`, {
        cause: error,
      });
    throw error;
  } finally {
    await lock.release();
  }
}

async function fill(file: BackupFile, config: Config, log: Log) {
  let database: Awaited<ReturnType<typeof startDatabase>> | undefined;
  try {
    await fillFromBackup(file, config.stateDirectory, async () => {
      database = await startDatabase({ config, log });
      return database.connection;
    });
    if (database === undefined) throw new Problem('validation', 'the backup holds no database');
    return database;
  } catch (error) {
    await (database as typeof database | undefined)?.stop();
    throw error;
  }
}

async function readMarker(stateDirectory: string): Promise<Marker | undefined> {
  const text = await readText(join(stateDirectory, restoreMarker));
  return text === undefined ? undefined : (JSON.parse(text) as Marker);
}

async function assertEmpty(stateDirectory: string): Promise<void> {
  const there = (await readdir(stateDirectory).catch(() => [])).filter((name) => name !== lockName && name !== 'lost+found');
  if (there.length === 0) return;
  throw new Problem(
    'conflict',
    `${stateDirectory} is not empty (${there.slice(0, 3).join(', ')}): a control plane is restored into an empty state directory only. Move what is there away, or name another with --state`,
  );
}

/** Takes away what an earlier attempt has left, and says that one is under way. */
async function beginAnew(config: Config, begun: Marker | undefined, path: string, log: Log): Promise<void> {
  const { stateDirectory, database } = config;
  const { url } = database;
  let databaseWasEmpty = false;
  if (url !== undefined) {
    const tables = await withClient({ connectionString: url }, tablesOf);
    if (tables > 0 && begun?.databaseWasEmpty !== true)
      throw new Problem('conflict', 'the database has tables already: a control plane is restored into an empty one only');
    if (tables > 0) await withClient({ connectionString: url }, emptyAgain);
    databaseWasEmpty = true;
  } else if (begun !== undefined && (await stat(join(stateDirectory, 'pg', 'data')).catch(() => undefined)) !== undefined) {
    // A PostgreSQL that a killed attempt left running is found and stopped as any other.
    await (await startDatabase({ config, log })).stop();
  }
  for (const name of await readdir(stateDirectory))
    if (name !== lockName && name !== restoreMarker && name !== 'lost+found')
      await rm(join(stateDirectory, name), { recursive: true, force: true });
  const marker: Marker = { backup: path, databaseWasEmpty };
  await writeFileAtomic(join(stateDirectory, restoreMarker), JSON.stringify(marker));
}

async function withClient<Value>(connection: ClientConfig, work: (client: Client) => Promise<Value>): Promise<Value> {
  const client = new Client({ ...connection, connectionTimeoutMillis: 10_000 });
  client.on('error', () => undefined);
  await client.connect().catch((cause: unknown) => {
    throw new Problem('unavailable', `the database cannot be reached: ${(cause as Error).message}`, { cause });
  });
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

const ourSchemas = `nspname not in ('pg_catalog', 'information_schema') and nspname !~ '^pg_'`;

async function tablesOf(client: Client): Promise<number> {
  const { rows } = await client.query<{ tables: string }>(
    `select count(*) as tables from pg_class join pg_namespace on pg_namespace.oid = relnamespace where relkind = 'r' and ${ourSchemas}`,
  );
  return Number(rows[0]?.tables ?? 0);
}

/** Only of a database that was empty when this restore was begun. */
async function emptyAgain(client: Client): Promise<void> {
  const { rows } = await client.query<{ name: string }>(`select quote_ident(nspname) as name from pg_namespace where ${ourSchemas}`);
  for (const { name } of rows) await client.query(`drop schema ${name} cascade`);
  await client.query('create schema public');
}

/** Content by digest, as the artifact store keeps it; what is there already stays. */
async function bringContent({ path, manifest }: BackupFile, { artifacts }: Config, passphrase: string | undefined): Promise<void> {
  const images = join(artifacts.directory, 'images');
  await mkdir(images, { recursive: true, mode: 0o700 });
  for (const { sha256, bytes, description } of manifest.artifacts) {
    const target = join(images, sha256);
    const there = await stat(target).catch(() => undefined);
    if (there?.size !== bytes) {
      const fresh = `${target}.restoring`;
      await rm(fresh, { force: true });
      await writeStream(fresh, readPooled(dirname(path), sha256, passphrase));
      await rm(target, { force: true });
      await rename(fresh, target);
    }
    await writeFileAtomic(`${target}.json`, description);
  }
  await syncDirectory(images);
}
