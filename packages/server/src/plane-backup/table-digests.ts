import type { ClientBase } from 'pg';
import type { BackupManifest } from './manifest.js';

/**
 * Rows of every table and the sum of their hashes, which does not depend on their order, as one transaction of the client sees them. The same
 * rows give the same sums in any PostgreSQL.
 */
export async function tableDigests(client: ClientBase): Promise<BackupManifest['tables']> {
  await client.query(
    `set local timezone = 'UTC'; set local datestyle = 'ISO'; set local intervalstyle = 'postgres'; set local bytea_output = 'hex';
     set local extra_float_digits = 1; set local statement_timeout = 0`,
  );
  const { rows } = await client.query<{ name: string }>(
    `select format('%I.%I', nspname, relname) as name from pg_class join pg_namespace on pg_namespace.oid = relnamespace
      where relkind = 'r' and nspname not in ('pg_catalog', 'information_schema') and nspname !~ '^pg_(toast|temp)' order by 1`,
  );
  const found: BackupManifest['tables'] = {};
  for (const { name } of rows) {
    const counted = await client.query<{ rows: string; digest: string }>(
      `select count(*)::text as rows, coalesce(sum(hashtextextended(whole_row::text, 0)::numeric), 0)::text as digest from ${name} as whole_row`,
    );
    const [row] = counted.rows;
    found[name] = { rows: Number(row?.rows ?? 0), digest: row?.digest ?? '' };
  }
  return found;
}
