import { type Id, Problem } from '@virt8ra/contract';
import type { PoolClient } from 'pg';
import { type Capacity, capacityFields } from '../placement/placement.js';

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
  {
    name: 'capacity-0002-hardware',
    sql: `
      alter table claim
        add column dedicated_cpu integer not null default 0 check (dedicated_cpu >= 0),
        add column huge_2mi integer not null default 0 check (huge_2mi >= 0),
        add column huge_1gi integer not null default 0 check (huge_1gi >= 0);`,
  },
];

/** A row's amounts, as they come from the database. */
interface Amounts {
  readonly vcpu: number | string;
  readonly memory_mib: number | string;
  readonly storage_bytes: string;
  readonly dedicated_cpu: number | string;
  readonly huge_2mi: number | string;
  readonly huge_1gi: number | string;
}

const amountColumns = ['vcpu', 'memory_mib', 'storage_bytes', 'dedicated_cpu', 'huge_2mi', 'huge_1gi'] as const;

function capacityFrom(row: Amounts): Required<Capacity> {
  return {
    vCPU: Number(row.vcpu),
    memoryMiB: Number(row.memory_mib),
    storageBytes: Number(row.storage_bytes),
    dedicatedCPU: Number(row.dedicated_cpu),
    huge2Mi: Number(row.huge_2mi),
    huge1Gi: Number(row.huge_1gi),
  };
}

/** Sums of claims per host, for the hosts given. */
export async function claimedOn(
  client: Pick<PoolClient, 'query'>,
  hosts: readonly string[],
): Promise<ReadonlyMap<string, Required<Capacity>>> {
  const { rows } = await client.query<Amounts & { host: string }>(
    `select host, ${amountColumns.map((column) => `sum(${column}) as ${column}`).join(', ')} from claim where host = any($1) group by host`,
    [hosts],
  );
  return new Map(rows.map((row) => [row.host, capacityFrom(row)]));
}

/**
 * Takes the claims of one host together or not at all. Repeating a claim replaces it. Raises `exhausted` when the host's capacity does
 * not hold what they ask for beside what is claimed already.
 */
export async function claimOnHost(client: PoolClient, host: string, capacity: Capacity, claims: readonly Claim[]): Promise<void> {
  await client.query(`select pg_advisory_xact_lock(hashtextextended('claim:' || $1, 0))`, [host]);
  for (const claim of claims) {
    const { dedicatedCPU = 0, huge2Mi = 0, huge1Gi = 0 } = claim;
    await client.query(
      `insert into claim (resource_uid, role, site, host, ${amountColumns.join(', ')}) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
       on conflict (resource_uid, role) do update
         set site = excluded.site, host = excluded.host, ${amountColumns.map((column) => `${column} = excluded.${column}`).join(', ')}`,
      [
        claim.resourceUid,
        claim.role,
        claim.site,
        claim.host,
        claim.vCPU,
        claim.memoryMiB,
        claim.storageBytes,
        dedicatedCPU,
        huge2Mi,
        huge1Gi,
      ],
    );
  }
  const claimed = (await claimedOn(client, [host])).get(host);
  if (claimed === undefined) return;
  const asked = capacityFields.filter((field) => claims.some((claim) => (claim[field] ?? 0) > 0));
  if (asked.some((field) => claimed[field] > (capacity[field] ?? 0))) {
    throw new Problem('exhausted', `host ${host} has no room left for this; free capacity there or choose another site`, {
      facts: { host, capacity, claimed },
    });
  }
}

/** What a resource holds where it is. It is locked, so that it stays so until the end of the transaction. */
export async function claimOfResource(client: PoolClient, resourceUid: Id<'resource'>): Promise<(Claim & Required<Capacity>) | undefined> {
  const { rows } = await client.query<Amounts & { site: string; host: string }>(
    `select site, host, ${amountColumns.join(', ')} from claim where resource_uid = $1 and role = 'primary' for update`,
    [resourceUid],
  );
  const row = rows[0];
  return row === undefined ? undefined : { resourceUid, role: 'primary', site: row.site, host: row.host, ...capacityFrom(row) };
}

/** Lowers what a resource holds where it is, its storage left out; never raises it. */
export async function shrinkClaim(
  client: Pick<PoolClient, 'query'>,
  resourceUid: Id<'resource'>,
  { vCPU, memoryMiB, dedicatedCPU = 0, huge2Mi = 0, huge1Gi = 0 }: Omit<Capacity, 'storageBytes'>,
): Promise<void> {
  await client.query(
    `update claim set vcpu = least(vcpu, $2), memory_mib = least(memory_mib, $3),
            dedicated_cpu = least(dedicated_cpu, $4), huge_2mi = least(huge_2mi, $5), huge_1gi = least(huge_1gi, $6)
      where resource_uid = $1 and role = 'primary'
        and (vcpu > $2 or memory_mib > $3 or dedicated_cpu > $4 or huge_2mi > $5 or huge_1gi > $6)`,
    [resourceUid, vCPU, memoryMiB, dedicatedCPU, huge2Mi, huge1Gi],
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
