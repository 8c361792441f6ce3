import type { SecurityGroupRuleSpec } from '@virt8ra/contract';
import type { FilterRule } from '@virt8ra/driver';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type IpRange, parseAddress, rangeFromText } from '../network/index.js';
import { compileRule, type RulePeers } from './compile-rules.js';

interface Packet {
  readonly direction: 'ingress' | 'egress';
  readonly protocol: 'tcp' | 'udp' | 'icmp' | 'other';
  readonly port: number;
  readonly icmp: { readonly type: number; readonly code: number };
  readonly peer: string;
}

const peers = ['10.0.0.1', '10.0.0.2', '10.0.9.9', 'fd00::1', 'fd00::2'] as const;
const ranges = ['10.0.0.1', '10.0.0.0/31', '10.0.0.0/24', 'fd00::/127', 'fd00::2', '0.0.0.0/0'].flatMap(
  (text) => rangeFromText(text, '') ?? [],
);
/** Members of groups, by name. */
const members: Readonly<Record<string, readonly string[]>> = { self: ['10.0.0.2'], web: ['10.0.9.9', 'fd00::2'], empty: [] };

const port = fc.integer({ min: 1, max: 6 });
/** What admission lets through. */
const rule = fc
  .record({
    direction: fc.constantFrom('ingress' as const, 'egress' as const),
    version: fc.option(fc.constantFrom('IPv4' as const, 'IPv6' as const), { nil: undefined }),
    protocol: fc.option(fc.constantFrom('tcp' as const, 'udp' as const, 'tcp+udp' as const, 'icmp' as const), { nil: undefined }),
    range: fc.option(fc.tuple(port, port), { nil: undefined }),
    list: fc.option(fc.array(port, { minLength: 1, maxLength: 4 }), { nil: undefined }),
    icmp: fc.option(fc.record({ type: fc.integer({ min: 0, max: 2 }), code: fc.integer({ min: 0, max: 1 }) }), { nil: undefined }),
  })
  .map(({ direction, version, protocol, range, list, icmp }): SecurityGroupRuleSpec => {
    const ported = protocol !== undefined && protocol !== 'icmp' && (range !== undefined || list !== undefined);
    return {
      direction,
      ...(version === undefined ? {} : { version }),
      ...(protocol === undefined ? {} : { protocol }),
      ...(ported
        ? {
            ports: {
              ...(range === undefined ? {} : { from: Math.min(...range), to: Math.max(...range) }),
              ...(list === undefined ? {} : { list }),
            },
          }
        : {}),
      ...(protocol === 'icmp' && icmp !== undefined && version !== 'IPv6' ? { icmp } : {}),
    };
  });
const others = fc.option(fc.record({ ranges: fc.subarray([...ranges]), groups: fc.subarray(['self', 'web', 'empty']) }), {
  nil: undefined,
});
const packet: fc.Arbitrary<Packet> = fc.record({
  direction: fc.constantFrom('ingress' as const, 'egress' as const),
  protocol: fc.constantFrom('tcp' as const, 'udp' as const, 'icmp' as const, 'other' as const),
  port,
  icmp: fc.record({ type: fc.integer({ min: 0, max: 2 }), code: fc.integer({ min: 0, max: 1 }) }),
  peer: fc.constantFrom(...peers),
});

/** What SECA's words say. */
function allowedBySpec(
  spec: SecurityGroupRuleSpec,
  who: RulePeers<string> | undefined,
  { direction, protocol, ...given }: Packet,
): boolean {
  const family = parseAddress(given.peer)?.family;
  if (spec.direction !== direction) return false;
  if (spec.version !== undefined && spec.version !== `IPv${family}`) return false;
  if (spec.protocol !== undefined && !spec.protocol.split('+').includes(protocol)) return false;
  if (spec.ports !== undefined) {
    const { from = 0, to = -1, list = [] } = spec.ports;
    if (!((from <= given.port && given.port <= to) || list.includes(given.port))) return false;
  }
  if (spec.icmp !== undefined && (family === 6 || spec.icmp.type !== given.icmp.type || spec.icmp.code !== given.icmp.code)) return false;
  return who === undefined || isAmong(given.peer, who);
}

function isAmong(
  text: string,
  { ranges: in_, groups }: { readonly ranges: readonly IpRange[]; readonly groups: readonly string[] },
): boolean {
  const address = parseAddress(text);
  return (
    in_.some((range) => range.family === address?.family && range.first <= address.value && address.value <= range.last) ||
    groups.some((group) => members[group]?.includes(text))
  );
}

/** What a host does with the rule, by the words of the driver's interface. */
function passes(filter: FilterRule, { direction, protocol, ...given }: Packet): boolean {
  const family = parseAddress(given.peer)?.family;
  if (filter.direction !== direction) return false;
  if (filter.version !== undefined && filter.version !== `IPv${family}`) return false;
  if (filter.protocol !== undefined && !filter.protocol.split('+').includes(protocol)) return false;
  if (filter.ports !== undefined && !filter.ports.some(({ from, to }) => from <= given.port && given.port <= to)) return false;
  if (filter.icmp !== undefined && (filter.icmp.type !== given.icmp.type || filter.icmp.code !== given.icmp.code)) return false;
  if (filter.peers === undefined) return true;
  const parsed = filter.peers.ranges.flatMap((text) => rangeFromText(text, '') ?? []);
  const named = filter.peers.groups.map((group) => (group === 'self' ? 'self' : group.value));
  return isAmong(given.peer, { ranges: parsed, groups: named });
}

describe('a rule for a host', () => {
  it('lets through exactly what the words of the rule allow', () => {
    fc.assert(
      fc.property(rule, others, fc.array(packet, { minLength: 1, maxLength: 12 }), (spec, who, packets) => {
        const compiled = compileRule(
          spec,
          who === undefined
            ? undefined
            : {
                ranges: who.ranges,
                groups: who.groups.map((name) => (name === 'self' ? 'self' : { driver: 'd', version: 1, value: name })),
              },
        );
        for (const each of packets) {
          expect(compiled.some((filter) => passes(filter, each))).toBe(allowedBySpec(spec, who, each));
        }
        for (const { ports = [], peers: named } of compiled) {
          for (const [index, { from }] of ports.entries()) expect(from).toBeGreaterThan((ports[index - 1]?.to ?? -1) + 1);
          // A host takes both empty for nobody; it is never to be taken for anybody.
          if (named !== undefined) expect(named.ranges.length + named.groups.length).toBeGreaterThan(0);
        }
      }),
      { seed: fc.readConfigureGlobal().seed ?? 5, numRuns: 1000 },
    );
  });
});
