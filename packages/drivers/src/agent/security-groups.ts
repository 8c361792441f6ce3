import { createHash } from 'node:crypto';
import { type DesiredFilter, filterText } from '@virt8ra/contract';
import type { FilterRule, SecurityGroupRealizationSpec, SecurityGroupRealizationStatus, SecurityGroupsFacet } from '@virt8ra/driver';
import { troubleOf } from './networks.js';
import { assertSame, createObjectFacet, keyOnHost, type ObjectTranslation, type SiteFleet } from './object-facet.js';

const translation: ObjectTranslation<'filter', SecurityGroupRealizationSpec, SecurityGroupRealizationStatus> = {
  type: 'filter',
  toDesired: ({ network, rules, members }, { key, host }) => ({
    key,
    networkKey: keyOnHost(network, 'network', host),
    rules: rules.map((rule) => ruleFrom(rule, key, host)),
    members: [...members],
  }),
  assertChangeable: (from, to) => assertSame('a security group', from, to, ['networkKey']),
  awaited: () => ({ state: 'creating' }),
  read: ({ state, digest, problem }, desired) => ({
    status: { state },
    // The kernel of the host may still hold what was asked before.
    changing: state === 'creating' || (digest !== undefined && desired !== undefined && digest !== digestOf(desired)),
    ...troubleOf(state === 'failed', problem),
  }),
};

export function createSecurityGroupsFacet(site: SiteFleet): SecurityGroupsFacet {
  return createObjectFacet(site, translation);
}

function ruleFrom(
  { direction, version, protocol, ports, icmp, peers }: FilterRule,
  key: string,
  host: string,
): DesiredFilter['rules'][number] {
  return {
    direction,
    ...(version === undefined ? {} : { version }),
    ...(protocol === undefined ? {} : { protocol }),
    ...(ports === undefined ? {} : { ports: ports.map(({ from, to }) => ({ from, to })) }),
    ...(icmp === undefined ? {} : { icmp: { type: icmp.type, code: icmp.code } }),
    ...(peers === undefined
      ? {}
      : {
          peers: {
            cidrs: [...peers.ranges],
            filters: peers.groups.map((group) => (group === 'self' ? key : keyOnHost(group, 'filter', host))),
          },
        }),
  };
}

function digestOf(desired: DesiredFilter): string {
  return createHash('sha256').update(filterText(desired)).digest('hex');
}
