import type { Id, Progress } from '@virt8ra/contract';
import type { PoolClient } from 'pg';
import { RetryTransaction } from './retry-transaction.js';

/**
 * Progress stands beside the resource: on the feed, but outside its history and audit. Within a second of the last one only a change of
 * phase and the last byte are written; progress that would come late on the feed is dropped, the next is on its way.
 */
export async function writeProgress(
  client: PoolClient,
  uid: Id<'resource'>,
  progress: Omit<Progress, 'updatedAt'> | undefined,
  at: Date,
): Promise<void> {
  if (progress === undefined) return await clearProgress(client, uid);
  const body = JSON.stringify({ ...progress, updatedAt: at.toISOString() });
  const complete = progress.totalBytes > 0 && progress.bytes >= progress.totalBytes;
  await client.query({
    name: 'progress-write',
    text: `with held as (
        select uid, kind, ref, tenant, labels from resource where uid = $1
      ), written as (
        insert into progress as former (resource_uid, body, at)
        select uid, $2::jsonb, $3::timestamptz from held
        on conflict (resource_uid) do update set body = excluded.body, at = excluded.at, xid = pg_current_xact_id()
        where former.xid <= pg_current_xact_id() and former.body is distinct from excluded.body
          and (former.at <= excluded.at - interval '1 second' or $4
            or former.body ->> 'phase' <> excluded.body ->> 'phase'
            or former.body ->> 'pass' is distinct from excluded.body ->> 'pass')
        returning body
      )
      insert into feed (type, kind, uid, ref, tenant, labels, body)
      select 'progress', kind, uid, ref, tenant, labels, body from held, written`,
    values: [uid, body, at, complete],
  });
}

async function clearProgress(client: PoolClient, uid: Id<'resource'>): Promise<void> {
  const { rows } = await client.query<{ left: boolean }>({
    name: 'progress-clear',
    text: `with gone as (
        delete from progress where resource_uid = $1 and xid <= pg_current_xact_id() returning resource_uid
      ), told as (
        insert into feed (type, kind, uid, ref, tenant, labels)
        select 'progress', kind, uid, ref, tenant, labels from resource where uid in (select resource_uid from gone)
      )
      select exists (select 1 from progress where resource_uid = $1) and not exists (select 1 from gone) as left`,
    values: [uid],
  });
  if (rows[0]?.left === true) throw new RetryTransaction(`progress of ${uid} was written by a transaction younger than this one`);
}
