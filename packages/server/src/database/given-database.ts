import { setTimeout as sleep } from 'node:timers/promises';
import { Problem } from '@virt8ra/contract';
import type { Log } from '@virt8ra/engine';
import { Client } from 'pg';

/** What we use that older ones lack: `xid8` snapshots (13), and what is tested. */
const leastMajor = 15;
const patienceMs = 30_000;

/**
 * Resolves when the database given by URL answers, waiting a while for one that starts beside the server. Raises `unavailable` when it
 * does not, `validation` when it refuses us, `unsupported` when it is too old.
 */
export async function awaitGivenDatabase(url: string, log: Log, withinMs = patienceMs): Promise<void> {
  const startedAt = performance.now();
  for (;;) {
    const problem = await reach(url);
    if (problem === undefined) return;
    if (problem.kind !== 'unavailable' || performance.now() - startedAt > withinMs) throw problem;
    log.warn('the database is not reachable yet', { reason: problem.message });
    await sleep(Math.min(1_000, withinMs));
  }
}

async function reach(url: string): Promise<Problem | undefined> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 10_000, query_timeout: 10_000 });
  client.on('error', () => undefined);
  const { host, database } = client;
  try {
    await client.connect();
    const { rows } = await client.query<{ major: number }>(`select current_setting('server_version_num')::int / 10000 as major`);
    const major = rows[0]?.major ?? 0;
    if (major >= leastMajor) return undefined;
    return new Problem('unsupported', `the database at ${host} is PostgreSQL ${major}; ${leastMajor} or newer is needed`);
  } catch (cause) {
    const { code, message } = cause as { code?: string; message: string };
    // Class 28: who we are; 3D000: the database's name; 42501: what we may.
    if (code !== undefined && /^(28...|3D000|42501)$/.test(code)) {
      return new Problem('validation', `the database ${database ?? ''} at ${host} refuses us: ${message}; see database.url`, { cause });
    }
    return new Problem('unavailable', `the database at ${host} cannot be reached: ${message}`, { cause });
  } finally {
    await client.end().catch(() => undefined);
  }
}
