import { newId } from '@virt8ra/contract';
import { inTransaction, type Log } from '@virt8ra/engine';
import type { Pool, PoolClient } from 'pg';
import type { AuditSigner } from './audit-key.js';
import type { AuditKey } from './audit-row.js';
import { writeCheckpoint } from './checkpoint-rows.js';
import { verifyIn } from './verify-audit.js';

export interface AuditRetention {
  readonly signer: AuditSigner;
  readonly log: Log;
  /** Age at which rows go. */
  readonly keepSeconds: number;
  /** Rows of one cut. Default 10,000. */
  readonly batchRows?: number;
}

/** Any number; the same for every server. */
const lockKey = 8_480_003;

/**
 * Cuts off what is too old, from the beginning of the chain on, and says so under signature, so that the rest can be verified as before. What
 * does not hold is not cut: it is evidence. The newest seal always stays. Answers how many rows went.
 */
export async function pruneAudit(pool: Pool, now: Date, { signer, log, keepSeconds, batchRows = 10_000 }: AuditRetention): Promise<number> {
  return await inTransaction(pool, async (client) => {
    const { rows: mine } = await client.query<{ mine: boolean }>('select pg_try_advisory_xact_lock($1) as mine', [lockKey]);
    if (mine[0]?.mine !== true) return 0;
    const end = await endOfOld(client, new Date(now.getTime() - keepSeconds * 1000), batchRows);
    if (end === undefined) return 0;
    const { faults, faultCount } = await verifyIn(client, { signer, limit: end.seals });
    if (faultCount > 0) {
      log.error('old rows of the audit are kept, because they do not hold', { faults: faultCount, first: faults[0] });
      return 0;
    }
    const { position, era, xid, seq, hash, at } = end;
    await client.query(`delete from audit_checkpoint where position <= $1`, [String(position)]);
    await writeCheckpoint(client, signer.signed({ role: 'cut', position, era, xid, seq, hash, at: now.toISOString() }));
    const gone = await client.query('delete from audit using audit_seal as seal where seal.id = audit.id and seal.position <= $1', [
      String(position),
    ]);
    await client.query('delete from audit_seal where position <= $1', [String(position)]);
    await client.query(
      `insert into audit (id, at, subject, remote, verb, resource, code, reason) values ($1, $2, 'virt8ra-server', '', 'cut', $3, 200, $4)`,
      [
        newId('audit', now.getTime()),
        now,
        'virt8ra.audit/v1beta1/entries',
        `${gone.rowCount ?? 0} rows up to position ${position}, of ${at.toISOString()}, were older than ${Math.round(keepSeconds / 86_400)} days; hash ${hash.toString('hex')}`,
      ],
    );
    return gone.rowCount ?? 0;
  });
}

interface OldEnd extends AuditKey {
  readonly position: bigint;
  readonly hash: Buffer;
  readonly at: Date;
  readonly seals: number;
}

/** The last seal before the first one that is young enough, or missing. */
async function endOfOld(client: PoolClient, before: Date, batchRows: number): Promise<OldEnd | undefined> {
  const { rows } = await client.query<Omit<OldEnd, 'position' | 'seals'> & { readonly position: string; readonly seals: string }>(
    `with first as (
       select seal.position, seal.era, seal.xid, seal.seq, seal.hash, audit.at from audit_seal as seal
         left join audit on audit.id = seal.id order by seal.position limit $2
     ), old as (
       select * from first
        where position < coalesce((select min(position) from first where at is null or at >= $1), 9223372036854775807)
          and position < (select max(position) from audit_seal)
     )
     select position::text, era, xid::text, seq::text, hash, at, (select count(*) from old) as seals from old order by old.position desc limit 1`,
    [before, batchRows],
  );
  const [row] = rows;
  return row === undefined ? undefined : { ...row, position: BigInt(row.position), seals: Number(row.seals) };
}
