import { type AuditRecord, Problem } from '@virt8ra/contract';
import type { Pool } from 'pg';
import type { AuditKey, AuditRow } from './audit-row.js';

export interface AuditQuery {
  readonly tenant?: string;
  readonly workspace?: string;
  /** URN, exactly. */
  readonly resource?: string;
  readonly limit: number;
  /** `next` of an earlier page. */
  readonly after: string | undefined;
}

export interface AuditPage {
  readonly items: readonly AuditRecord[];
  readonly next: string | undefined;
}

interface RecordRow extends Omit<AuditRow, keyof AuditKey | 'at_us'> {
  readonly key: string;
  readonly at: Date;
  readonly position: string | null;
  readonly hash: Buffer | null;
}

/**
 * A page of the audit, newest first. Only what is final is told (see `readFeed`): nothing will ever come in between two pages. Each filter
 * walks an index of its own.
 */
export async function readAudit(pool: Pool, { tenant, workspace, resource, limit, after }: AuditQuery): Promise<AuditPage> {
  const values: unknown[] = [];
  const bind = (value: unknown): string => `$${values.push(value)}`;
  const position = positionFromText(after);
  const conditions = [
    '(audit.xid < pg_snapshot_xmin(pg_current_snapshot()) or audit.era < (select max(era) from audit))',
    ...(tenant === undefined ? [] : [`tenant = ${bind(tenant)}`]),
    ...(workspace === undefined ? [] : [`workspace = ${bind(workspace)}`]),
    ...(resource === undefined ? [] : [`resource = ${bind(resource)}`]),
    ...(position === undefined
      ? []
      : [`(audit.era, audit.xid, audit.seq) < (${bind(position[0])}::integer, ${bind(position[1])}::xid8, ${bind(position[2])}::bigint)`]),
  ];
  const { rows } = await pool.query<RecordRow>(
    `select page.*, seal.position::text, seal.hash from (
       select audit.era || '.' || audit.xid::text || '.' || audit.seq as key, audit.era as in_era, audit.xid as in_xid, audit.seq as in_seq,
         id, at, subject, remote, verb, resource, code, before, after, reason
       from audit where ${conditions.join(' and ')}
       order by audit.era desc, audit.xid desc, audit.seq desc limit ${limit + 1}
     ) as page left join audit_seal as seal on seal.id = page.id
     order by in_era desc, in_xid desc, in_seq desc`,
    values,
  );
  const page = rows.slice(0, limit);
  return { items: page.map(recordFromRow), next: rows.length > page.length ? page.at(-1)?.key : undefined };
}

/** One by its id. */
export async function findAuditRecord(
  pool: Pool,
  id: string,
  within: { readonly tenant: string; readonly workspace: string },
): Promise<AuditRecord | undefined> {
  const { rows } = await pool.query<RecordRow>(
    `select '' as key, audit.id, at, subject, remote, verb, resource, code, before, after, reason, seal.position::text, seal.hash
     from audit left join audit_seal as seal on seal.id = audit.id where audit.id = $1 and tenant = $2 and workspace = $3`,
    [id, within.tenant, within.workspace],
  );
  return rows[0] === undefined ? undefined : recordFromRow(rows[0]);
}

function recordFromRow(row: RecordRow): AuditRecord {
  const { id, subject, remote, verb, resource, code } = row;
  return {
    id,
    at: row.at.toISOString(),
    subject,
    remote,
    verb,
    resource,
    decision: code < 400 ? 'allowed' : 'refused',
    code,
    ...(row.before === null ? {} : { before: row.before }),
    ...(row.after === null ? {} : { after: row.after }),
    ...(row.reason === null ? {} : { reason: row.reason }),
    ...(row.position === null || row.hash === null ? {} : { position: Number(row.position), hash: row.hash.toString('hex') }),
  };
}

function positionFromText(text: string | undefined): readonly string[] | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,9}\.\d{1,20}\.\d{1,19}$/.test(text)) return text.split('.');
  throw new Problem('invalid-request', 'the position in the list is not one that was given out', { sources: [{ parameter: 'skipToken' }] });
}
