import { type Id, type InstanceSpec, instance, Problem } from '@virt8ra/contract';
import type { Queryable } from '@virt8ra/engine';
import type { Requirement } from '../../placement/placement.js';
import { parentRange } from '../../resources/parent-range.js';
import type { Store, StoreTransaction } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';

/**
 * Anti-affinity groups: instances of one workspace that name the same group never share a host, neither where they are, nor where they go, nor where
 * something of them has yet to be removed. It is so at every moment, since whatever gives one of them a host decides under the group's lock.
 */

export const antiAffinityMigrations: readonly { readonly name: string; readonly sql: string }[] = [
  {
    name: 'instance-0003-anti-affinity',
    sql: `
      create index resource_anti_affinity on resource (parent, (spec ->> 'antiAffinityGroup'))
        where kind = 'instance' and spec ->> 'antiAffinityGroup' is not null;`,
  },
];

type Member = Pick<StoredResource<InstanceSpec>, 'uid' | 'address' | 'spec'>;

const pointer = '/spec/antiAffinityGroup';

/** The group of an instance; the empty text is none. */
export function antiAffinityGroup({ antiAffinityGroup: group }: Pick<InstanceSpec, 'antiAffinityGroup'>): string | undefined {
  return group === undefined || group === '' ? undefined : group;
}

/** Its group, and by host the name of another instance of it there; undefined for one in no group. What it answers may change a moment later. */
export async function apartFrom(client: Queryable, member: Member): Promise<Requirement['apart']> {
  const group = antiAffinityGroup(member.spec);
  if (group === undefined) return undefined;
  const { rows } = await client.query<{ host: string; name: string }>(
    `select distinct on (realization.host) realization.host, other.name
       from resource as other
       join realization on realization.resource_uid = other.uid and realization.facet = 'instances' and realization.host is not null
      where other.kind = $1 and other.parent = $2 and other.spec ->> 'antiAffinityGroup' = $3 and other.uid <> $4
      order by realization.host, other.name`,
    [instance.kind, parentRange(instance, member.address).path, group, member.uid],
  );
  return { group, hosts: new Map(rows.map(({ host, name }) => [host, name])) };
}

/**
 * Holds the group's lock until the transaction ends and answers why an instance may not be on a host; undefined: it may, whatever others ask for
 * meanwhile. Taken after the instance's own row and before a host's claims.
 */
export async function sharesHost(tx: StoreTransaction, member: Member, host: string): Promise<string | undefined> {
  const group = antiAffinityGroup(member.spec);
  if (group === undefined) return undefined;
  const { path } = parentRange(instance, member.address);
  await tx.client.query(`select pg_advisory_xact_lock(hashtextextended('anti-affinity:' || $1 || ':' || $2, 0))`, [path, group]);
  const other = (await apartFrom(tx.client, member))?.hosts.get(host);
  return other === undefined ? undefined : `host ${host} has instance ${other} of anti-affinity group ${group}`;
}

/** Raises `unavailable` when another of its group came to the host since it was ranked, for another attempt. */
export async function assertApart(tx: StoreTransaction, member: Member, host: string): Promise<void> {
  const shared = await sharesHost(tx, member, host);
  if (shared !== undefined) throw new Problem('unavailable', `${shared} since a moment ago; looking for another`, { retryAfterSeconds: 1 });
}

/** Raises `conflict` when an instance that is somewhere is put into a group of which another is there. */
export async function admitAntiAffinity(tx: StoreTransaction, before: Member, next: InstanceSpec): Promise<void> {
  const group = antiAffinityGroup(next);
  if (group === antiAffinityGroup(before.spec)) return;
  await wakeGroup(tx, before);
  for (const { facet, host } of await tx.ledger.ofResource(before.uid)) {
    if (facet !== 'instances' || host === undefined) continue;
    const shared = await sharesHost(tx, { ...before, spec: next }, host);
    if (shared === undefined) continue;
    const message = `${shared}, where instance ${before.address.name} is, too; move one of them first: virt8ra migrate NAME --to SITE [--host HOST]`;
    throw new Problem('conflict', message, { sources: [{ pointer }] });
  }
}

/** Wakes those of its group that wait for a host, which it leaves. */
export async function wakeGroup(tx: Pick<StoreTransaction, 'client' | 'nudge'>, member: Member): Promise<void> {
  const group = antiAffinityGroup(member.spec);
  if (group === undefined) return;
  const { rows } = await tx.client.query<{ uid: Id<'resource'> }>(
    `select uid from resource as other
      where kind = $1 and parent = $2 and spec ->> 'antiAffinityGroup' = $3 and uid <> $4
        and not exists (select from realization where resource_uid = other.uid and facet = 'instances')`,
    [instance.kind, parentRange(instance, member.address).path, group, member.uid],
  );
  for (const { uid } of rows) await tx.nudge(instance.kind, uid);
}

/** As `apartFrom`, of whoever reads the store without a transaction. */
export async function readApart(store: Pick<Store, 'transaction'>, member: Member): Promise<Requirement['apart']> {
  if (antiAffinityGroup(member.spec) === undefined) return undefined;
  return await store.transaction(async (tx) => await apartFrom(tx.client, member));
}
