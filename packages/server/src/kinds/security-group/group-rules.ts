import {
  type Id,
  type SecurityGroupRuleSpec,
  type SecurityGroupSpec,
  type SubnetSpec,
  securityGroup,
  securityGroupRule,
  subnet,
} from '@virt8ra/contract';
import type { StoreTransaction } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import { type IpRange, networkPointer, rangeFromText, rangesOf } from '../network/index.js';
import { textOf } from './admit-rule.js';
import type { RulePeers } from './compile-rules.js';

/** A rule with those at its other end looked up, for one network; groups by uid. */
export interface GroupRule {
  readonly spec: SecurityGroupRuleSpec;
  readonly peers: RulePeers<Id<'resource'>> | undefined;
}

type Reader = Pick<StoreTransaction, 'client' | 'getManyByUid'>;

/** The rules of a group, its own before those it shares, as they hold in a network. */
export async function rulesOfGroup(
  reader: Reader,
  group: StoredResource<SecurityGroupSpec>,
  network: Pick<StoredResource, 'address'>,
): Promise<readonly GroupRule[]> {
  const shared = await sharedRules(reader, group.uid);
  const owners = [group, ...shared];
  const references = await referencesOf(
    reader,
    owners.map(({ uid }) => uid),
  );
  const targets = new Map((await reader.getManyByUid([...new Set(references.values())])).map((target) => [target.uid, target]));
  const read = (owner: StoredResource, spec: SecurityGroupRuleSpec, pointer: string): GroupRule => {
    const { sourceRef = [] } = spec;
    if (sourceRef.length === 0) return { spec, peers: undefined };
    const ranges: IpRange[] = [];
    const groups = new Set<Id<'resource'>>();
    for (const [index, given] of sourceRef.entries()) {
      const at = `${pointer}/sourceRef/${index}`;
      const range = rangeFromText(textOf(given), at);
      const targetUid = references.get(`${owner.uid} ${at}`);
      const target = targetUid === undefined ? undefined : targets.get(targetUid);
      if (range !== undefined) ranges.push(range);
      // A group that names itself keeps no reference to itself.
      else if (targetUid === undefined) groups.add(group.uid);
      else if (target?.kind === securityGroup.kind) groups.add(targetUid);
      else if (target?.kind === subnet.kind && isIn(target, network))
        ranges.push(...rangesOf((target.spec as SubnetSpec).cidr, '/spec/cidr'));
    }
    return { spec, peers: { ranges, groups: [...groups] } };
  };
  return [
    ...(group.spec.rules ?? []).map((spec, index) => read(group, spec, `/spec/rules/${index}`)),
    ...shared.map((rule) => read(rule, rule.spec, '/spec')),
  ];
}

/** In the order of `ruleRefs`. */
async function sharedRules(reader: Reader, groupUid: Id<'resource'>): Promise<readonly StoredResource<SecurityGroupRuleSpec>[]> {
  const { rows } = await reader.client.query<{ uid: Id<'resource'> }>(
    `select target_uid as uid from resource_reference where uid = $1 and pointer like '/spec/ruleRefs/%' order by length(pointer), pointer`,
    [groupUid],
  );
  const rules = await reader.getManyByUid<SecurityGroupRuleSpec>(rows.map(({ uid }) => uid));
  return rules.filter(({ kind }) => kind === securityGroupRule.kind);
}

/** Targets by owner and pointer. */
async function referencesOf(reader: Reader, owners: readonly Id<'resource'>[]): Promise<ReadonlyMap<string, Id<'resource'>>> {
  const { rows } = await reader.client.query<{ uid: string; pointer: string; target: Id<'resource'> }>(
    'select uid, pointer, target_uid as target from resource_reference where uid = any($1)',
    [owners],
  );
  return new Map(rows.map(({ uid, pointer, target }) => [`${uid} ${pointer}`, target]));
}

function isIn({ address }: StoredResource, network: Pick<StoredResource, 'address'>): boolean {
  const { tenant, workspace, name } = network.address;
  return address.tenant === tenant && address.workspace === workspace && address.network === name;
}

/** Addresses that the NICs of a group have in a network, wherever they are; those of instances that name the group included. In order. */
export async function membersOfGroup(
  { client }: Pick<StoreTransaction, 'client'>,
  groupUid: Id<'resource'>,
  networkUid: Id<'resource'>,
): Promise<readonly string[]> {
  const { rows } = await client.query<{ address: string }>(
    `with holder as (
       select uid, pointer from resource_reference
        where target_uid = $1 and (pointer = '/spec/securityGroupRef' or pointer like '/spec/securityGroupRefs/%')
     ), card as (
       select uid from holder where pointer like '/spec/securityGroupRefs/%'
       union
       select of_instance.target_uid from holder join resource_reference as of_instance on of_instance.uid = holder.uid
        where holder.pointer = '/spec/securityGroupRef'
     )
     select distinct member.address collate "C" as address
       from card
       join resource_reference as in_network on in_network.uid = card.uid and in_network.pointer = $3 and in_network.target_uid = $2
       join resource as nic on nic.uid = card.uid and nic.kind = 'nic'
       cross join lateral jsonb_array_elements_text(coalesce(nic.status -> 'addresses', '[]')) as member (address)
      order by 1`,
    [groupUid, networkUid, networkPointer],
  );
  return rows.map(({ address }) => address);
}
