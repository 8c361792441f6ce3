import type { Pool, PoolClient, QueryResult, QueryResultRow } from 'pg';

/** A pool, or a client inside the caller's transaction. */
export interface Queryable {
  query<Row extends QueryResultRow>(text: string, values?: unknown[]): Promise<QueryResult<Row>>;
}

/**
 * Runs `work` in one transaction: committed when it resolves, rolled back when it throws. `last` may send statements that nothing in `work` waits
 * for: they go to the database together with the commit, which undoes everything when one of them fails.
 */
export async function inTransaction<Value>(
  pool: Pool,
  work: (client: PoolClient) => Promise<Value>,
  last: (client: PoolClient) => readonly Promise<unknown>[] = () => [],
): Promise<Value> {
  const client = await pool.connect();
  // Without a listener a connection that breaks while checked out would end the process.
  let broken: Error | undefined;
  const onError = (error: Error): void => {
    broken = error;
  };
  client.on('error', onError);
  try {
    await client.query('begin');
    const value = await work(client);
    await Promise.all([...last(client), client.query('commit')]);
    return value;
  } catch (error) {
    await client.query('rollback').catch((failure: Error) => {
      broken = failure;
    });
    throw error;
  } finally {
    client.off('error', onError);
    client.release(broken);
  }
}
