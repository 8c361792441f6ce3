import { setTimeout as sleep } from 'node:timers/promises';
import type { Leases, Log } from '@virt8ra/engine';
import type { Pool, PoolClient } from 'pg';
import type { AuditSigner } from './audit-key.js';
import { type AuditKey, type AuditRow, auditColumns, chainBeginning, compareKeys, sealHash } from './audit-row.js';
import { readCheckpoints, writeCheckpoint } from './checkpoint-rows.js';

export interface SealerOptions {
  readonly pool: Pool;
  readonly leases: Leases;
  /** Name of this replica; who comes back under it has its lease at once. */
  readonly owner: string;
  readonly signer: AuditSigner;
  readonly log: Log;
  /** Rows of one transaction. Default 1000. */
  readonly batchRows?: number;
  /** Milliseconds between two looks of whoever seals. Default 1000; others look ten times as seldom. */
  readonly everyMs?: number;
  readonly now?: () => Date;
}

export interface Sealer {
  /** Seals what is final now; answers how many rows. Undefined: another replica seals. */
  seal(): Promise<number | undefined>;
  start(): void;
  /** Ends behind the batch at hand and gives the lease back. */
  stop(): Promise<void>;
}

export const sealerLease = 'audit-sealer';
const leaseSeconds = 30;
/** Older checkpoints are thinned to one in so many seals; the newest always stays. */
const checkpointEvery = 1000n;

/**
 * Chains the audit's rows after they were committed, so that writers never wait for each other. One replica at a time, by lease; a batch is
 * one transaction that commits only while the lease is held. A kill loses nothing: the batch is as if it had never begun.
 */
export function createSealer(options: SealerOptions): Sealer {
  const { leases, owner, log, batchRows = 1000, everyMs = 1000 } = options;
  let fence: number | undefined;
  let renewedAt = Number.NEGATIVE_INFINITY;
  const stopping = new AbortController();
  let loop: Promise<void> | undefined;

  async function hold(): Promise<number | undefined> {
    if (fence !== undefined && performance.now() - renewedAt < (leaseSeconds * 1000) / 3) return fence;
    fence = await leases.acquire(sealerLease, owner, leaseSeconds);
    renewedAt = performance.now();
    return fence;
  }

  async function seal(): Promise<number | undefined> {
    let sealed = 0;
    for (;;) {
      const held = await hold();
      if (held === undefined) return sealed === 0 ? undefined : sealed;
      const batch = await leases
        .guarded(sealerLease, held, async (client) => await sealBatch(client, options, batchRows))
        .catch((error) => {
          fence = undefined;
          throw error;
        });
      sealed += batch;
      if (batch < batchRows || stopping.signal.aborted) return sealed;
    }
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      let mine = false;
      try {
        mine = (await seal()) !== undefined;
      } catch (error) {
        log.warn('the audit could not be sealed; it is tried again', { error: String(error) });
      }
      await sleep(mine ? everyMs : everyMs * 10, undefined, { signal: stopping.signal, ref: false }).catch(() => undefined);
    }
  }

  return {
    seal,
    start() {
      loop ??= run();
    },
    async stop() {
      stopping.abort();
      await loop;
      if (fence !== undefined) await leases.release(sealerLease, fence);
      fence = undefined;
    },
  };
}

/** Where the chain stands: its newest seal, or the newest checkpoint when somebody has taken seals away behind it. */
interface Head extends AuditKey {
  readonly position: bigint;
  readonly hash: Buffer;
}

/** The next batch of rows that are final: older than every transaction that is still open. In the order of the feed. */
async function sealBatch(client: PoolClient, { signer, now = () => new Date() }: SealerOptions, batchRows: number): Promise<number> {
  const head = await headOf(client, signer.region);
  const { rows } = await client.query<AuditRow>({
    name: 'audit-unsealed',
    text: `select ${auditColumns} from audit
      where (era, xid, seq) > ($1, $2::xid8, $3::bigint)
        and (xid < pg_snapshot_xmin(pg_current_snapshot()) or era < (select max(era) from audit))
      order by era, audit.xid, audit.seq limit $4`,
    values: [head.era, head.xid, head.seq, batchRows],
  });
  const last = rows.at(-1);
  if (last === undefined) return 0;
  let { hash, position } = head;
  const seals = rows.map((row) => {
    position += 1n;
    hash = sealHash(hash, position, row);
    return { row, position, hash };
  });
  await client.query({
    name: 'audit-seal',
    text: `insert into audit_seal (position, era, xid, seq, id, hash)
      select * from unnest($1::bigint[], $2::integer[], $3::xid8[], $4::bigint[], $5::text[], $6::bytea[])`,
    values: [
      seals.map((seal) => String(seal.position)),
      rows.map((row) => row.era),
      rows.map((row) => row.xid),
      rows.map((row) => row.seq),
      rows.map((row) => row.id),
      seals.map((seal) => seal.hash),
    ],
  });
  const { era, xid, seq } = last;
  await writeCheckpoint(client, signer.signed({ role: 'head', position, era, xid, seq, hash, at: now().toISOString() }));
  const thinned = (position / checkpointEvery) * checkpointEvery;
  await client.query(`delete from audit_checkpoint where role = 'head' and position > $1 and position < $2`, [
    String(thinned),
    String(position),
  ]);
  return rows.length;
}

async function headOf(client: PoolClient, region: string): Promise<Head> {
  const { rows } = await client.query<Omit<Head, 'position'> & { readonly position: string }>(
    'select position::text, era, xid::text, seq::text, hash from audit_seal order by audit_seal.position desc limit 1',
  );
  const seal: Head | undefined = rows[0] === undefined ? undefined : { ...rows[0], position: BigInt(rows[0].position) };
  const [checkpoint] = await readCheckpoints(client, 'order by position desc limit 1');
  if (seal === undefined) return checkpoint ?? { position: 0n, era: 0, xid: '0', seq: '0', hash: chainBeginning(region) };
  return checkpoint !== undefined && checkpoint.position > seal.position && compareKeys(checkpoint, seal) > 0 ? checkpoint : seal;
}

/**
 * To be called before anything is written: in a restored database ids of transactions are smaller than those that the chain has seen, so that
 * a new era begins. Answers whether one did.
 */
export async function beginAuditEra(client: PoolClient): Promise<boolean> {
  await client.query('lock table audit_seal in share row exclusive mode');
  const { rows } = await client.query<{ era: number }>(
    `select era from audit where xid >= pg_snapshot_xmax(pg_current_snapshot()) and era = (select max(era) from audit) limit 1`,
  );
  if (rows[0] === undefined) return false;
  await client.query(`alter table audit alter column era set default ${Number(rows[0].era) + 1}`);
  return true;
}
