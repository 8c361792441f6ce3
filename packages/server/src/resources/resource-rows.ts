import { type Address, type Id, type Kind, parentPath } from '@virt8ra/contract';
import type { PoolClient } from 'pg';
import { jsonEqual } from './json-equal.js';
import { type ResourceRow, resourceColumns, resourceFromRow } from './resource-row.js';
import { RetryTransaction } from './retry-transaction.js';
import type { StoredResource } from './stored-resource.js';

type Change = Partial<Omit<StoredResource, 'uid' | 'kind' | 'address' | 'revision' | 'createdAt'>>;

/**
 * Rows of `resource` in one transaction, each change with its row on the feed. A change whose transaction is older than the last change
 * of the same resource would come before it on the feed, although it happened after: such a transaction begins again, with a newer id.
 */
export function createResourceRows(client: PoolClient) {
  /** Rows locked by this transaction, as they are now: nobody else can change them. */
  const locked = new Map<string, StoredResource>();
  const byPath = new Map<string, string>();
  /** Looked for and not there: whoever decided on that must not find it there later in the same transaction. */
  const absent = new Set<string>();

  function hold(row: ResourceRow & { readonly parent: string }): StoredResource {
    const resource = resourceFromRow(row);
    locked.set(row.uid, resource);
    const path = `${row.kind} ${row.parent} ${row.name}`;
    byPath.set(path, row.uid);
    absent.delete(path);
    return resource;
  }

  async function removeLabels(kind: string, parent: string, name: string, labels: StoredResource['labels']): Promise<void> {
    for (const [key, value] of Object.entries(labels)) {
      await client.query({
        name: 'label-remove',
        text: 'delete from resource_label where kind = $1 and parent = $2 and key = $3 and value = $4 and name = $5',
        values: [kind, parent, key, value, name],
      });
    }
  }

  return {
    seen: (uid: Id<'resource'>): StoredResource | undefined => locked.get(uid),

    async lock(uid: Id<'resource'>): Promise<StoredResource | undefined> {
      const held = locked.get(uid);
      if (held !== undefined) return held;
      const { rows } = await client.query<ResourceRow & { parent: string }>({
        name: 'resource-lock',
        text: `select ${resourceColumns}, parent from resource where uid = $1 for no key update`,
        values: [uid],
      });
      return rows[0] === undefined ? undefined : hold(rows[0]);
    },

    async lockAt(kind: Kind, address: Address): Promise<StoredResource | undefined> {
      const parent = parentPath(kind, address);
      const path = `${kind.kind} ${parent} ${address.name}`;
      const held = locked.get(byPath.get(path) ?? '');
      if (held !== undefined || absent.has(path)) return held;
      const { rows } = await client.query<ResourceRow & { parent: string }>({
        name: 'resource-lock-at',
        text: `select ${resourceColumns}, parent from resource where kind = $1 and parent = $2 and name = $3 for no key update`,
        values: [kind.kind, parent, address.name],
      });
      if (rows[0] !== undefined) return hold(rows[0]);
      absent.add(path);
      return undefined;
    },

    async share(kind: Kind, address: Address): Promise<StoredResource | undefined> {
      const { rows } = await client.query<ResourceRow>({
        name: 'resource-share',
        text: `select ${resourceColumns} from resource where kind = $1 and parent = $2 and name = $3 for share`,
        values: [kind.kind, parentPath(kind, address), address.name],
      });
      return rows[0] === undefined ? undefined : resourceFromRow(rows[0]);
    },

    async insert(
      resource: Omit<StoredResource, 'revision'>,
      place: { readonly parent: string; readonly ref: string },
    ): Promise<StoredResource> {
      const { address } = resource;
      const { rows } = await client.query<ResourceRow & { parent: string }>({
        name: 'resource-insert',
        text: `with made as (
            insert into resource (uid, kind, parent, name, ref, tenant, workspace, network, labels, annotations, extensions, spec, status,
              state, conditions, created_at, last_modified_at)
            select $1, $2, $3, $4, $5, $6, $7, $8, $9::jsonb, $10::jsonb, $11::jsonb, $12::jsonb, $13::jsonb, $14, $15::jsonb,
              $16::timestamptz, $16::timestamptz
            where not exists (
              select 1 from tombstone
              where kind = $2 and parent = $3 and name = $4 and revision_xid > pg_current_xact_id()
            )
            on conflict (kind, parent, name) do nothing
            returning *
          ), told as (
            insert into feed (xid, seq, type, kind, uid, ref, tenant, labels, body)
            select revision_xid, revision_seq, 'put', kind, uid, ref, tenant, labels, to_jsonb(made) from made
          ), labelled as (
            insert into resource_label (kind, parent, key, value, name)
            select kind, parent, label.key, label.value, name from made cross join jsonb_each_text(labels) as label
          )
          select ${resourceColumns}, parent from made`,
        values: [
          resource.uid,
          resource.kind,
          place.parent,
          address.name,
          place.ref,
          address.tenant ?? null,
          address.workspace ?? null,
          address.network ?? null,
          JSON.stringify(resource.labels),
          JSON.stringify(resource.annotations),
          JSON.stringify(resource.extensions),
          JSON.stringify(resource.spec),
          JSON.stringify(resource.status),
          resource.state,
          JSON.stringify(resource.conditions),
          resource.createdAt,
        ],
      });
      const row = rows[0];
      if (row === undefined) throw new RetryTransaction(`${place.ref} was made or removed by somebody else at the same time`);
      return hold(row);
    },

    async update(held: StoredResource, change: Change, type: 'put' | 'status' | 'placement'): Promise<StoredResource> {
      const columns = columnsOf.filter(([member]) => member in change);
      const statement = columnsOf.map(([member]) => (member in change ? 1 : 0)).join('');
      const set = columns.map(([, column], index) => `${column} = $${index + 4}`).join(', ');
      const relabelled = change.labels !== undefined && !jsonEqual(change.labels, held.labels);
      const { rows } = await client.query<ResourceRow & { parent: string }>({
        name: `resource-update-${statement}${relabelled ? '-relabel' : ''}`,
        text: `with changed as (
            update resource set ${set}, revision_xid = pg_current_xact_id(), revision_seq = nextval('feed_position')
            where uid = $1 and revision_xid <= pg_current_xact_id()
            returning *
          ), told as (
            insert into feed (xid, seq, type, kind, uid, ref, tenant, labels, left_labels, body)
            select revision_xid, revision_seq, $2, kind, uid, ref, tenant, labels, $3::jsonb, to_jsonb(changed) from changed
          )${relabelled ? relabelling : ''}
          select ${resourceColumns}, parent from changed`,
        values: [
          held.uid,
          type,
          relabelled ? JSON.stringify(held.labels) : null,
          ...columns.map(([member]) => (jsonMembers.has(member) ? JSON.stringify(change[member]) : (change[member] ?? null))),
        ],
      });
      const row = rows[0];
      if (row === undefined) throw new RetryTransaction(`${held.uid} was changed by a transaction younger than this one`, held.uid);
      return hold(row);
    },

    async remove(held: StoredResource, at: Date): Promise<void> {
      const { rows } = await client.query<{ parent: string }>({
        name: 'resource-remove',
        text: `with gone as (
            delete from resource where uid = $1 and revision_xid <= pg_current_xact_id() returning *
          ), kept as (
            insert into tombstone
            select uid, kind, parent, name, ref, tenant, workspace, network, labels, annotations, extensions, spec, status, 'deleting', conditions,
              resource_version, generation, pg_current_xact_id(), nextval('feed_position'), created_at, last_modified_at,
              coalesce(deleted_at, $2), $2
            from gone
            returning *
          ), told as (
            insert into feed (xid, seq, type, kind, uid, ref, tenant, labels, body)
            select revision_xid, revision_seq, 'deleted', kind, uid, ref, tenant, labels, to_jsonb(kept) from kept
          )
          select parent from kept`,
        values: [held.uid, at],
      });
      const row = rows[0];
      if (row === undefined) throw new RetryTransaction(`${held.uid} was changed by a transaction younger than this one`, held.uid);
      await removeLabels(held.kind, row.parent, held.address.name, held.labels);
      locked.delete(held.uid);
    },
  };
}

