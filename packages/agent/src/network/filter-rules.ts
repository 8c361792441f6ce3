import { createHash } from 'node:crypto';
import { type DesiredFilter, type FilterRule, Problem } from '@virt8ra/contract';
import { addressOf, ofVersion, rangeOf, type Version, versionOf } from './address.js';

/** A NIC as its filters see it: the addresses they hold for, and their keys. */
export interface FilteredNic {
  readonly addresses: readonly string[];
  readonly filters: readonly string[];
}

/** What must pass for IPv6 to work at all. */
export const neighbourTypes = '{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, nd-router-advert, 130, 131, 132, 143 }';

/**
 * The security groups of a network's NICs as parts of an nft table of family inet: sets of members, one pair of chains for each combination of
 * groups, and maps from addresses to chains. A chain returns what it allows and drops the rest, so that both ends of a packet are asked.
 * A filter that is named and not there allows nothing.
 */
export function filterRules(
  nics: readonly FilteredNic[],
  filters: readonly DesiredFilter[],
): { readonly parts: string; readonly rules: string } {
  const known = new Map(filters.map((filter) => [filter.key, filter]));
  const combinations = new Map<string, readonly DesiredFilter[]>();
  const sets = new Map<string, readonly string[]>();
  const maps = { from4: [] as string[], from6: [] as string[], to4: [] as string[], to6: [] as string[] };
  for (const nic of nics) {
    const own = [...new Set(nic.filters)]
      .sort()
      .map((key) => known.get(key))
      .filter((filter) => filter !== undefined);
    const name = shortName(own.map(({ key }) => key).join('\n'));
    combinations.set(name, own);
    for (const version of [4, 6] as const) {
      for (const address of ofVersion(nic.addresses, version)) {
        maps[`from${version}`].push(`${address} : jump from_${name}`);
        maps[`to${version}`].push(`${address} : jump to_${name}`);
      }
    }
  }
  const chains = [...combinations].map(([name, own]) => {
    const lines = (direction: FilterRule['direction']) =>
      own.flatMap(({ rules }) => rules.filter((rule) => rule.direction === direction).flatMap((rule) => linesOf(rule, known, sets)));
    return [
      `  chain from_${name} {\n    ct state invalid drop\n${lines('egress').join('')}    drop\n  }\n`,
      `  chain to_${name} {\n    ct state invalid drop\n${lines('ingress').join('')}    drop\n  }\n`,
    ].join('');
  });
  const setTexts = [...sets].flatMap(([key, members]) =>
    ([4, 6] as const).map((version) => setText(memberSet(key, version), version, ofVersion(members, version))),
  );
  const mapTexts = Object.entries(maps).map(([name, entries]) => {
    const elements = entries.length === 0 ? '' : ` elements = { ${[...new Set(entries)].sort().join(', ')} }`;
    return `  map ${name} { type ipv${name.slice(-1)}_addr : verdict;${elements}\n  }\n`;
  });
  return {
    parts: [...setTexts, ...chains, ...mapTexts].join(''),
    rules: ['ip saddr vmap @from4', 'ip6 saddr vmap @from6', 'ip daddr vmap @to4', 'ip6 daddr vmap @to6']
      .map((line) => `    ${line}\n`)
      .join(''),
  };
}

function setText(name: string, version: Version, members: readonly string[]): string {
  const elements = members.length === 0 ? '' : ` elements = { ${members.join(', ')} }`;
  return `  set ${name} { type ipv${version}_addr;${elements}\n  }\n`;
}

function memberSet(filterKey: string, version: Version): string {
  return `members${version}_${shortName(filterKey)}`;
}

function shortName(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 12);
}

function linesOf(rule: FilterRule, known: ReadonlyMap<string, DesiredFilter>, sets: Map<string, readonly string[]>): string[] {
  const versions: readonly Version[] = rule.version === undefined ? [4, 6] : rule.version === 'IPv4' ? [4] : [6];
  return versions.flatMap((version) =>
    peersOf(rule, version, known, sets).map((peer) => `    ${peer}${protocolMatch(rule, version)}return\n`),
  );
}

function peersOf(
  { direction, peers }: FilterRule,
  version: Version,
  known: ReadonlyMap<string, DesiredFilter>,
  sets: Map<string, readonly string[]>,
): string[] {
  const family = version === 4 ? 'ip' : 'ip6';
  const side = direction === 'ingress' ? 'saddr' : 'daddr';
  const anybody = `meta nfproto ipv${version} `;
  if (peers === undefined) return [anybody];
  const ranges = peers.cidrs
    .filter((cidr) => versionOf(cidr) === version)
    .map((cidr) => {
      const { bits } = rangeOf(cidr);
      return bits === 0 ? anybody : `${family} ${side} ${addressOf(cidr)}/${bits} `;
    });
  const members = peers.filters.map((key) => {
    sets.set(key, known.get(key)?.members ?? []);
    return `${family} ${side} @${memberSet(key, version)} `;
  });
  return [...new Set([...ranges, ...members])];
}

function protocolMatch({ protocol, ports, icmp }: FilterRule, version: Version): string {
  if (protocol === undefined) return '';
  switch (protocol) {
    case 'tcp':
    case 'udp':
      return ports === undefined ? `meta l4proto ${protocol} ` : `${protocol} dport { ${mergedPorts(ports)} } `;
    case 'tcp+udp':
      return `meta l4proto { tcp, udp } ${ports === undefined ? '' : `th dport { ${mergedPorts(ports)} } `}`;
    case 'icmp': {
      const name = version === 4 ? 'icmp' : 'icmpv6';
      if (icmp === undefined) return `meta l4proto ${name} `;
      return `${name} type ${icmp.type} ${icmp.code === undefined ? '' : `${name} code ${icmp.code} `}`;
    }
  }
}

/** Ranges that overlap or touch as one: nft refuses overlapping ones. */
function mergedPorts(ports: readonly { readonly from: number; readonly to: number }[]): string {
  const merged: { from: number; to: number }[] = [];
  for (const { from, to } of [...ports].sort((left, right) => left.from - right.from)) {
    if (from > to) throw new Problem('validation', `ports ${from}-${to} are no range`);
    const last = merged.at(-1);
    if (last !== undefined && from <= last.to + 1) last.to = Math.max(last.to, to);
    else merged.push({ from, to });
  }
  return merged.map(({ from, to }) => (from === to ? String(from) : `${from}-${to}`)).join(', ');
}
