import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from 'pg';
import { databaseName } from '../database/cluster.js';

/** Keep a record of what was: they grow with every act and are pruned by age. */
const records: ReadonlySet<string> = new Set([
  'public.tombstone',
  'public.audit',
  'public.audit_seal',
  'public.audit_checkpoint',
  'public.feed',
  'public.host_sample',
  'public.usage_record',
  'public.usage_meter',
  'fleet.path_sample',
  'engine.run',
  'engine.journal',
]);

/** Rows of every table of the database that a server runs in its state directory, but for those that record what was. */
export async function tableCounts(stateDirectory: string): Promise<ReadonlyMap<string, number>> {
  return await withDatabase(stateDirectory, async (client) => {
    const { rows: tables } = await client.query<{ name: string }>(
      `select schemaname || '.' || tablename as name from pg_tables where schemaname not in ('pg_catalog', 'information_schema') order by 1`,
    );
    const counts = new Map<string, number>();
    for (const { name } of tables.filter((table) => !records.has(table.name))) {
      const { rows } = await client.query<{ count: string }>(`select count(*) from ${name} as row ${conditions[name] ?? ''}`);
      counts.set(name, Number(rows[0]?.count));
    }
    const { rows } = await client.query<{ count: string }>('select count(*) from engine.run where ended_at is null');
    return counts.set('engine.run that live', Number(rows[0]?.count));
  });
}

/** A port that was freed keeps its row, so that it is taken again last; a lease that ran out holds nothing; nor does a sum whose parts make nothing. */
const conditions: Readonly<Record<string, string>> = {
  'access.endpoint': 'where instance is not null',
  'engine.lease': 'where lease_until > clock_timestamp()',
  'public.quota_use':
    'where (tenant, workspace, unit) in (select tenant, workspace, unit from quota_use group by 1, 2, 3 having sum(used) <> 0)',
};

async function withDatabase<Result>(stateDirectory: string, ask: (client: Client) => Promise<Result>): Promise<Result> {
  const root = join(stateDirectory, 'pg');
  const password = (await readFile(join(root, 'password'), 'utf8')).trim();
  const host = (await readFile(join(root, 'data', 'postmaster.pid'), 'utf8')).split('\n')[4] ?? '';
  const client = new Client({ host, port: 5432, user: databaseName, password, database: databaseName });
  await client.connect();
  try {
    return await ask(client);
  } finally {
    await client.end();
  }
}
