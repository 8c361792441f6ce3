import { createHash } from 'node:crypto';

/** Where a row stands among all: no row that comes later is ever sorted before one that was final. */
export interface AuditKey {
  readonly era: number;
  readonly xid: string;
  readonly seq: string;
}

/** A row of the audit as it is hashed. Everything in it is text or a number, so that no clock or driver can round it. */
export interface AuditRow extends AuditKey {
  readonly id: string;
  /** Microseconds since 1970. */
  readonly at_us: string;
  readonly subject: string;
  readonly remote: string;
  readonly verb: string;
  readonly resource: string;
  readonly code: number;
  readonly before: string | null;
  readonly after: string | null;
  readonly reason: string | null;
}

export const auditColumns = `audit.era, audit.xid::text, audit.seq::text, audit.id, (extract(epoch from audit.at) * 1000000)::bigint::text as at_us,
  audit.subject, audit.remote, audit.verb, audit.resource, audit.code, audit.before, audit.after, audit.reason`;

/** What the first seal of a region's chain stands on. */
export function chainBeginning(region: string): Buffer {
  return createHash('sha256').update(`virt8ra audit chain 1 of region ${region}`).digest();
}

/** The hash of a seal: over the one before, its place in the chain and every word of its row. */
export function sealHash(previous: Uint8Array, position: bigint, row: AuditRow): Buffer {
  const said = [
    String(position),
    row.era,
    row.xid,
    row.seq,
    row.id,
    row.at_us,
    row.subject,
    row.remote,
    row.verb,
    row.resource,
    row.code,
    row.before,
    row.after,
    row.reason,
  ];
  return createHash('sha256').update(previous).update(JSON.stringify(said)).digest();
}

export function compareKeys(a: AuditKey, b: AuditKey): number {
  if (a.era !== b.era) return a.era - b.era;
  const [left, right] = a.xid === b.xid ? [BigInt(a.seq), BigInt(b.seq)] : [BigInt(a.xid), BigInt(b.xid)];
  return left < right ? -1 : left > right ? 1 : 0;
}

export function timeOfRow(row: Pick<AuditRow, 'at_us'>): string {
  return new Date(Number(BigInt(row.at_us) / 1000n)).toISOString();
}
