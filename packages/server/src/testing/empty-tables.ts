import type { Pool } from 'pg';

/**
 * Takes all rows out of the tables, in the order given: what refers to others first. For a world that is made anew hundreds of times: a truncation makes
 * new files of every table and index, which takes longer than all the rest of a small world.
 */
export async function emptyTables(pool: Pool, tables: readonly string[]): Promise<void> {
  await pool.query(tables.map((table) => `delete from ${table}`).join('; '));
}
