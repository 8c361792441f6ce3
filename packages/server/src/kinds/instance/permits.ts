import { type Id, type Permit, Problem, type Surrender } from '@virt8ra/contract';
import type { Queryable } from '@virt8ra/engine';
import { tellMoved } from '../../access/moved.js';

/**
 * The control plane's side of run permits. One row per instance holds the newest epoch; the next is granted only against the surrender
 * of the one before, so that not even two replicas or a restored database can let two hosts run the same instance.
 */

export const permitMigrations: readonly { readonly name: string; readonly sql: string }[] = [
  {
    name: 'instance-0001-permit',
    sql: `
      create table run_permit (
        instance_uid text primary key,
        epoch integer not null check (epoch >= 1),
        holder text not null,
        evidence jsonb,
        surrender jsonb
      );`,
  },
];

export interface PermitState {
  readonly epoch: number;
  readonly holder: string;
  /** The permit as the holder was sent it. */
  readonly permit: Permit;
  /** Set once the holder gave the epoch up. */
  readonly surrendered: Surrender | undefined;
}

export async function currentPermit(client: Queryable, instanceUid: Id<'resource'>): Promise<PermitState | undefined> {
  const { rows } = await client.query<{ epoch: number; holder: string; evidence: Surrender | null; surrender: Surrender | null }>(
    'select epoch, holder, evidence, surrender from run_permit where instance_uid = $1',
    [instanceUid],
  );
  const row = rows[0];
  if (row === undefined) return undefined;
  const permit: Permit = { epoch: row.epoch, holder: row.holder, ...(row.evidence === null ? {} : { evidence: row.evidence }) };
  return { epoch: row.epoch, holder: row.holder, permit, surrendered: row.surrender ?? undefined };
}

/** Grants the next epoch. Asking again for the same holder and evidence gives the same permit. Raises `conflict` while the epoch before is still held. */
export async function grantPermit(
  client: Queryable,
  grant: { readonly instanceUid: Id<'resource'>; readonly holder: string; readonly evidence?: Surrender },
): Promise<Permit> {
  const { instanceUid, holder, evidence } = grant;
  await client.query('select 1 from run_permit where instance_uid = $1 for update', [instanceUid]);
  const current = await currentPermit(client, instanceUid);
  if (current === undefined) {
    if (evidence !== undefined) throw new Problem('conflict', 'evidence of an earlier epoch was given, but no epoch was ever granted');
    await client.query('insert into run_permit (instance_uid, epoch, holder) values ($1, 1, $2)', [instanceUid, holder]);
    return { epoch: 1, holder };
  }
  if (current.holder === holder && current.surrendered === undefined && current.permit.evidence?.signature === evidence?.signature)
    return current.permit;
  if (evidence === undefined || current.surrendered === undefined || evidence.epoch !== current.epoch) {
    throw new Problem('conflict', `epoch ${current.epoch} is still held by ${current.holder}; it must be surrendered first`, {
      facts: { instance: instanceUid, epoch: current.epoch, holder: current.holder },
    });
  }
  const epoch = current.epoch + 1;
  await client.query('update run_permit set epoch = $2, holder = $3, evidence = $4, surrender = null where instance_uid = $1', [
    instanceUid,
    epoch,
    holder,
    JSON.stringify(evidence),
  ]);
  await tellMoved(client, instanceUid);
  return { epoch, holder, evidence };
}

/** Keeps the statement by which an epoch ended. One for an older epoch is ignored. */
export async function recordSurrender(client: Queryable, surrender: Surrender): Promise<void> {
  const { rowCount } = await client.query('update run_permit set surrender = $3 where instance_uid = $1 and epoch = $2 and holder = $4', [
    surrender.instance,
    surrender.epoch,
    JSON.stringify(surrender),
    surrender.host,
  ]);
  if (rowCount !== 0) await tellMoved(client, surrender.instance);
}

export async function forgetPermit(client: Queryable, instanceUid: Id<'resource'>): Promise<void> {
  await client.query('delete from run_permit where instance_uid = $1', [instanceUid]);
}
