import { Problem, type QuotaSpec, type QuotaUnit, quota as quotaKind } from '@virt8ra/contract';
import type { Pool, PoolClient } from 'pg';
import type { StoreTransaction } from '../resources/store.js';
import type { StoredResource } from '../resources/stored-resource.js';
import { type Amounts, amountsOf } from './amounts.js';

interface QuotaRow {
  readonly name: string;
  readonly spec: QuotaSpec;
}

const words: Readonly<Record<QuotaUnit, string>> = {
  instances: 'instances',
  vCPU: 'vCPU',
  ram: 'GiB of memory',
  blockStorages: 'block storages',
  storageGB: 'GB of block storage',
  snapshots: 'snapshots',
  snapshotGB: 'GB of snapshots',
  backups: 'backups',
  backupGB: 'GB of backups',
  networks: 'networks',
  nics: 'NICs',
  publicIps: 'public IPs',
};

/**
 * Counts a resource that is made or changed, in the transaction that does so. Where quotas bound it, those that count against the same one
 * follow each other, so that no two can exceed it together; all others go on beside each other. Raises `exhausted` when a quota would be
 * exceeded. What does not grow is never refused.
 */
export async function countQuota(tx: StoreTransaction, resource: StoredResource): Promise<void> {
  const amounts = await amountsOf(tx, resource);
  const { tenant, workspace } = resource.address;
  if (amounts === undefined || tenant === undefined || workspace === undefined) return;
  const { rows: quotas } = await tx.client.query<QuotaRow>({
    name: 'quota-bound',
    text: `select name, spec from resource where kind = $1 and parent = $2 and (spec ->> 'workspace' is null or spec ->> 'workspace' = $3)
      order by name for no key update`,
    values: [quotaKind.kind, `tenants/${tenant}`, workspace],
  });
  const asked = await hold(tx, resource.uid, { tenant, workspace }, amounts);
  if (quotas.length === 0 || asked.size === 0) return;
  const used = await useOf(tx, tenant, [workspace, ''], [...asked.keys()]);
  for (const { name, spec } of quotas) {
    for (const [unit, more] of asked) {
      const limit = spec.limits[unit];
      const after = used.get(`${spec.workspace ?? ''} ${unit}`) ?? 0;
      if (limit !== undefined && after > limit) throw exceeded({ quota: name, unit, limit, used: after - more, asked: more }, spec, tenant);
    }
  }
}

/** The same for what is there already: it is counted, and never refused. */
export async function holdOnly(tx: StoreTransaction, resource: StoredResource): Promise<void> {
  const amounts = await amountsOf(tx, resource);
  const { tenant, workspace } = resource.address;
  if (amounts !== undefined && tenant !== undefined && workspace !== undefined)
    await hold(tx, resource.uid, { tenant, workspace }, amounts);
}

/** Writes what it counts for; answers what it counts for more than before. */
async function hold(
  tx: Pick<StoreTransaction, 'client'>,
  uid: string,
  { tenant, workspace }: { readonly tenant: string; readonly workspace: string },
  amounts: Amounts,
): Promise<ReadonlyMap<QuotaUnit, number>> {
  const units = Object.entries(amounts);
  const { rows } = await tx.client.query<{ unit: QuotaUnit; more: string }>({
    name: 'quota-hold',
    text: `with before as (
        select unit, amount from quota_hold where uid = $1
      ), written as (
        insert into quota_hold as held (uid, unit, tenant, workspace, amount)
        select $1, unit, $2, $3, amount from unnest($4::text[], $5::bigint[]) as given (unit, amount)
        on conflict (uid, unit) do update set amount = excluded.amount where held.amount <> excluded.amount
        returning unit, amount
      )
      select unit, written.amount - coalesce(before.amount, 0) as more from written left join before using (unit)`,
    values: [uid, tenant, workspace, units.map(([unit]) => unit), units.map(([, amount]) => amount)],
  });
  return new Map(rows.filter(({ more }) => Number(more) > 0).map(({ unit, more }) => [unit, Number(more)]));
}

/** Sums by `WORKSPACE UNIT`; the tenant's under an empty workspace. Costs the same however much there is. */
export async function useOf(
  { client }: { readonly client: Pick<PoolClient, 'query'> | Pick<Pool, 'query'> },
  tenant: string,
  workspaces: readonly string[],
  units: readonly string[],
): Promise<ReadonlyMap<string, number>> {
  const { rows } = await (client as Pick<PoolClient, 'query'>).query<{ workspace: string; unit: string; used: string }>(
    `select workspace, unit, sum(used) as used from quota_use where tenant = $1 and workspace = any($2) and unit = any($3) group by workspace, unit`,
    [tenant, workspaces, units],
  );
  return new Map(rows.map(({ workspace, unit, used }) => [`${workspace} ${unit}`, Number(used)]));
}

function exceeded(
  facts: { readonly quota: string; readonly unit: QuotaUnit; readonly limit: number; readonly used: number; readonly asked: number },
  spec: QuotaSpec,
  tenant: string,
): Problem {
  const whose = spec.workspace === undefined ? `tenant ${tenant}` : `workspace ${spec.workspace}`;
  const what = words[facts.unit];
  return new Problem(
    'exhausted',
    `${whose} may have ${facts.limit} ${what} (quota ${facts.quota}); it has ${facts.used}, and this asks for ${facts.asked} more: delete some, ask for less, or have the operator raise it`,
    { facts },
  );
}
