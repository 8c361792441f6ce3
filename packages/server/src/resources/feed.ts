import { type Id, Problem, type Progress } from '@virt8ra/contract';
import type { Pool, PoolClient } from 'pg';
import { comparePositions, type FeedPosition, positionFromText } from './feed-position.js';
import { type ResourceRow, resourceFromRow } from './resource-row.js';
import type { StoredResource } from './stored-resource.js';

/** One change, as it was made. */
export interface FeedEntry {
  readonly position: FeedPosition;
  readonly type: 'put' | 'status' | 'placement' | 'deleted' | 'progress';
  readonly kind: string;
  readonly uid: Id<'resource'>;
  readonly ref: string;
  readonly tenant: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  /** The labels before, when the change touched them: who watched by those must hear of it too. */
  readonly leftLabels: Readonly<Record<string, string>> | undefined;
  /** The resource after the change; at `deleted`, the last of it. */
  readonly resource: StoredResource | undefined;
  /** Undefined at `progress`: it was taken away. */
  readonly progress: Progress | undefined;
}

export interface FeedBatch {
  /** In the order of positions; nothing will ever come before the last of them. */
  readonly entries: readonly FeedEntry[];
  /** Something is written already that may not be read yet, because an older transaction is still open. */
  readonly pending: boolean;
}

export interface FeedRow {
  readonly xid: string;
  readonly seq: string;
  readonly type: FeedEntry['type'];
  readonly kind: string;
  readonly uid: Id<'resource'>;
  readonly ref: string;
  readonly tenant: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly left_labels: Readonly<Record<string, string>> | null;
  readonly body: unknown;
}

/**
 * Reads on from a position. Transactions become visible in the order of their commits, not of their ids: only what is older than every
 * open transaction (`pg_snapshot_xmin` of the statement's own snapshot) is final, and only that is answered.
 */
export async function readFeed(on: Pool | PoolClient, after: FeedPosition, limit: number): Promise<FeedBatch> {
  const { rows } = await on.query<FeedRow>({
    name: 'feed-read',
    text: `select xid::text, seq::text, type, kind, uid, ref, tenant, labels, left_labels, body from feed
      where (xid, seq) > ($1::xid8, $2::bigint) and xid < pg_snapshot_xmin(pg_current_snapshot())
      order by feed.xid, feed.seq limit $3`,
    values: [String(after.xid), String(after.seq), limit],
  });
  if (rows.length > 0) return { entries: rows.map(entryFromRow), pending: rows.length === limit };
  // Ordered, though any row would do: the planner takes a third of the feed to lie behind any position, and would read all of it to find one.
  const waiting = await on.query({
    name: 'feed-pending',
    text: 'select 1 from feed where (xid, seq) > ($1::xid8, $2::bigint) order by xid, seq limit 1',
    values: [String(after.xid), String(after.seq)],
  });
  return { entries: [], pending: waiting.rows.length > 0 };
}

/** Where the feed stands: every change that commits from now on comes after it. */
export async function feedEnd(on: Pool | PoolClient): Promise<FeedPosition> {
  const { rows } = await on.query<{ xid: string }>('select pg_snapshot_xmin(pg_current_snapshot())::text as xid');
  return { xid: BigInt(rows[0]?.xid ?? 0), seq: 0n };
}

/** Raises `precondition-failed` when the feed no longer holds everything after `position`, or never gave it out. */
export async function assertOnFeed(on: Pool | PoolClient, position: FeedPosition): Promise<void> {
  const { rows } = await on.query<{ xid: string; seq: string; next: string }>(
    `select xid::text, seq::text, pg_snapshot_xmax(pg_current_snapshot())::text as next from feed_floor`,
  );
  const row = rows[0];
  if (row === undefined) throw new Problem('internal', 'the change feed has no beginning');
  const lost = comparePositions(position, positionFromText(`${row.xid}.${row.seq}`, 'since')) < 0;
  if (!lost && position.xid <= BigInt(row.next)) return;
  const why = lost ? 'the change feed no longer reaches back to this cursor' : 'this cursor is not one of this change feed';
  throw new Problem('precondition-failed', `${why}; list the resources again and watch from now on`, {
    sources: [{ parameter: 'since' }],
    facts: { reason: 'cursor-expired' },
  });
}

export function entryFromRow(row: FeedRow): FeedEntry {
  const isProgress = row.type === 'progress';
  return {
    position: { xid: BigInt(row.xid), seq: BigInt(row.seq) },
    type: row.type,
    kind: row.kind,
    uid: row.uid,
    ref: row.ref,
    tenant: row.tenant ?? undefined,
    labels: row.labels,
    leftLabels: row.left_labels ?? undefined,
    resource: isProgress || row.body === null ? undefined : resourceFromRow(row.body as ResourceRow),
    progress: isProgress && row.body !== null ? (row.body as Progress) : undefined,
  };
}
