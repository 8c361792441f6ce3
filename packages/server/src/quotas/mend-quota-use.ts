import type { Id } from '@virt8ra/contract';
import { inTransaction, type Log } from '@virt8ra/engine';
import type { Pool, PoolClient } from 'pg';
import type { Store } from '../resources/store.js';
import { countedKinds } from './amounts.js';
import { holdOnly } from './count-quota.js';

/** Any number; the same for every server. */
const lockKey = 8_480_004;
const uncountedMost = 1000;
const forgottenMost = 10_000;

/**
 * Finds sums that are not what the holds add up to, and resources that hold nothing yet, as after an upgrade; mends both. One statement sees one
 * moment, so that what is being written meanwhile is no difference. One server at a time. Answers how many sums were wrong.
 */
export async function mendQuotaUse(pool: Pool, store: Store, log: Log): Promise<number> {
  const { rows: uncounted } = await pool.query<{ uid: Id<'resource'> }>(
    `select uid from resource join unnest($1::text[], $2::text[]) as counted (kind, unit) using (kind)
      where workspace is not null and not exists (select 1 from quota_hold where quota_hold.uid = resource.uid and quota_hold.unit = counted.unit)
      limit ${uncountedMost}`,
    [Object.keys(countedKinds), Object.values(countedKinds)],
  );
  for (const { uid } of uncounted)
    await store.transaction(async (tx) => {
      const resource = await tx.lock(uid);
      if (resource !== undefined) await holdOnly(tx, resource);
    });
  return await inTransaction(pool, async (client) => {
    const { rows: mine } = await client.query<{ mine: boolean }>('select pg_try_advisory_xact_lock($1) as mine', [lockKey]);
    if (mine[0]?.mine !== true) return 0;
    const { rows: wrong } = await client.query<{ tenant: string; workspace: string; unit: string; counted: string; held: string }>(
      `with counted as (
         select tenant, workspace, unit, sum(used) as used from quota_use group by tenant, workspace, unit
       ), held as (
         select tenant, place as workspace, unit, sum(amount) as amount from quota_hold, lateral (values (workspace), ('')) as counts (place)
          group by tenant, place, unit
       ), wrong as (
         select tenant, workspace, unit, coalesce(used, 0) as used, coalesce(amount, 0) as amount
           from counted full join held using (tenant, workspace, unit) where coalesce(used, 0) <> coalesce(amount, 0)
       ), mended as (
         insert into quota_use as into_use (tenant, workspace, unit, part, used)
         select tenant, workspace, unit, 0, amount - used from wrong order by tenant, workspace, unit
         on conflict (tenant, workspace, unit, part) do update set used = into_use.used + excluded.used
       )
       select tenant, workspace, unit, used as counted, amount as held from wrong limit 100`,
    );
    for (const { tenant, workspace, unit, counted, held } of wrong)
      log.warn('a sum of what counts against quotas was wrong and was mended', {
        tenant,
        workspace,
        unit,
        counted: Number(counted),
        held: Number(held),
      });
    await forgetNothing(client);
    return wrong.length;
  });
}

/** Takes out what adds up to nothing, as of a workspace that is gone; what is written meanwhile stands in rows of its own or waits for these. */
async function forgetNothing(client: PoolClient): Promise<void> {
  await client.query(
    `with nothing as (
       select tenant, workspace, unit from quota_use group by tenant, workspace, unit having sum(used) = 0
        order by tenant, workspace, unit limit $1
     ), locked as (
       select tenant, workspace, unit, part, used from quota_use join nothing using (tenant, workspace, unit)
        order by tenant, workspace, unit, part for update of quota_use
     ), still as (
       select tenant, workspace, unit, array_agg(part) as parts from locked group by tenant, workspace, unit having sum(used) = 0
     )
     delete from quota_use as gone using still
      where (gone.tenant, gone.workspace, gone.unit) = (still.tenant, still.workspace, still.unit) and gone.part = any(still.parts)`,
    [forgottenMost],
  );
}
