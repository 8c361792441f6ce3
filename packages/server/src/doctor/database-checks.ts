import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { clockFinding, type Finding, found, toProblem } from '@virt8ra/contract';
import { Client, type ClientConfig } from 'pg';
import { migrations } from '../app-migrations.js';
import { type Config, redactUrl } from '../config.js';
import { findAccount } from '../database/account.js';
import { databaseName } from '../database/cluster.js';
import { missingMigrations } from '../database/migrations.js';
import { findPostmaster } from '../database/postmaster.js';
import { chooseSocketDirectory } from '../database/socket-directory.js';
import { errorCode, readText } from '../files/atomic-file.js';

const leastMajor = 15;
const answerMs = 10_000;

/** The database: there, whose it is, which version, how far its schema is, and whether it has room for us. */
export async function checkDatabase(config: Config): Promise<readonly Finding[]> {
  const { url } = config.database;
  if (url !== undefined) {
    const where = redactUrl(url);
    return await ask({ connectionString: url }, where, config, `let it run, and let ${where} be right (database.url, DATABASE_URL)`);
  }
  const root = join(config.stateDirectory, 'pg');
  const data = join(root, 'data');
  const owner = await stat(data).catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (owner === undefined) return [found('database/cluster', 'pass', 'an own PostgreSQL is made at the first start')];
  const isRoot = process.getuid?.() === 0;
  const account = isRoot ? await findAccount(config.database.user) : undefined;
  const socketDirectory = chooseSocketDirectory(config.stateDirectory, { root: isRoot, runtimeDirectory: config.runtimeDirectory });
  const place = {
    root,
    data,
    logFile: join(root, 'log', 'postgresql.log'),
    passwordFile: join(root, 'password'),
    changeLock: '',
    usersLock: '',
    socketDirectory,
    account,
  };
  const cluster = ofCluster(data, owner, account?.uid);
  const running = await findPostmaster(place);
  if (running === undefined)
    return [
      cluster,
      found(
        'database/reach',
        'warn',
        `the own PostgreSQL in ${data} does not run`,
        `start the server, which starts it; else see ${place.logFile}`,
      ),
    ];
  const password = (await readText(place.passwordFile))?.trim();
  if (password === undefined || password === '')
    return [
      cluster,
      found(
        'database/reach',
        'fail',
        `${place.passwordFile} is missing`,
        'restore it from a backup: without it the database cannot be opened',
      ),
    ];
  const connection = { host: running.socketDirectory, port: 5432, user: databaseName, password, database: databaseName };
  return [cluster, ...(await ask(connection, `the own PostgreSQL (process ${running.pid})`, config, `see ${place.logFile}`))];
}

function ofCluster(data: string, { uid, mode }: { readonly uid: number; readonly mode: number }, account: number | undefined): Finding {
  const check = 'database/cluster';
  // Under root it is an account's own; else whoever runs the server has it.
  if (uid === 0) return found(check, 'fail', `${data} belongs to root, and PostgreSQL refuses root`, `chown -R virt8ra ${data}`);
  if ((mode & 0o027) !== 0) return found(check, 'fail', `others may look into ${data}, and PostgreSQL refuses that`, `chmod 700 ${data}`);
  const text =
    account === undefined || account === uid
      ? `${data} belongs to user ${uid}`
      : `${data} belongs to user ${uid}, not to database.user (${account}); it is kept by the server of that user`;
  return found(check, 'pass', text);
}

async function ask(connection: ClientConfig, what: string, config: Config, mend: string): Promise<readonly Finding[]> {
  const client = new Client({ ...connection, connectionTimeoutMillis: answerMs, query_timeout: answerMs });
  client.on('error', () => undefined);
  const startedAt = performance.now();
  try {
    await client.connect();
    const asked = Date.now();
    const { rows } = await client.query<Answer>(askSql);
    const [answer] = rows;
    if (answer === undefined) return [found('database/reach', 'fail', `${what} answers nothing`, mend)];
    const roundMs = Date.now() - asked;
    return [
      found('database/reach', 'pass', `${what} answers in ${Math.round(performance.now() - startedAt)} ms; ${answer.megabytes} MB`),
      found(
        'database/version',
        answer.major < leastMajor || answer.replica ? 'fail' : 'pass',
        answer.replica ? 'it is a standby that takes no writes' : `PostgreSQL ${answer.version}`,
        answer.replica ? 'point database.url at the primary' : `PostgreSQL ${leastMajor} or newer`,
      ),
      clockFinding('database/clock', 'the database’s', Number(answer.now) - asked - roundMs / 2, roundMs),
      connectionsFinding(answer, config.database.connections),
      await schemaFinding(client),
    ];
  } catch (error) {
    return [found('database/reach', 'fail', `${what} cannot be used: ${(error as Error).message}`, mend)];
  } finally {
    await client.end().catch(() => undefined);
  }
}

interface Answer {
  readonly major: number;
  readonly version: string;
  readonly replica: boolean;
  readonly now: string;
  readonly megabytes: string;
  readonly most: number;
  readonly used: number;
  readonly ours: number;
}

const askSql = `
select current_setting('server_version_num')::int / 10000 as major, current_setting('server_version') as version,
       pg_is_in_recovery() as replica, (extract(epoch from clock_timestamp()) * 1000)::bigint::text as now,
       (pg_database_size(current_database()) / 1000000)::text as megabytes,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int as most,
       (select count(*)::int from pg_stat_activity where backend_type = 'client backend') as used,
       (select count(*)::int from pg_stat_activity where backend_type = 'client backend' and usename = current_user) as ours`;

function connectionsFinding({ most, used, ours }: Answer, wanted: number): Finding {
  const text = `${used} of ${most} connections are in use, ${ours} by this user; a server opens up to ${wanted}`;
  const left = most - (used - ours);
  const level = left < 2 ? 'fail' : left < wanted ? 'warn' : 'pass';
  return found('database/connections', level, text, 'a larger max_connections in PostgreSQL, or a smaller database.connections');
}

async function schemaFinding(client: Client): Promise<Finding> {
  const check = 'database/schema';
  try {
    const missing = await missingMigrations(client, migrations);
    if (missing === undefined) return found(check, 'pass', 'is made at the first start');
    return found(
      check,
      'pass',
      missing === 0 ? 'is that of this version' : `lacks ${missing} changes, which the next start of this version makes`,
    );
  } catch (error) {
    return found(
      check,
      'fail',
      toProblem(error).message,
      'run the version of the server that wrote it, or restore the backup made before it',
    );
  }
}
