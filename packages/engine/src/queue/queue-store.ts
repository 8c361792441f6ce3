import type { Pool } from 'pg';
import type { Queryable } from '../database.js';
import { engineChannel } from './listener.js';

export interface ClaimedWork {
  readonly key: string;
  readonly kind: string;
  readonly lane: string;
  readonly fence: number;
  /** Failures in a row before this attempt. */
  readonly attempts: number;
}

export interface Claim {
  readonly works: readonly ClaimedWork[];
  /** Seconds until more of these kinds is due (0 when it is already); undefined when nothing is planned. */
  readonly nextDueSeconds: number | undefined;
}

/** How a piece of work is put back. */
export interface Settlement {
  readonly outcome: 'done' | 'wait' | 'failed' | 'interrupted';
  readonly reason: string | undefined;
  /** Undefined: only a nudge brings it back. */
  readonly waitSeconds: number | undefined;
  readonly attempts: number;
  readonly workedSeconds: number;
}

/** One key as an operator sees it. Times are ISO 8601. */
export interface WorkStatus {
  readonly key: string;
  readonly lane: string;
  /** Undefined: never worked on yet. */
  readonly outcome: Settlement['outcome'] | undefined;
  /** The failure, or what is waited for. */
  readonly reason: string | undefined;
  readonly attempts: number;
  readonly dueAt: string | undefined;
  readonly leasedBy: string | undefined;
  readonly leaseUntil: string | undefined;
  readonly workedAt: string | undefined;
  readonly workedSeconds: number | undefined;
}

interface ClaimRow {
  key: string;
  kind: string;
  lane: string;
  fence: string;
  attempts: number;
}

/** So many due rows per kind are ranked by lane before lanes are asked one by one. */
const windowRows = 1000;

