import { Problem, type UsageRecord } from '@virt8ra/contract';
import type { Pool } from 'pg';

export interface UsageQuery {
  readonly tenant: string;
  readonly workspace?: string;
  /** Hours that begin at or after it, and before the other. */
  readonly from?: Date;
  readonly to?: Date;
  readonly limit: number;
  /** `next` of an earlier page. */
  readonly after: string | undefined;
}

interface Row {
  readonly tenant: string;
  readonly workspace: string;
  readonly hour: Date;
  readonly uid: string;
  readonly kind: UsageRecord['kind'];
  readonly name: string;
  readonly seconds: number;
  readonly vcpu_seconds: number | null;
  readonly ram_seconds: number | null;
  readonly storage_gb_seconds: number | null;
}

/** A page of usage records, by workspace, then by hour. */
export async function readUsage(
  pool: Pool,
  { tenant, workspace, from, to, limit, after }: UsageQuery,
): Promise<{ readonly items: readonly UsageRecord[]; readonly next: string | undefined }> {
  const values: unknown[] = [];
  const bind = (value: unknown): string => `$${values.push(value)}`;
  const position = positionFromText(after);
  const conditions = [
    `tenant = ${bind(tenant)}`,
    ...(workspace === undefined ? [] : [`workspace = ${bind(workspace)}`]),
    ...(from === undefined ? [] : [`hour >= ${bind(from)}`]),
    ...(to === undefined ? [] : [`hour < ${bind(to)}`]),
    ...(position === undefined
      ? []
      : [`(workspace, hour, uid) > (${bind(position[0])}, ${bind(position[1])}::timestamptz, ${bind(position[2])})`]),
  ];
  const { rows } = await pool.query<Row>(
    `select tenant, workspace, hour, uid, kind, name, seconds, vcpu_seconds, ram_seconds, storage_gb_seconds from usage_record
      where ${conditions.join(' and ')} order by workspace, hour, uid limit ${limit + 1}`,
    values,
  );
  const page = rows.slice(0, limit);
  const last = page.at(-1);
  return {
    items: page.map(recordFromRow),
    next: rows.length > page.length && last !== undefined ? `${last.workspace} ${last.hour.toISOString()} ${last.uid}` : undefined,
  };
}

function recordFromRow(row: Row): UsageRecord {
  const amount = (name: string, value: number | null): object => (value === null ? {} : { [name]: rounded(value) });
  return {
    hour: row.hour.toISOString(),
    tenant: row.tenant,
    workspace: row.workspace,
    kind: row.kind,
    name: row.name,
    uid: row.uid,
    seconds: rounded(row.seconds),
    ...amount('vCPUSeconds', row.vcpu_seconds),
    ...amount('ramSeconds', row.ram_seconds),
    ...amount('storageGBSeconds', row.storage_gb_seconds),
  };
}

/** To milliseconds: sums of fractions carry more digits than were measured. */
function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}

function positionFromText(text: string | undefined): readonly string[] | undefined {
  if (text === undefined) return undefined;
  const parts = text.split(' ');
  if (parts.length === 3 && !Number.isNaN(Date.parse(parts[1] ?? ''))) return parts;
  throw new Problem('invalid-request', 'the position in the list is not one that was given out', { sources: [{ parameter: 'skipToken' }] });
}
