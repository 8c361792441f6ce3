import type { Address, Condition, Id } from '@virt8ra/contract';
import type { StoredResource } from './stored-resource.js';

export const resourceColumns = `uid, kind, ref, name, tenant, workspace, network, labels, annotations, extensions, spec, status, state,
  conditions, resource_version, revision_xid, revision_seq, created_at, last_modified_at, deleted_at`;

/** A row of `resource` or `tombstone`, or the same as JSON in a feed row, where times are texts. */
export interface ResourceRow {
  readonly uid: Id<'resource'>;
  readonly kind: string;
  readonly ref: string;
  readonly parent?: string;
  readonly name: string;
  readonly tenant: string | null;
  readonly workspace: string | null;
  readonly network: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly extensions: Readonly<Record<string, string>>;
  readonly spec: unknown;
  readonly status: Readonly<Record<string, unknown>>;
  readonly state: Condition['state'];
  readonly conditions: readonly Condition[];
  readonly resource_version: string | number;
  readonly revision_xid: string;
  readonly revision_seq: string | number;
  readonly created_at: Date | string;
  readonly last_modified_at: Date | string;
  readonly deleted_at: Date | string | null;
}

export function resourceFromRow<Spec, Status>(row: ResourceRow): StoredResource<Spec, Status> {
  return {
    uid: row.uid,
    kind: row.kind,
    address: addressFromRow(row),
    labels: row.labels,
    annotations: row.annotations,
    extensions: row.extensions,
    spec: row.spec as Spec,
    status: row.status as Status,
    state: row.state,
    conditions: row.conditions,
    resourceVersion: Number(row.resource_version),
    revision: `${row.revision_xid}.${row.revision_seq}`,
    createdAt: isoTime(row.created_at),
    lastModifiedAt: isoTime(row.last_modified_at),
    deletedAt: row.deleted_at === null ? undefined : isoTime(row.deleted_at),
  };
}

function addressFromRow(row: ResourceRow): Address {
  return {
    ...(row.tenant === null ? {} : { tenant: row.tenant }),
    ...(row.workspace === null ? {} : { workspace: row.workspace }),
    ...(row.network === null ? {} : { network: row.network }),
    ...clusterFromRef(row.ref),
    name: row.name,
  };
}

/** No column of its own: nothing is looked up by it, and the URN is as stable as the row. */
function clusterFromRef(ref: string): Pick<Address, 'cluster'> {
  const [, cluster] = /\/clusters\/([^/]+)\/./.exec(ref) ?? [];
  return cluster === undefined ? {} : { cluster };
}

function isoTime(value: Date | string): string {
  return (value instanceof Date ? value : new Date(value)).toISOString();
}
