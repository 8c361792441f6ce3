import { createHash, randomUUID } from 'node:crypto';
import { Problem } from '@virt8ra/contract';
import { inTransaction, type Log, type Migration } from '@virt8ra/engine';
import type { Pool, PoolClient } from 'pg';

/** The migrations of one part of the server, in order. New ones go to the end; a released one is never edited. */
export interface MigrationList {
  /** Such as `engine`. */
  readonly area: string;
  readonly migrations: readonly Migration[];
}

const bookSql = `
create schema if not exists control;
create table if not exists control.migration (
  area text not null,
  name text not null,
  position integer not null,
  checksum text not null,
  applied_at timestamptz not null default clock_timestamp(),
  primary key (area, name)
);
create table if not exists control.plane (
  singleton boolean primary key default true check (singleton),
  epoch text not null,
  epoch_at timestamptz not null default clock_timestamp()
);`;

/** Any number; the same for every server. */
const lockKey = 8_480_001;

interface Applied {
  readonly area: string;
  readonly name: string;
  readonly position: number;
  readonly checksum: string;
}

/**
 * Brings the schema up to what this server knows; each migration is one transaction, and servers that start together wait for each
 * other. Raises `conflict` when the database was changed by a newer server, or when a released migration was edited.
 */
export async function migrate(pool: Pool, lists: readonly MigrationList[], log: Log): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query('select pg_advisory_lock($1)', [lockKey]);
    try {
      await client.query(bookSql);
      await apply(client, lists, log);
    } finally {
      await client.query('select pg_advisory_unlock($1)', [lockKey]);
    }
  } finally {
    client.release();
  }
}

/** Where a database stands, and changes nothing: how many of our migrations it lacks. Raises `conflict` as `migrate` does. Undefined: it was never used. */
export async function missingMigrations(client: Pick<PoolClient, 'query'>, lists: readonly MigrationList[]): Promise<number | undefined> {
  const { rows: there } = await client.query<{ book: string | null }>(`select to_regclass('control.migration')::text as book`);
  if (there[0]?.book === null) return undefined;
  const { rows } = await client.query<Applied>('select area, name, position, checksum from control.migration');
  for (const row of rows) assertKnown(row, lists);
  return lists.reduce((sum, { migrations }) => sum + migrations.length, 0) - rows.length;
}

async function apply(client: PoolClient, lists: readonly MigrationList[], log: Log): Promise<void> {
  const { rows } = await client.query<Applied>('select area, name, position, checksum from control.migration order by area, position');
  // Everything is checked before anything is changed.
  for (const row of rows) assertKnown(row, lists);
  for (const { area, migrations } of lists) {
    const done = rows.filter((row) => row.area === area).length;
    for (const [index, migration] of migrations.entries()) {
      if (index < done) continue;
      await applyOne(client, area, index, migration);
      log.info('a migration was applied', { area, migration: migration.name });
    }
  }
}

function assertKnown(row: Applied, lists: readonly MigrationList[]): void {
  const list = lists.find((candidate) => candidate.area === row.area);
  const migration = list?.migrations[row.position];
  if (migration?.name === row.name) {
    if (checksumOf(migration) === row.checksum) return;
    throw new Problem(
      'conflict',
      `migration ${row.area}/${row.name} was applied with other content than this server has; a released migration must not be edited`,
    );
  }
  if (list?.migrations.some((candidate) => candidate.name === row.name) === true) {
    throw new Problem(
      'conflict',
      `migration ${row.area}/${row.name} stands at another place than when it was applied; new migrations go to the end`,
    );
  }
  throw new Problem(
    'conflict',
    `the database was changed by a newer server: it knows migration ${row.area}/${row.name}, this one (older) does not. Start the newer version, or restore a backup made before the upgrade`,
  );
}

async function applyOne(client: PoolClient, area: string, position: number, migration: Migration): Promise<void> {
  await client.query('begin');
  try {
    await client.query(migration.sql);
    await client.query('insert into control.migration (area, name, position, checksum) values ($1, $2, $3, $4)', [
      area,
      migration.name,
      position,
      checksumOf(migration),
    ]);
    await client.query('commit');
  } catch (cause) {
    await client.query('rollback').catch(() => undefined);
    throw new Problem('internal', `migration ${area}/${migration.name} failed and was rolled back: ${(cause as Error).message}`, { cause });
  }
}

function checksumOf(migration: Migration): string {
  return createHash('sha256').update(migration.sql).digest('hex');
}

/**
 * The epoch of this database: made at its first start, and anew when it was restored from a backup, so that agents can tell generations
 * that began again from old ones.
 */
export async function databaseEpoch(pool: Pool): Promise<string> {
  return await inTransaction(pool, async (client) => {
    await client.query('insert into control.plane (epoch) values ($1) on conflict do nothing', [randomUUID()]);
    const { rows } = await client.query<{ epoch: string }>('select epoch from control.plane');
    const epoch = rows[0]?.epoch;
    if (epoch === undefined) throw new Problem('internal', 'the database has no epoch');
    return epoch;
  });
}

/** For a restore: everything that was promised under the old epoch is to be compared before it is acted on. */
export async function beginEpoch(pool: Pool): Promise<string> {
  const epoch = randomUUID();
  await pool.query(
    'insert into control.plane (epoch) values ($1) on conflict (singleton) do update set epoch = excluded.epoch, epoch_at = clock_timestamp()',
    [epoch],
  );
  return epoch;
}
