import { type Id, Problem } from '@virt8ra/contract';
import type { PoolClient } from 'pg';
import { countDevices, type DeviceClaim, type DeviceCounts } from '../placement/devices.js';
import { type Capacity, type Claimed, capacityFields, type HostCapacity } from '../placement/placement.js';

/** Capacity claims: what resources hold on hosts. Claiming and summing happen under one lock per host, so that nothing is sold twice. */

export interface Claim extends Capacity {
  readonly resourceUid: Id<'resource'>;
  /** A move claims at the target as `incoming` beside the `primary` at the source, which stays as `retained` where a way back is kept. */
  readonly role: 'primary' | 'incoming' | 'retained';
  readonly site: string;
  readonly host: string;
  /** PCI devices of the host. Absent: none. */
  readonly devices?: readonly DeviceClaim[];
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
  { name: 'capacity-0003-devices', sql: `alter table claim add column devices jsonb not null default '[]';` },
  {
    name: 'capacity-0004-retained',
    sql: `
      alter table claim drop constraint claim_role_check;
      alter table claim add constraint claim_role_check check (role in ('primary', 'incoming', 'retained'));`,
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
): Promise<ReadonlyMap<string, Required<Capacity> & Claimed>> {
  const devices = await devicesOn(client, hosts);
  const { rows } = await client.query<Amounts & { host: string }>(
    `select host, ${amountColumns.map((column) => `sum(${column}) as ${column}`).join(', ')} from claim where host = any($1) group by host`,
    [hosts],
  );
  return new Map(rows.map((row) => [row.host, { ...capacityFrom(row), deviceCounts: devices.get(row.host) ?? {} }]));
}

async function devicesOn(client: Pick<PoolClient, 'query'>, hosts: readonly string[]): Promise<ReadonlyMap<string, DeviceCounts>> {
  const { rows } = await client.query<{ host: string; devices: readonly DeviceClaim[] }>(
    `select host, devices from claim where host = any($1) and devices <> '[]'`,
    [hosts],
  );
  const found = new Map<string, DeviceClaim[]>();
  for (const { host, devices } of rows) found.set(host, [...(found.get(host) ?? []), ...devices]);
  return new Map([...found].map(([host, devices]) => [host, countDevices(devices)]));
}

/**
 * Takes the claims of one host together or not at all. Repeating a claim replaces it. Raises `exhausted` when the host's capacity does
 * not hold what they ask for beside what is claimed already.
 */
export async function claimOnHost(client: PoolClient, host: string, capacity: HostCapacity, claims: readonly Claim[]): Promise<void> {
  await client.query(`select pg_advisory_xact_lock(hashtextextended('claim:' || $1, 0))`, [host]);
  const held = await heldDevices(client, claims);
  for (const claim of claims) {
    const { dedicatedCPU = 0, huge2Mi = 0, huge1Gi = 0 } = claim;
    await client.query(
      `insert into claim (resource_uid, role, site, host, ${amountColumns.join(', ')}, devices) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
       on conflict (resource_uid, role) do update
         set site = excluded.site, host = excluded.host, devices = excluded.devices,
             ${amountColumns.map((column) => `${column} = excluded.${column}`).join(', ')}`,
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
        JSON.stringify(claim.devices ?? []),
      ],
    );
  }
  const claimed = (await claimedOn(client, [host])).get(host);
  if (claimed === undefined) return;
  const asked = capacityFields.filter((field) => claims.some((claim) => (claim[field] ?? 0) > 0));
  const offered = new Map((capacity.devices ?? []).map(({ id, count }) => [id, count]));
  const wanted = Object.entries(countDevices(claims.flatMap((claim) => claim.devices ?? [])));
  // What it has there already it keeps, whatever the host offers now.
  const more = wanted.filter(([id, count]) => count > (held[id] ?? 0)).map(([id]) => id);
  if (
    asked.some((field) => claimed[field] > (capacity[field] ?? 0)) ||
    more.some((id) => (claimed.deviceCounts?.[id] ?? 0) > (offered.get(id) ?? 0))
  ) {
    throw new Problem('exhausted', `host ${host} has no room left for this; free capacity there or choose another site`, {
      facts: { host, capacity, claimed },
    });
  }
}

/** Of the claims that are to be replaced, what they hold on that host. */
async function heldDevices(client: PoolClient, claims: readonly Claim[]): Promise<DeviceCounts> {
  const held: DeviceClaim[] = [];
  for (const { resourceUid, role, host, devices = [] } of claims) {
    if (devices.length === 0) continue;
    const { rows } = await client.query<{ devices: readonly DeviceClaim[] }>(
      'select devices from claim where resource_uid = $1 and role = $2 and host = $3',
      [resourceUid, role, host],
    );
    held.push(...(rows[0]?.devices ?? []));
  }
  return countDevices(held);
}

/** A claim with all that it may say. */
type HeldClaim = Claim & Required<Capacity> & Required<Pick<Claim, 'devices'>>;

/** What a resource holds where it is. It is locked, so that it stays so until the end of the transaction. */
export async function claimOfResource(client: PoolClient, resourceUid: Id<'resource'>): Promise<HeldClaim | undefined> {
  return await claimOfRole(client, resourceUid, 'primary');
}

/** The same of what it holds in another role. */
export async function claimOfRole(client: PoolClient, resourceUid: Id<'resource'>, role: Claim['role']): Promise<HeldClaim | undefined> {
  const { rows } = await client.query<Amounts & { site: string; host: string; devices: readonly DeviceClaim[] }>(
    `select site, host, devices, ${amountColumns.join(', ')} from claim where resource_uid = $1 and role = $2 for update`,
    [resourceUid, role],
  );
  const row = rows[0];
  return row === undefined ? undefined : { resourceUid, role, site: row.site, host: row.host, devices: row.devices, ...capacityFrom(row) };
}

/** The PCI devices that are claimed for a resource on a host, as where it is or as where it goes. */
export async function claimedDevices(
  client: Pick<PoolClient, 'query'>,
  resourceUid: Id<'resource'>,
  host: string,
): Promise<readonly DeviceClaim[]> {
  const { rows } = await client.query<{ devices: readonly DeviceClaim[] }>(
    'select devices from claim where resource_uid = $1 and host = $2 order by role limit 1',
    [resourceUid, host],
  );
  return rows[0]?.devices ?? [];
}

/** Gives back what a resource holds of PCI devices beyond those. */
export async function keepDevices(
  client: Pick<PoolClient, 'query'>,
  resourceUid: Id<'resource'>,
  devices: readonly DeviceClaim[],
): Promise<void> {
  await client.query(`update claim set devices = $2 where resource_uid = $1 and role = 'primary' and devices <> $2`, [
    resourceUid,
    JSON.stringify(devices),
  ]);
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

/** Has what a resource holds in one role count as another, where it holds something; what it had as that is given back. */
export async function changeClaimRole(
  client: Pick<PoolClient, 'query'>,
  resourceUid: Id<'resource'>,
  from: Claim['role'],
  to: Claim['role'],
): Promise<void> {
  const held = await client.query('select 1 from claim where resource_uid = $1 and role = $2', [resourceUid, from]);
  if (held.rowCount === 0) return;
  await client.query('delete from claim where resource_uid = $1 and role = $2', [resourceUid, to]);
  await client.query('update claim set role = $3 where resource_uid = $1 and role = $2', [resourceUid, from, to]);
}

/** After a move: the incoming claim becomes the primary one. */
export async function promoteClaim(client: PoolClient, resourceUid: Id<'resource'>): Promise<void> {
  await changeClaimRole(client, resourceUid, 'incoming', 'primary');
}
