import { type AgentMessageOf, type HostObject, Problem } from '@virt8ra/contract';
import type { Pool } from 'pg';
import { storableJson } from '../storable-json.js';

/** What a new report changed. */
export interface OverlayChange {
  /** Networks whose reach may be another now. */
  readonly networks: readonly HostObject[];
  /** Peers have taken other keys: the plan must be made anew. */
  readonly replan: boolean;
}

/**
 * Stores what a carrier measured. A link that was superseded stores nothing. Raises `invalid-request` for a report that has no readable time.
 */
export async function takeOverlayReport(
  pool: Pool,
  { host, linkId }: { readonly host: string; readonly linkId: string },
  message: AgentMessageOf<'overlay'>,
): Promise<OverlayChange> {
  const at = new Date(message.at);
  if (Number.isNaN(at.getTime())) throw new Problem('invalid-request', 'a report has no readable time');
  const stored = await pool.query<{ reach: boolean; keys: boolean }>(
    `with sender as materialized (select host from fleet.link where host = $1 and link_id = $2),
     before as materialized (select report from fleet.overlay where host = $1),
     written as (
       insert into fleet.overlay (host, report, reported_at) select host, $3::jsonb, least($4::timestamptz, clock_timestamp()) from sender
       on conflict (host) do update set report = excluded.report, reported_at = excluded.reported_at returning report)
     select jsonb_path_query_array(before.report, '$.peers[*].state') is distinct from jsonb_path_query_array(written.report, '$.peers[*].state')
              or before.report -> 'failed' is distinct from written.report -> 'failed'
              or before.report -> 'problem' is distinct from written.report -> 'problem'
              or jsonb_path_query_array(before.report, '$.peers[*].host') is distinct from jsonb_path_query_array(written.report, '$.peers[*].host') as reach,
            jsonb_path_query_array(before.report, '$.peers[*].publicKeys') is distinct from jsonb_path_query_array(written.report, '$.peers[*].publicKeys') as keys
       from written left join before on true`,
    [host, linkId, storableJson(message.report), at],
  );
  const [change] = stored.rows;
  if (change === undefined) return { networks: [], replan: false };
  if (change.keys) await pool.query('insert into fleet.overlay_changed (host) values ($1)', [host]);
  return { networks: change.reach ? await networksCarriedBy(pool, host) : [], replan: change.keys };
}

/** The networks of every host of the carrier's machine. */
async function networksCarriedBy(pool: Pool, host: string): Promise<HostObject[]> {
  const found = await pool.query<{ host: string; key: string }>(
    `select desired.host, key from fleet.desired left join fleet.link using (host)
      where type = 'network' and object is not null and (desired.host = $1 or inventory -> 'overlay' ->> 'segment' in (
        select inventory -> 'overlay' ->> 'segment' from fleet.link where host = $1))`,
    [host],
  );
  return found.rows.map((row) => ({ ...row, type: 'network' }));
}
