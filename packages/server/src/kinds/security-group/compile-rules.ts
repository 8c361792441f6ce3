import type { SecurityGroupRuleSpec } from '@virt8ra/contract';
import type { FilterRule } from '@virt8ra/driver';
import { type IpRange, mergedTexts } from '../network/index.js';

/** Who is at the other end of a rule, looked up. */
export interface RulePeers<Group> {
  readonly ranges: readonly IpRange[];
  readonly groups: readonly Group[];
}

/**
 * What a site is asked to let pass for one rule. `peers` is undefined where the rule names nobody, so that anybody is meant; a rule that names
 * somebody and finds nobody lets nothing pass and is left out.
 */
export function compileRule(
  spec: SecurityGroupRuleSpec,
  peers: RulePeers<NonNullable<FilterRule['peers']>['groups'][number]> | undefined,
): readonly FilterRule[] {
  const { direction, protocol, icmp } = spec;
  // SECA numbers the types of ICMP as IPv4 does.
  const version = spec.version ?? (icmp === undefined ? undefined : 'IPv4');
  const ports = mergedPorts(spec.ports);
  const ranges = mergedTexts((peers?.ranges ?? []).filter(({ family }) => version === undefined || version === `IPv${family}`));
  const groups = peers?.groups ?? [];
  if (peers !== undefined && ranges.length === 0 && groups.length === 0) return [];
  return [
    {
      direction,
      ...(version === undefined ? {} : { version }),
      ...(protocol === undefined ? {} : { protocol }),
      ...(ports === undefined ? {} : { ports }),
      ...(icmp === undefined ? {} : { icmp: { type: icmp.type, code: icmp.code } }),
      ...(peers === undefined ? {} : { peers: { ranges, groups } }),
    },
  ];
}

/** In order and apart. */
export function mergedPorts(ports: SecurityGroupRuleSpec['ports']): FilterRule['ports'] {
  if (ports === undefined) return undefined;
  const { from, to, list = [] } = ports;
  const all = [...(from === undefined || to === undefined ? [] : [{ from, to }]), ...list.map((port) => ({ from: port, to: port }))];
  const merged: { from: number; to: number }[] = [];
  for (const range of all.toSorted((one, other) => one.from - other.from)) {
    const before = merged.at(-1);
    if (before !== undefined && range.from <= before.to + 1) before.to = Math.max(before.to, range.to);
    else merged.push({ ...range });
  }
  return merged;
}