/**
 * Rows of labels that the change takes away and brings, in the same statement; $3 are the labels before. Those to go are looked up one by one
 * before they are removed by their place: no statistics, however stale, can make the planner read all labels for it. The place cannot change:
 * who has the resource locked is the only one who writes its labels.
 */
const relabelling = `, left_behind as (
            delete from resource_label where ctid = any(array(
              select label.place from changed cross join jsonb_each_text($3::jsonb) as before cross join lateral (
                select resource_label.ctid as place from resource_label
                where resource_label.kind = changed.kind and resource_label.parent = changed.parent and resource_label.key = before.key
                  and resource_label.value = before.value and resource_label.name = changed.name offset 0
              ) as label
              where changed.labels ->> before.key is distinct from before.value
            ))
          ), labelled as (
            insert into resource_label (kind, parent, key, value, name)
            select kind, parent, after.key, after.value, name from changed cross join jsonb_each_text(changed.labels) as after
            where $3::jsonb ->> after.key is distinct from after.value
          )`;

const columnsOf = [
  ['labels', 'labels'],
  ['annotations', 'annotations'],
  ['extensions', 'extensions'],
  ['spec', 'spec'],
  ['status', 'status'],
  ['state', 'state'],
  ['conditions', 'conditions'],
  ['resourceVersion', 'resource_version'],
  ['lastModifiedAt', 'last_modified_at'],
  ['deletedAt', 'deleted_at'],
] as const satisfies readonly (readonly [keyof Change, string])[];

const jsonMembers = new Set<string>(['labels', 'annotations', 'extensions', 'spec', 'status', 'conditions']);
