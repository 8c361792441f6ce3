import type { Pool } from 'pg';
import type { Metrics } from './metrics.js';

/** What an operator watches; each figure is one cheap query, asked when metrics are read. */
export function addServerGauges(metrics: Metrics, pool: Pool): void {
  const number = async (sql: string): Promise<number> => Number((await pool.query<{ value: string }>(sql)).rows[0]?.value ?? Number.NaN);
  metrics.gauge('virt8ra_database_connections', 'Open connections of this server to the database.', () => pool.totalCount);
  metrics.gauge('virt8ra_database_waiting', 'Requests that wait for a database connection.', () => pool.waitingCount);
  metrics.gauge(
    'virt8ra_feed_held_seconds',
    'Age of the oldest open change: the feed delivers nothing newer than it.',
    async () =>
      await number(
        `select coalesce(max(extract(epoch from clock_timestamp() - xact_start)), 0) as value from pg_stat_activity
          where datname = current_database() and backend_xid is not null`,
      ),
  );
  metrics.gauge(
    'virt8ra_work_overdue_seconds',
    'How long the most overdue piece of work waits.',
    async () =>
      await number(`select coalesce(greatest(0, extract(epoch from clock_timestamp() - min(due_at))), 0) as value from engine.work`),
  );
  metrics.gauge(
    'virt8ra_runs_live',
    'Runs that have not ended.',
    async () => await number(`select count(*) as value from engine.run where ended_at is null`),
  );
  metrics.gauge(
    'virt8ra_runs_stuck',
    'Runs that need a person.',
    async () => await number(`select count(*) as value from engine.run where state = 'stuck'`),
  );
  metrics.gauge(
    'virt8ra_fleet_connections',
    'Agents linked to any server of this control plane.',
    async () => await number(`select count(*) as value from fleet.link where link_id is not null`),
  );
}
