import { inTransaction } from '@virt8ra/engine';
import type { Pool, PoolClient } from 'pg';

/** Any number; the same for every server. */
const lockKey = 8_480_005;
/** Samples are written under the server's own time; one that is being written may still be invisible for so long. */
const settleSeconds = 15;
/** Between two looks at a host that are further apart nothing was seen, and nothing is counted. */
const longestGapSeconds = 60;
/** What was held while no server ran is recorded afterwards, for at most so long. */
const longestSeconds = 31 * 24 * 3600;
/** A quarter of a year. */
const keepSeconds = 92 * 24 * 3600;

/**
 * Records what was used since it was called last. Of instances that is what hosts saw running, look by look, whatever was wanted; of block storages
 * and public IPs, for how long they were at a host, or held. One server at a time. Answers how many seconds went on record.
 */
export async function meterUsage(pool: Pool, now?: Date): Promise<number> {
  return await inTransaction(pool, async (client) => {
    const { rows: mine } = await client.query<{ mine: boolean }>('select pg_try_advisory_xact_lock($1) as mine', [lockKey]);
    if (mine[0]?.mine !== true) return 0;
    const { rows } = await client.query<{ since: Date; until: Date }>(
      `with until as (select coalesce($1::timestamptz, clock_timestamp() - make_interval(secs => $2)) as at)
       select coalesce((select greatest(usage_meter.at, until.at - make_interval(secs => $3)) from usage_meter), until.at) as since, until.at as until from until`,
      [now ?? null, settleSeconds, longestSeconds],
    );
    const [span] = rows;
    if (span === undefined || span.until < span.since) return 0;
    if (span.until > span.since) {
      await recordRunning(client, span);
      await recordHeld(client, span);
    }
    await client.query('insert into usage_meter (at) values ($1) on conflict (single) do update set at = excluded.at', [span.until]);
    return (span.until.getTime() - span.since.getTime()) / 1000;
  });
}

interface Span {
  readonly since: Date;
  readonly until: Date;
}

const addUp = `on conflict (tenant, workspace, hour, uid) do update set seconds = held.seconds + excluded.seconds,
  vcpu_seconds = held.vcpu_seconds + excluded.vcpu_seconds, ram_seconds = held.ram_seconds + excluded.ram_seconds,
  storage_gb_seconds = held.storage_gb_seconds + excluded.storage_gb_seconds, name = excluded.name`;

/** A guest that is only being received by a move is none that runs: its realization is not the primary one yet. */
async function recordRunning(client: PoolClient, { since, until }: Span): Promise<void> {
  await client.query(
    `with looks as (
       select host, at, guests, extract(epoch from at - lag(at) over (partition by host order by at)) as gap
         from host_sample where at > $1::timestamptz - make_interval(secs => $3) and at <= $2
     ), seen as (
       select guest ->> 'key' as key, host, date_trunc('hour', at, 'UTC') as hour, sum(gap)::double precision as seconds
         from looks, jsonb_array_elements(guests) as guest where at > $1 and gap <= $3 group by 1, 2, 3
     ), of_resources as (
       select resource.tenant, resource.workspace, seen.hour, resource.uid, resource.name, sum(seen.seconds) as seconds
         from seen join realization on realization.key = seen.key and realization.host = seen.host and realization.role = 'primary'
         join resource on resource.uid = realization.resource_uid and resource.kind = 'instance' group by 1, 2, 3, 4, 5
     )
     insert into usage_record as held (tenant, workspace, hour, uid, kind, name, seconds, vcpu_seconds, ram_seconds)
     select tenant, workspace, hour, uid, 'instance', name, seconds,
       seconds * coalesce((select amount from quota_hold where quota_hold.uid = of_resources.uid and unit = 'vCPU'), 0),
       seconds * coalesce((select amount from quota_hold where quota_hold.uid = of_resources.uid and unit = 'ram'), 0)
     from of_resources order by tenant, workspace, hour, uid ${addUp}`,
    [since, until, longestGapSeconds],
  );
}

async function recordHeld(client: PoolClient, { since, until }: Span): Promise<void> {
  await client.query(
    `with hours as (
       select hour from generate_series(date_trunc('hour', $1::timestamptz, 'UTC'), $2::timestamptz, interval '1 hour') as hour
     ), kept as (
       select resource.tenant, resource.workspace, resource.uid, resource.kind, resource.name, realization.created_at as at
         from realization join resource on resource.uid = realization.resource_uid and resource.kind = 'block-storage'
        where realization.role = 'primary' and realization.state = 'present' and realization.facet = 'blockStorages'
       union all
       select tenant, workspace, uid, kind, name, created_at from resource where kind = 'public-ip'
     ), spans as (
       select kept.*, hours.hour,
         extract(epoch from least($2::timestamptz, hours.hour + interval '1 hour') - greatest($1::timestamptz, hours.hour, kept.at))::double precision as seconds
         from kept, hours
     )
     insert into usage_record as held (tenant, workspace, hour, uid, kind, name, seconds, storage_gb_seconds)
     select tenant, workspace, hour, uid, kind, name, seconds,
       case kind when 'block-storage' then seconds * coalesce((select amount from quota_hold where quota_hold.uid = spans.uid and unit = 'storageGB'), 0) end
     from spans where seconds > 0 order by tenant, workspace, hour, uid ${addUp}`,
    [since, until],
  );
}

/** Forgets records older than a quarter of a year, some at a time. Answers how many. */
export async function pruneUsage(pool: Pool): Promise<number> {
  const { rowCount } = await pool.query(
    `delete from usage_record where ctid = any(array(select ctid from usage_record where hour < clock_timestamp() - make_interval(secs => $1) limit 10000))`,
    [keepSeconds],
  );
  return rowCount ?? 0;
}
