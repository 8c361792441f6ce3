import type { AgentMessageOf, HostObject, HostObjectType } from '@virt8ra/contract';
import { Problem } from '@virt8ra/contract';
import type { Pool } from 'pg';
import { type OverlayChange, takeOverlayReport } from './overlay/overlay-intake.js';
import { noteCarried } from './paths/note-carried.js';
import { storableJson } from './storable-json.js';

/** A live link, as the database knows it. */
export interface LinkIdentity {
  readonly host: string;
  readonly linkId: string;
}

export interface ObservedIntake {
  /**
   * Stores what an agent observed, in one statement; answers the objects that changed, came, went or became current again. A link that
   * was superseded stores nothing. Raises `invalid-request` for a report that cannot be right.
   */
  takeObserved(link: LinkIdentity, message: AgentMessageOf<'observed'>): Promise<readonly HostObject[]>;
  /** Answers whether the host's part in the overlay may be another now. */
  takeInventory(link: LinkIdentity, message: AgentMessageOf<'inventory'>): Promise<boolean>;
  takeOverlay(link: LinkIdentity, message: AgentMessageOf<'overlay'>): Promise<OverlayChange>;
  /** Keeps what the agent was told last, for a comparison after a restore. */
  takeLedger(link: LinkIdentity, message: AgentMessageOf<'ledger'>): Promise<void>;
}

/** More than any host runs; a report beyond it is a fault. */
const objectsPerReport = 10_000;
const keyPattern = /^[a-z0-9][a-z0-9_.-]{0,95}$/;

export function createObservedIntake(pool: Pool, epoch: string): ObservedIntake {
  return {
    async takeObserved({ host, linkId }, message) {
      const rows = objectsOfReport(message);
      const stored = await pool.query<{ type: HostObjectType; key: string }>(takeObservedSql, [
        host,
        linkId,
        storableJson(rows),
        storableJson(message.removed),
        message.full,
        message.generation,
        seenAt(message.at),
        epoch,
      ]);
      await noteCarried(pool, host, message.transfers);
      return stored.rows.map(({ type, key }) => ({ host, type, key }));
    },
    async takeInventory({ host, linkId }, message) {
      const noted = await pool.query(
        `with noted as (
           insert into fleet.overlay_changed (host) select host from fleet.link
            where host = $1 and link_id = $2 and inventory -> 'overlay' is distinct from $3::jsonb -> 'overlay' returning host
         ), written as (
           update fleet.link set inventory = $3::jsonb, inventory_at = least($4::timestamptz, clock_timestamp()),
                  clock_offset_seconds = extract(epoch from $4::timestamptz - clock_timestamp())
            where host = $1 and link_id = $2)
         select host from noted`,
        [host, linkId, storableJson(message.inventory), seenAt(message.at)],
      );
      return noted.rowCount !== 0;
    },
    async takeLedger({ host, linkId }, message) {
      await pool.query(
        `insert into fleet.told (host, epoch, told_by, state)
         select host, $3, $4, $5::jsonb from fleet.link where host = $1 and link_id = $2
         on conflict (host) do update set epoch = excluded.epoch, told_by = excluded.told_by, state = excluded.state, at = clock_timestamp()`,
        [host, linkId, epoch, message.epoch, storableJson(message.state)],
      );
    },
    takeOverlay: async (link, message) => await takeOverlayReport(pool, link, message),
  };
}

