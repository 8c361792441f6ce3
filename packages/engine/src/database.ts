import { Problem } from '@virt8ra/contract';
import type { Pool, PoolClient, QueryResult, QueryResultRow } from 'pg';

/** A pool, or a client inside the caller's transaction. */
export interface Queryable {
  query<Row extends QueryResultRow>(text: string, values?: unknown[]): Promise<QueryResult<Row>>;
}

/**
 * Runs `work` in one transaction: committed when it resolves, rolled back when it throws. `last` may send statements that nothing in `work` waits
 * for: they go to the database together with the commit, which undoes everything when one of them fails. Raises `unknown-outcome` when the
 * database is lost while it commits: only then nobody knows.
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
    await commit(client, last(client));
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

async function commit(client: PoolClient, last: readonly Promise<unknown>[]): Promise<void> {
  const [committed, ...before] = await Promise.allSettled([client.query('commit'), ...last]);
  if (committed.status === 'fulfilled' && committed.value.command === 'COMMIT') return;
  const failures = before.flatMap((each): Error[] => (each.status === 'rejected' ? [each.reason as Error] : []));
  if (committed.status === 'fulfilled') {
    // A statement that failed, whoever was told of it, leaves nothing to commit.
    const [failure] = failures;
    if (failure !== undefined) throw failure;
    throw new Problem('internal', 'the transaction was rolled back by a failure that nobody told of');
  }
  const refusal = [...failures, committed.reason].find(isRefusal);
  if (refusal !== undefined) throw refusal;
  throw new Problem('unknown-outcome', 'the database was lost while it kept the change: look whether it was made, and repeat it if not', {
    retryAfterSeconds: 1,
    cause: committed.reason,
  });
}

/** The database's own word that it did not commit. What it says when it is shut down or crashes is none: the commit may be written already. */
function isRefusal(error: unknown): boolean {
  const code = typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : '';
  return /^[0-9A-Z]{5}$/.test(code) && !/^(08|57P)/.test(code);
}
