import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '@virt8ra/engine';
import { Pool, type PoolClient, type PoolConfig } from 'pg';
import { absenceOf } from './database-problem.js';
import { GatheringSocket } from './gathering-socket.js';

/**
 * The server's one pool. It survives a restart of the database: broken connections are dropped and made anew on demand. Waiting for a
 * free connection ends after 5 s, so that requests fail instead of piling up. What fails because the database is away is `unavailable`,
 * so that whoever uses it, a step of a run above all, tries again instead of giving up; other failures stay as `pg` throws them.
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
    // Statements that nobody waits between, as the last of a transaction and its commit, take one way to the database.
    pipeline: true,
    stream: () => new GatheringSocket(),
    // A transaction that was forgotten must not hold its locks for ever.
    idle_in_transaction_session_timeout: 60_000,
  });
  // Without a listener an idle connection that breaks would end the process.
  pool.on('error', (error) => log.warn('an idle database connection broke', { error: error.message }));
  pool.on('connect', (client: PoolClient) => {
    // Nobody else listens while one is handed out, and the last word of a database that dies may come in the same breath as its readiness.
    client.on('error', () => undefined);
    client.query = translated(client.query.bind(client)) as PoolClient['query'];
  });
  // `pool.query` goes through it too.
  pool.connect = translated(pool.connect.bind(pool)) as Pool['connect'];
  return pool;
}

type Call = (...parameters: unknown[]) => unknown;

/** `pg` calls a callback given last, else answers a promise; both get the translated error. */
function translated(call: unknown): Call {
  const original = call as Call;
  return (...parameters) => {
    const callback = parameters.at(-1);
    if (typeof callback === 'function') {
      const answer = (error: unknown, ...rest: unknown[]): unknown => (callback as Call)(error == null ? error : translate(error), ...rest);
      return original(...parameters.slice(0, -1), answer);
    }
    const result = original(...parameters);
    if (!(result instanceof Promise)) return result;
    return result.catch((error: unknown) => {
      throw translate(error);
    });
  };
}

function translate(error: unknown): unknown {
  return absenceOf(error) ?? error;
}

/** A client that somebody still holds must not keep the server from ending: after 5 s the rest is left to the database's shutdown. */
export async function closePool(pool: Pool): Promise<void> {
  await Promise.race([pool.end(), sleep(5_000, undefined, { ref: false })]);
}
