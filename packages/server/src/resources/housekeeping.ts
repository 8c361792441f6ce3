import { inTransaction, type Log, type Runner } from '@virt8ra/engine';
import type { Pool } from 'pg';

export interface Retention {
  /** Changes kept on the feed; a watcher that was away for more must list again. Default 50,000. */
  readonly feedRows?: number;
  /** Seconds that removed resources stay listable. Default 30 days. */
  readonly tombstoneSeconds?: number;
  /** Seconds that runs and their journals are kept after their end. Default 30 days. */
  readonly runSeconds?: number;
}

/** Any number; the same for every server. */
const lockKey = 8_480_002;

/**
 * Cuts feed and tombstones down to what is kept. One server at a time; others do nothing then. Nothing that a reader may not have seen yet
 * (see `readFeed`) is cut.
 */
export async function pruneResources(
  pool: Pool,
  now: Date,
  retention: Retention = {},
): Promise<{ readonly feed: number; readonly tombstones: number }> {
  const { feedRows = 50_000, tombstoneSeconds = 30 * 24 * 3600 } = retention;
  return await inTransaction(pool, async (client) => {
    const { rows } = await client.query<{ mine: boolean }>('select pg_try_advisory_xact_lock($1) as mine', [lockKey]);
    if (rows[0]?.mine !== true) return { feed: 0, tombstones: 0 };
    const feed = await client.query(
      `with cut as (
         select xid, seq from feed where xid < pg_snapshot_xmin(pg_current_snapshot()) order by xid desc, seq desc offset $1 limit 1
       ), floor as (
         update feed_floor set xid = cut.xid, seq = cut.seq from cut
       )
       delete from feed using cut where (feed.xid, feed.seq) <= (cut.xid, cut.seq)`,
      [feedRows],
    );
    const tombstones = await client.query(
      'delete from tombstone where uid in (select uid from tombstone where removed_at < $1 order by removed_at limit 10000)',
      [new Date(now.getTime() - tombstoneSeconds * 1000)],
    );
    return { feed: feed.rowCount ?? 0, tombstones: tombstones.rowCount ?? 0 };
  });
}

/** Prunes feed, tombstones and runs every `everySeconds` (60) until the returned function is called. */
export function startHousekeeping(options: {
  readonly pool: Pool;
  readonly runner: Pick<Runner, 'prune'>;
  readonly samples?: { prune(): Promise<number> };
  /** What else is bounded by age; each says of its own how many rows went. */
  readonly more?: readonly (() => Promise<number>)[];
  readonly log: Log;
  readonly retention?: Retention;
  readonly everySeconds?: number;
}): () => void {
  const { pool, runner, samples, more = [], log, retention, everySeconds = 60 } = options;
  const { runSeconds = 30 * 24 * 3600 } = retention ?? {};
  const timer = setInterval(() => {
    Promise.all([
      pruneResources(pool, new Date(), retention),
      runner.prune(runSeconds),
      samples?.prune(),
      ...more.map(async (prune) => await prune()),
    ]).then(
      ([cut, runs]) => log.debug('feed, tombstones and runs were pruned', { ...cut, runs }),
      (error: unknown) => log.warn('feed, tombstones and runs could not be pruned', { error: String(error) }),
    );
  }, everySeconds * 1000);
  timer.unref();
  return () => clearInterval(timer);
}
