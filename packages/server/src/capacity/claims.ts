import { type Id, Problem } from '@virt8ra/contract';
import type { PoolClient } from 'pg';
import type { Capacity } from '../placement/placement.js';

/** Capacity claims: what resources hold on hosts. Claiming and summing happen under one lock per host, so that nothing is sold twice. */

export interface Claim extends Capacity {
  readonly resourceUid: Id<'resource'>;
  /** A move claims at the target as `incoming` beside the `primary` at the source. */
  readonly role: 'primary' | 'incoming';
  readonly site: string;
  readonly host: string;
}

export const capacityMigrations: readonly { readonly name: string; readonly sql: string }[] = [
  {
    name: 'capacity-0001-claim',
    sql: `
      create table claim (
        resource_uid text not null,
        role text not null check (role in ('primary', 'incoming')),
        site text not null,
        host text not null,
        vcpu integer not null check (vcpu >= 0),
        memory_mib integer not null check (memory_mib >= 0),
        storage_bytes bigint not null check (storage_bytes >= 0),
        primary key (resource_uid, role)
      );
      create index claim_by_host on claim (host);`,
  },
];

/** Sums of claims per host, for the hosts given. */
export async function claimedOn(client: Pick<PoolClient, 'query'>, hosts: readonly string[]): Promise<ReadonlyMap<string, Capacity>> {
  const rows = await client.query<{ host: string; vcpu: string; memory_mib: string; storage_bytes: string }>(
    `select host, sum(vcpu) as vcpu, sum(memory_mib) as memory_mib, sum(storage_bytes) as storage_bytes
       from claim where host = any($1) group by host`,
    [hosts],
  );
  return new Map(
    rows.rows.map((row) => [
      row.host,
      { vCPU: Number(row.vcpu), memoryMiB: Number(row.memory_mib), storageBytes: Number(row.storage_bytes) },
    ]),
  );
}

/**
 * Takes the claims of one host together or not at all. Repeating a claim replaces it. Raises `exhausted` when the host's capacity does
 * not hold them beside what is claimed already.
 */
export async function claimOnHost(client: PoolClient, host: string, capacity: Capacity, claims: readonly Claim[]): Promise<void> {
  await client.query(`select pg_advisory_xact_lock(hashtextextended('claim:' || $1, 0))`, [host]);
  for (const claim of claims) {
    await client.query(
      `insert into claim (resource_uid, role, site, host, vcpu, memory_mib, storage_bytes) values ($1, $2, $3, $4, $5, $6, $7)
       on conflict (resource_uid, role) do update
         set site = excluded.site, host = excluded.host, vcpu = excluded.vcpu, memory_mib = excluded.memory_mib, storage_bytes = excluded.storage_bytes`,
      [claim.resourceUid, claim.role, claim.site, claim.host, claim.vCPU, claim.memoryMiB, claim.storageBytes],
    );
  }
  const claimed = (await claimedOn(client, [host])).get(host) ?? { vCPU: 0, memoryMiB: 0, storageBytes: 0 };
  if (claimed.vCPU > capacity.vCPU || claimed.memoryMiB > capacity.memoryMiB || claimed.storageBytes > capacity.storageBytes) {
    throw new Problem('exhausted', `host ${host} has no room left for this; free capacity there or choose another site`, {
      facts: { host, capacity, claimed },
    });
  }
}

/** What a resource holds where it is. It is locked, so that it stays so until the end of the transaction. */
export async function claimOfResource(client: PoolClient, resourceUid: Id<'resource'>): Promise<Claim | undefined> {
  const { rows } = await client.query<{ site: string; host: string; vcpu: number; memory_mib: number; storage_bytes: string }>(
    `select site, host, vcpu, memory_mib, storage_bytes from claim where resource_uid = $1 and role = 'primary' for update`,
    [resourceUid],
  );
  const row = rows[0];
  if (row === undefined) return undefined;
  const { site, host, vcpu, memory_mib: memoryMiB, storage_bytes: storageBytes } = row;
  return { resourceUid, role: 'primary', site, host, vCPU: vcpu, memoryMiB, storageBytes: Number(storageBytes) };
}

/** Lowers what a resource holds where it is; never raises it. */
export async function shrinkClaim(
  client: Pick<PoolClient, 'query'>,
  resourceUid: Id<'resource'>,
  size: Pick<Capacity, 'vCPU' | 'memoryMiB'>,
): Promise<void> {
  await client.query(
    `update claim set vcpu = least(vcpu, $2), memory_mib = least(memory_mib, $3)
      where resource_uid = $1 and role = 'primary' and (vcpu > $2 or memory_mib > $3)`,
    [resourceUid, size.vCPU, size.memoryMiB],
  );
}

export async function releaseClaim(client: PoolClient, resourceUid: Id<'resource'>, role: Claim['role']): Promise<void> {
  await client.query('delete from claim where resource_uid = $1 and role = $2', [resourceUid, role]);
}

/** After a move: the incoming claim becomes the primary one. */
export async function promoteClaim(client: PoolClient, resourceUid: Id<'resource'>): Promise<void> {
  const incoming = await client.query(`select 1 from claim where resource_uid = $1 and role = 'incoming'`, [resourceUid]);
  if (incoming.rowCount === 0) return;
  await client.query(`delete from claim where resource_uid = $1 and role = 'primary'`, [resourceUid]);
  await client.query(`update claim set role = 'primary' where resource_uid = $1 and role = 'incoming'`, [resourceUid]);
}
