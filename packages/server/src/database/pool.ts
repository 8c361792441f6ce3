import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '@virt8ra/engine';
import { Pool, type PoolConfig } from 'pg';

/**
 * The server's one pool. It survives a restart of the database: broken connections are dropped and made anew on demand. Waiting for a
 * free connection ends after 5 s, so that requests fail instead of piling up.
 */
export function createPool(options: { readonly connection: PoolConfig; readonly connections: number; readonly log: Log }): Pool {
  const { connection, connections, log } = options;
  const pool = new Pool({
    ...connection,
    max: connections,
    connectionTimeoutMillis: 5_000,
    idleTimeoutMillis: 60_000,
    keepAlive: true,
    application_name: 'virt8ra-server',
    // A transaction that was forgotten must not hold its locks for ever.
    idle_in_transaction_session_timeout: 60_000,
  });
  // Without a listener an idle connection that breaks would end the process.
  pool.on('error', (error) => log.warn('an idle database connection broke', { error: error.message }));
  return pool;
}

/** A client that somebody still holds must not keep the server from ending: after 5 s the rest is left to the database's shutdown. */
export async function closePool(pool: Pool): Promise<void> {
  await Promise.race([pool.end(), sleep(5_000, undefined, { ref: false })]);
}
