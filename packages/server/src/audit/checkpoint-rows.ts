import type { PoolClient } from 'pg';
import type { Checkpoint } from './audit-key.js';

interface CheckpointRow {
  readonly place: string;
  readonly role: Checkpoint['role'];
  readonly era: number;
  readonly xid: string;
  readonly seq: string;
  readonly hash: Buffer;
  readonly at: Date;
  readonly key: string;
  readonly signature: Buffer;
}

// A column that is told as text must not have the name that is sorted by: PostgreSQL would sort the text.

/** Checkpoints in the order of positions, as `where` picks them. */
export async function readCheckpoints(
  client: Pick<PoolClient, 'query'>,
  where: string,
  values: readonly unknown[] = [],
): Promise<readonly Checkpoint[]> {
  const { rows } = await client.query<CheckpointRow>(
    `select position::text as place, role, era, xid::text, seq::text, hash, at, key, signature from audit_checkpoint ${where}`,
    [...values],
  );
  return rows.map(({ place, at, ...row }) => ({ ...row, position: BigInt(place), at: at.toISOString() }));
}

export async function writeCheckpoint(client: Pick<PoolClient, 'query'>, checkpoint: Checkpoint): Promise<void> {
  const { position, role, era, xid, seq, hash, at, key, signature } = checkpoint;
  await client.query(
    `insert into audit_checkpoint (position, role, era, xid, seq, hash, at, key, signature) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
    [String(position), role, era, xid, seq, hash, at, key, signature],
  );
}