// Every part sees the state before the statement; the lock on the link makes reports of one host follow each other. A generation that
// this database has not given out is of another epoch and acknowledges nothing.
const takeObservedSql = `
with sender as materialized (
  select link.host, link.silent, case when $6::bigint <= host.generation then $6::bigint else 0 end as generation
    from fleet.link join fleet.host using (host) where link.host = $1 and link_id = $2 for update of link
), report as (
  select type, key, object from sender, jsonb_to_recordset($3::jsonb) as row (type text, key text, object jsonb)
), removed as (
  select type, key from sender, jsonb_to_recordset($4::jsonb) as row (type text, key text)
   where not exists (select 1 from report where report.type = row.type and report.key = row.key)
), before as (
  select observed.type, observed.key, observed.object from fleet.observed, sender where observed.host = sender.host
), gone as (
  delete from fleet.observed using sender
   where observed.host = sender.host
     and ((observed.type, observed.key) in (select type, key from removed)
       or ($5::boolean and (observed.type, observed.key) not in (select type, key from report)))
  returning observed.type, observed.key
), written as (
  insert into fleet.observed (host, type, key, object, observed_at, received_at, generation)
  select sender.host, type, key, object, least($7::timestamptz, clock_timestamp()), clock_timestamp(), sender.generation from report, sender
  on conflict (host, type, key) do update
    set object = excluded.object, observed_at = excluded.observed_at, received_at = excluded.received_at, generation = excluded.generation
), confirmed as (
  delete from fleet.desired using sender
   where desired.host = sender.host and desired.object is null and desired.removed_generation <= sender.generation
     and ((desired.type, desired.key) in (select type, key from removed)
       or ($5::boolean and (desired.type, desired.key) not in (select type, key from report)))
  returning desired.type, desired.key
), acknowledged as (
  update fleet.link set
    reported_at = least($7::timestamptz, clock_timestamp()), heard_at = clock_timestamp(),
    silent = link.silent and not $5::boolean,
    full_epoch = case when $5::boolean then $8 else full_epoch end,
    full_generation = case when $5::boolean then sender.generation else full_generation end
   from sender where link.host = sender.host
  returning link.host
), woken as (
  select desired.type, desired.key from fleet.desired, sender where desired.host = sender.host and sender.silent and $5::boolean
), current as (
  select desired.type, desired.key from fleet.desired, sender, fleet.link
   where desired.host = sender.host and link.host = sender.host and $5::boolean
     and desired.generation > link.full_generation and desired.generation <= sender.generation
)
select distinct type, key from (
  select report.type, report.key from report left join before using (type, key) where before.object is distinct from report.object
  union all select type, key from gone
  union all select type, key from confirmed
  union all select type, key from woken
  union all select type, key from current
) as touched`;

function objectsOfReport(
  message: AgentMessageOf<'observed'>,
): readonly { readonly type: HostObjectType; readonly key: string; readonly object: object }[] {
  const rows = [
    ...message.networks.map((object) => ({ type: 'network', key: object.key, object }) as const),
    ...message.volumes.map((object) => ({ type: 'volume', key: object.key, object }) as const),
    ...message.instances.map((object) => ({ type: 'instance', key: object.key, object }) as const),
    ...message.transfers.map((object) => ({ type: 'transfer', key: object.id, object }) as const),
    ...(message.filters ?? []).map((object) => ({ type: 'filter', key: object.key, object }) as const),
    ...(message.backups ?? []).map((object) => ({ type: 'backup', key: object.key, object }) as const),
    ...(message.snapshots ?? []).map((object) => ({ type: 'snapshot', key: object.key, object }) as const),
  ];
  if (rows.length + message.removed.length > objectsPerReport) {
    throw new Problem('invalid-request', `a report has at most ${objectsPerReport} objects`);
  }
  const seen = new Set<string>();
  for (const { type, key } of rows) {
    if (!keyPattern.test(key)) throw new Problem('invalid-request', `a reported ${type} has a key that no object can have`);
    const id = `${type}/${key}`;
    if (seen.has(id)) throw new Problem('invalid-request', `${id} is reported twice`);
    seen.add(id);
  }
  return rows;
}

/** Raises `invalid-request` for what is no time. */
function seenAt(at: string): Date {
  const time = new Date(at);
  if (Number.isNaN(time.getTime())) throw new Problem('invalid-request', 'a report has no readable time');
  return time;
}
