import type { Id } from '@virt8ra/contract';
import type { Queryable } from '@virt8ra/engine';
import { networkPointer } from '../network/index.js';

/** A network on a host, which is where a group is made. */
export interface GroupPlace {
  readonly site: string;
  readonly host: string;
  readonly network: Id<'resource'>;
}

/**
 * What a group is needed for at a place: `nics` of instances realized there name it, or only rules of such groups do (`peers`), so that its
 * members must be known there and its own rules need not.
 */
export async function useOfGroup(client: Queryable, groupUid: Id<'resource'>, place: GroupPlace): Promise<'nics' | 'peers' | undefined> {
  const { rows } = await client.query<{ uid: string }>(
    `with naming as (
       select $1::text as uid
       union
       select uid from resource_reference where target_uid = $1 and pointer like '/spec/rules/%'
       union
       select of_group.uid
         from resource_reference as of_rule
         join resource_reference as of_group on of_group.target_uid = of_rule.uid and of_group.pointer like '/spec/ruleRefs/%'
        where of_rule.target_uid = $1 and of_rule.pointer like '/spec/sourceRef/%'
     ), here as (
       select realization.resource_uid, realization.facts, in_network.uid as nic
         from realization
         join resource_reference as of_instance on of_instance.uid = realization.resource_uid
         join resource_reference as in_network
           on in_network.uid = of_instance.target_uid and in_network.pointer = $5 and in_network.target_uid = $2
        where realization.site = $3 and realization.host = $4 and realization.facet = 'instances'
     )
     select naming.uid from naming
      where exists (
        select 1 from here join resource_reference as of_group on of_group.target_uid = naming.uid
         where (of_group.uid = here.nic and of_group.pointer like '/spec/securityGroupRefs/%')
            or (of_group.uid = here.resource_uid and of_group.pointer = '/spec/securityGroupRef'))
         -- A NIC that has left the group may still be told of it.
         or exists (select 1 from here where here.facts -> 'securityGroups' ? naming.uid)`,
    [groupUid, place.network, place.site, place.host, networkPointer],
  );
  if (rows.length === 0) return undefined;
  return rows.some(({ uid }) => uid === groupUid) ? 'nics' : 'peers';
}
