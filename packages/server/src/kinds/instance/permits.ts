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
  {
    name: 'instance-0002-promised-permit',
    sql: `
      -- Who was given the next epoch already, to begin with the release of this one, handed from host to host.
      alter table run_permit add column next_holder text;
      -- The one host that may get the epoch after this one: it may still run the epoch before, of which nobody has heard the end.
      alter table run_permit add column bound_to text;`,
  },
];

export interface PermitState {
  readonly epoch: number;
  readonly holder: string;
  /** The permit as the holder was sent it. */
  readonly permit: Permit;
  /** Set once the holder gave the epoch up. */
  readonly surrendered: Surrender | undefined;
  /** The host that was promised the next epoch, in a live move. */
  readonly nextHolder: string | undefined;
  /** The one host that the next epoch may be granted to. */
  readonly boundTo: string | undefined;
}

interface PermitRow {
  readonly epoch: number;
  readonly holder: string;
  readonly evidence: Surrender | null;
  readonly surrender: Surrender | null;
  readonly next_holder: string | null;
  readonly bound_to: string | null;
}

export async function currentPermit(client: Queryable, instanceUid: Id<'resource'>): Promise<PermitState | undefined> {
  const { rows } = await client.query<PermitRow>(
    'select epoch, holder, evidence, surrender, next_holder, bound_to from run_permit where instance_uid = $1',
    [instanceUid],
  );
  const row = rows[0];
  if (row === undefined) return undefined;
  const permit: Permit = { epoch: row.epoch, holder: row.holder, ...(row.evidence === null ? {} : { evidence: row.evidence }) };
  return {
    epoch: row.epoch,
    holder: row.holder,
    permit,
    surrendered: row.surrender ?? undefined,
    nextHolder: row.next_holder ?? undefined,
    boundTo: row.bound_to ?? undefined,
  };
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
  const only = current.nextHolder ?? current.boundTo;
  if (only !== undefined && only !== holder)
    throw new Problem('conflict', `epoch ${epoch} is ${only}’s alone: nobody else may hold it before ${only} has given it up`);
  await client.query(
    `update run_permit set epoch = $2, holder = $3, evidence = $4, surrender = null, next_holder = null, bound_to = null
      where instance_uid = $1`,
    [instanceUid, epoch, holder, JSON.stringify(evidence)],
  );
  await tellMoved(client, instanceUid);
  return { epoch, holder, evidence };
}

/**
 * Promises the next epoch to a host while this one is held: a permit that is worth nothing before the holder itself has handed its release over.
 * Nobody else can be granted that epoch any more. Asking again gives the same. Raises `conflict` when the epoch is not `from`'s to give up.
 */
export async function promisePermit(
  client: Queryable,
  promise: { readonly instanceUid: Id<'resource'>; readonly from: string; readonly holder: string },
): Promise<Permit> {
  const { instanceUid, from, holder } = promise;
  await client.query('select 1 from run_permit where instance_uid = $1 for update', [instanceUid]);
  const current = await currentPermit(client, instanceUid);
  const open = current?.holder === from && current.surrendered === undefined && (current.nextHolder ?? holder) === holder;
  if (current === undefined || !open) throw new Problem('conflict', `host ${from} has no epoch whose release ${holder} could wait for`);
  await client.query('update run_permit set next_holder = $2 where instance_uid = $1', [instanceUid, holder]);
  return { epoch: current.epoch + 1, holder, awaits: from };
}

/**
 * Keeps the statement by which an epoch ended. One for an older epoch is ignored. One for an epoch that was only promised ends the promise: the
 * epoch counts as given out and given up, and as long as the end of the one before is not known, only its holder can get another.
 */
export async function recordSurrender(client: Queryable, surrender: Surrender): Promise<void> {
  const values = [surrender.instance, surrender.epoch, JSON.stringify(surrender), surrender.host];
  let { rowCount } = await client.query(
    'update run_permit set surrender = $3 where instance_uid = $1 and epoch = $2 and holder = $4',
    values,
  );
  if (rowCount === 0) {
    const promised = await client.query(
      `update run_permit set bound_to = case when surrender is null then holder end, evidence = surrender, surrender = $3,
              epoch = $2, holder = $4, next_holder = null
        where instance_uid = $1 and epoch = $2 - 1 and next_holder = $4`,
      values,
    );
    rowCount = promised.rowCount;
  }
  if (rowCount !== 0) await tellMoved(client, surrender.instance);
}

export async function forgetPermit(client: Queryable, instanceUid: Id<'resource'>): Promise<void> {
  await client.query('delete from run_permit where instance_uid = $1', [instanceUid]);
}
