import type { Pool } from 'pg';
import { assertOnFeed, entryFromRow, type FeedEntry, type FeedRow } from '../resources/feed.js';
import type { FeedPosition } from '../resources/feed-position.js';
import type { Interest } from './interest.js';

/** A change with the time at which its transaction began. */
export interface Change extends FeedEntry {
  readonly at: Date;
}

export interface Changes {
  /** In the order of the feed. */
  readonly entries: readonly Change[];
  /** Everything up to here was looked at; nothing will ever come before it. */
  readonly reached: FeedPosition;
}

const columns =
  'feed.xid::text, feed.seq::text, feed.type, feed.kind, feed.uid, feed.ref, feed.tenant, feed.labels, feed.left_labels, feed.body, feed.at';

type Row = FeedRow & { readonly at: Date };

/**
 * What is final behind a position and may be wanted, by tenant, kind and type; bodies of everything else are left where they are. Raises
 * `precondition-failed` when the feed no longer holds everything after `position`.
 */
export async function readChanges(pool: Pool, position: FeedPosition, interest: Interest, limit: number): Promise<Changes> {
  const { rows } = await pool.query<{ readonly edge: string } & { readonly [name in keyof Row]: Row[name] | null }>({
    name: 'webhook-changes',
    text: `with edge as (select pg_snapshot_xmin(pg_current_snapshot()) as xid)
      select edge.xid::text as edge, change.* from edge left join lateral (
        select ${columns} from feed
        where (feed.xid, feed.seq) > ($1::xid8, $2::bigint) and feed.xid < edge.xid
          and (feed.tenant = $3 or feed.tenant is null) and feed.type = any($4) and ($5::text[] is null or feed.kind = any($5))
        order by feed.xid, feed.seq limit $6
      ) as change on true`,
    values: [String(position.xid), String(position.seq), interest.tenant, interest.types, interest.kinds ?? null, limit],
  });
  // Asked behind the reading: what was cut in between may be missing from it.
  await assertOnFeed(pool, position);
  const entries = rows.flatMap((row) => (row.seq === null ? [] : [changeFrom(row as Row)]));
  const edge = BigInt(rows[0]?.edge ?? 0);
  const last = entries.at(-1)?.position;
  return { entries, reached: entries.length === limit && last !== undefined ? last : { xid: edge, seq: 0n } };
}

/** One change, where the feed still holds it. */
export async function readChange(pool: Pool, { xid, seq }: FeedPosition): Promise<Change | undefined> {
  const { rows } = await pool.query<Row>(`select ${columns} from feed where feed.xid = $1::xid8 and feed.seq = $2::bigint`, [
    String(xid),
    String(seq),
  ]);
  return rows[0] === undefined ? undefined : changeFrom(rows[0]);
}

function changeFrom(row: Row): Change {
  return { ...entryFromRow(row), at: row.at };
}