/** Every statement of the work queue. Each is atomic by itself; none keeps a lock beyond itself unless the caller's transaction does. */
export function createQueueStore(pool: Pool) {
  return {
    /**
     * Inserts or advances the keys and tells all replicas when the transaction commits. Until then the rows stay locked, so that nobody
     * works on them with the state of before; a nudge for what is being worked on is kept beside the lease and looked at when it ends.
     */
    async nudge(on: Queryable, keys: readonly string[], afterSeconds: number, lane: string | undefined): Promise<void> {
      await on.query(
        `with nudged as (
           insert into engine.work as held (key, lane, due_at)
           select key, coalesce($3, ''), clock_timestamp() + make_interval(secs => $2::float8) from unnest($1::text[]) as key order by key
           on conflict (key) do update set
             lane = coalesce($3, held.lane),
             due_at = case when held.leased_by is null then least(held.due_at, excluded.due_at) else held.due_at end,
             again_at = case when held.leased_by is null then null else least(held.again_at, excluded.due_at) end
           returning key, leased_by
         )
         select pg_notify('${engineChannel}', signal) from (
           select distinct case when leased_by is null then 'due ' || $2::float8 else 'held ' || key end as signal from nudged
         ) as signals`,
        [[...new Set(keys)], afterSeconds, lane ?? null],
      );
    },

    /** Like a nudge, but only for keys that are known already. */
    async wake(on: Queryable, key: string): Promise<void> {
      const { rowCount } = await on.query('select 1 from engine.work where key = $1', [key]);
      if (rowCount !== 0) await this.nudge(on, [key], 0, undefined);
    },

    async forget(on: Queryable, key: string): Promise<void> {
      await on.query('delete from engine.work where key = $1', [key]);
    },

    /**
     * Leases up to `limit` due keys. Fair: the n-th piece of work of a lane, counting what is already leased, comes after the (n-1)-th of
     * every other lane; within that, in due order. The oldest due rows are looked at; only when there are more than that, one lane's
     * flood may hide another lane, and every lane is asked for its oldest. Row comparisons there because they can use no index but
     * `work_fair`: with statistics that lag behind a flood, the planner would read the whole flood once per lane.
     */
    async claim(kinds: readonly string[], limit: number, owner: string, leaseSeconds: number): Promise<Claim> {
      const { rows } = await pool.query<ClaimRow & { next: number | null }>(
        `with recursive kinds as (
           select kind from unnest($1::text[]) as kind
         ), oldest as materialized (
           select due.* from kinds cross join lateral (
             select w.key, w.lane, w.due_at from engine.work w
             where w.kind = kinds.kind and w.due_at <= now() order by w.due_at limit ${windowRows}
           ) as due
         ), lanes as (
           select kinds.kind, (
             select w.lane from engine.work w where w.kind = kinds.kind and w.due_at is not null order by w.lane limit 1
           ) as lane
           from kinds where (select count(*) from oldest) >= ${windowRows}
           union all
           select lanes.kind, (
             select w.lane from engine.work w
             where w.kind = lanes.kind and w.due_at is not null and w.lane > lanes.lane order by w.lane limit 1
           )
           from lanes where lanes.lane is not null
         ), candidates as (
           select key, lane, due_at from oldest
           union
           select due.* from lanes cross join lateral (
             select w.key, w.lane, w.due_at from engine.work w
             where w.kind = lanes.kind and w.due_at is not null
               and (w.lane, w.due_at) >= (lanes.lane, '-infinity') and (w.lane, w.due_at) <= (lanes.lane, now())
             order by w.lane, w.due_at limit $2 + 8
           ) as due
         ), busy as (
           select lane, count(*) as leased from engine.work where leased_by is not null and due_at > now() group by lane
         ), ranked as (
           select key, due_at, row_number() over (partition by lane order by due_at) + coalesce(leased, 0) as turn
           from candidates left join busy using (lane)
         ), taken as (
           select locked.key from (select key from ranked order by turn, due_at) as ordered
           cross join lateral (
             select w.key from engine.work w where w.key = ordered.key and w.due_at <= now() for update skip locked
           ) as locked
           limit $2
         ), claimed as (
           update engine.work set
             leased_by = $3, fence = nextval('engine.fence'), again_at = null,
             due_at = clock_timestamp() + make_interval(secs => $4)
           from taken where work.key = taken.key
           returning work.key, work.kind, work.lane, work.fence, work.attempts
         ), planned as (
           select min(due.due_at) as due_at from kinds cross join lateral (
             select w.due_at from engine.work w where w.kind = kinds.kind and w.due_at > now() order by w.due_at limit 1
           ) as due
         )
         select claimed.*, case
             when (select count(*) from candidates) > (select count(*) from claimed) then 0
             else (select extract(epoch from planned.due_at - now())::float8 from planned)
           end as next
         from (select 1) as one left join claimed on true`,
        [kinds, limit, owner, leaseSeconds],
      );
      const next = rows[0]?.next ?? undefined;
      return {
        // The left join gives one row of nulls when nothing was claimed.
        works: rows.filter((row) => row.key !== null).map(claimedFromRow),
        nextDueSeconds: next === undefined ? undefined : Math.max(0, next),
      };
    },

    /** Leases one key, due or not, unless someone works on it. */
    async claimOne(key: string, owner: string, leaseSeconds: number): Promise<ClaimedWork | undefined> {
      const { rows } = await pool.query<ClaimRow>(
        `update engine.work set
           leased_by = $2, fence = nextval('engine.fence'), again_at = null,
           due_at = clock_timestamp() + make_interval(secs => $3)
         where key = $1 and (leased_by is null or due_at <= clock_timestamp())
         returning key, kind, lane, fence, attempts`,
        [key, owner, leaseSeconds],
      );
      return rows[0] === undefined ? undefined : claimedFromRow(rows[0]);
    },

    /** Ends a lease at once, as if it had run out. For tests and for an operator who knows that its owner is dead. */
    async expire(key: string): Promise<void> {
      await pool.query('update engine.work set due_at = clock_timestamp() where key = $1 and leased_by is not null', [key]);
    },

    /** Gives back what is leased under this name though nobody works on it: `at` are the keys that someone does. */
    async reclaim(owner: string, at: readonly string[] = []): Promise<number> {
      const { rowCount } = await pool.query(
        'update engine.work set due_at = clock_timestamp() where leased_by = $1 and due_at > clock_timestamp() and key <> all($2)',
        [owner, at],
      );
      return rowCount ?? 0;
    },

    /**
     * Prolongs the leases and answers the keys that are lost. A row locked by a nudge in a long transaction is passed over and prolonged
     * the next time, so that one slow transaction does not cost all leases.
     */
    async renew(works: readonly ClaimedWork[], leaseSeconds: number): Promise<readonly string[]> {
      const { rows } = await pool.query<{ key: string }>(
        `with mine as (
           select key, fence from unnest($1::text[], $2::bigint[]) as mine (key, fence)
         ), free as (
           select work.key from engine.work join mine using (key, fence) for update of work skip locked
         ), renewed as (
           update engine.work set due_at = greatest(work.due_at, clock_timestamp() + make_interval(secs => $3))
           from free where work.key = free.key
         )
         select mine.key from mine left join engine.work using (key, fence) where work.key is null`,
        [works.map((work) => work.key), works.map((work) => work.fence), leaseSeconds],
      );
      return rows.map((row) => row.key);
    },

    /** Makes the lease outlive `seconds` from now. False: it is lost. */
    async extend(work: ClaimedWork, seconds: number): Promise<boolean> {
      const { rowCount } = await pool.query(
        `update engine.work set due_at = greatest(due_at, clock_timestamp() + make_interval(secs => $3))
         where key = $1 and fence = $2`,
        [work.key, work.fence, seconds],
      );
      return rowCount === 1;
    },

    /**
     * Ends the lease and plans the next time. Answers false when the lease was lost: then nothing is changed. What was interrupted is
     * announced, because this replica is about to go.
     */
    async settle(work: ClaimedWork, settlement: Settlement): Promise<boolean> {
      const { rowCount } = await pool.query(
        `with settled as (
           update engine.work set
             leased_by = null, fence = null, again_at = null,
             due_at = least(again_at, clock_timestamp() + make_interval(secs => $3)),
             outcome = $4, reason = $5, attempts = $6, worked_at = clock_timestamp(), worked_seconds = $7
           where key = $1 and fence = $2
           returning outcome
         )
         select case when outcome = 'interrupted' then pg_notify('${engineChannel}', 'due 0') end from settled`,
        [
          work.key,
          work.fence,
          settlement.waitSeconds ?? null,
          settlement.outcome,
          settlement.reason ?? null,
          settlement.attempts,
          settlement.workedSeconds,
        ],
      );
      return rowCount === 1;
    },

    /** Forgets the key, unless it was nudged meanwhile: then it is due again. */
    async settleGone(work: ClaimedWork): Promise<boolean> {
      const { rowCount } = await pool.query('delete from engine.work where key = $1 and fence = $2 and again_at is null', [
        work.key,
        work.fence,
      ]);
      if (rowCount === 1) return true;
      return await this.settle(work, { outcome: 'done', reason: undefined, waitSeconds: undefined, attempts: 0, workedSeconds: 0 });
    },

    async list(filter: { readonly kind?: string; readonly failing?: boolean; readonly limit?: number }): Promise<readonly WorkStatus[]> {
      const { rows } = await pool.query<{
        key: string;
        lane: string;
        outcome: WorkStatus['outcome'] | null;
        reason: string | null;
        attempts: number;
        due_at: Date | null;
        leased_by: string | null;
        lease_until: Date | null;
        worked_at: Date | null;
        worked_seconds: number | null;
      }>(
        `select * from engine.work_overview
         where ($1::text is null or kind = $1) and (not $2 or outcome = 'failed')
         order by attempts desc, key limit $3`,
        [filter.kind ?? null, filter.failing ?? false, filter.limit ?? 1000],
      );
      return rows.map((row) => ({
        key: row.key,
        lane: row.lane,
        outcome: row.outcome ?? undefined,
        reason: row.reason ?? undefined,
        attempts: row.attempts,
        dueAt: row.due_at?.toISOString(),
        leasedBy: row.leased_by ?? undefined,
        leaseUntil: row.lease_until?.toISOString(),
        workedAt: row.worked_at?.toISOString(),
        workedSeconds: row.worked_seconds ?? undefined,
      }));
    },
  };
}

export type QueueStore = ReturnType<typeof createQueueStore>;

function claimedFromRow(row: ClaimRow): ClaimedWork {
  return { key: row.key, kind: row.kind, lane: row.lane, fence: Number(row.fence), attempts: row.attempts };
}
