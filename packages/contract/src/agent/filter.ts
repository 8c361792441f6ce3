import { type Static, Type } from 'typebox';
import { oneOf } from '../shape.js';

/**
 * Security groups as a host applies them. A NIC with a list of filters lets in and out what a rule of one of them allows, and the replies to
 * it; nothing else. Rules only allow: their order says nothing.
 */

export const FilterKey = Type.String({ minLength: 1, maxLength: 96, pattern: '^[a-z0-9][a-z0-9_.-]*$' });
const closed = { additionalProperties: false } as const;
const Port = Type.Integer({ minimum: 1, maximum: 65535 });

export const FilterRule = Type.Object(
  {
    /** `ingress`: to the guest; peers are sources. `egress`: from it; peers are destinations. */
    direction: Type.Union([Type.Literal('ingress'), Type.Literal('egress')]),
    /** Absent: both. */
    version: Type.Optional(Type.Union([Type.Literal('IPv4'), Type.Literal('IPv6')])),
    /** Absent: any. `icmp` is ICMPv6 where the version is 6. */
    protocol: Type.Optional(Type.Union([Type.Literal('tcp'), Type.Literal('udp'), Type.Literal('tcp+udp'), Type.Literal('icmp')])),
    /** Destination ports, both ends included; for tcp and udp only. Absent: any. */
    ports: Type.Optional(Type.Array(Type.Object({ from: Port, to: Port }, closed), { minItems: 1, maxItems: 100 })),
    /** For icmp only, by the numbers of its version. Absent: any. */
    icmp: Type.Optional(
      Type.Object(
        { type: Type.Integer({ minimum: 0, maximum: 255 }), code: Type.Optional(Type.Integer({ minimum: 0, maximum: 255 })) },
        closed,
      ),
    ),
    /** The other side: any of these ranges or members of any of these filters (of the same network). Absent: anybody. Both empty: nobody. */
    peers: Type.Optional(
      Type.Object(
        { cidrs: Type.Array(Type.String({ maxLength: 43 }), { maxItems: 256 }), filters: Type.Array(FilterKey, { maxItems: 32 }) },
        closed,
      ),
    ),
  },
  closed,
);
export type FilterRule = Static<typeof FilterRule>;

/** One security group as it stands in one network. The host needs it when a NIC of its own, or a rule of another filter, names it. */
export const DesiredFilter = Type.Object(
  {
    key: FilterKey,
    networkKey: FilterKey,
    rules: Type.Array(FilterRule, { maxItems: 1000 }),
    /** Addresses without a prefix length of all NICs of the network, on any host, that are in the group. */
    members: Type.Array(Type.String({ maxLength: 39 }), { maxItems: 16384 }),
  },
  closed,
);
export type DesiredFilter = Static<typeof DesiredFilter>;

export const ObservedFilter = Type.Object({
  key: Type.String(),
  /** `ready`: the kernel holds these rules and members for every NIC here that names the filter. */
  state: oneOf(['creating', 'ready', 'failed']),
  /** SHA-256 over `filterText` of what was desired when the kernel took it over. */
  digest: Type.Optional(Type.String()),
  /** NICs of this host that it holds for. */
  nics: Type.Optional(Type.Integer()),
  problem: Type.Optional(Type.Object({ code: Type.String({ maxLength: 64 }), message: Type.String({ maxLength: 4096 }) })),
});
export type ObservedFilter = Static<typeof ObservedFilter>;

/** The text whose digest an agent reports as applied: equal for equal rules and members, whatever their order in the message. */
export function filterText(filter: DesiredFilter): string {
  return JSON.stringify([filter.rules.map((rule) => JSON.stringify(rule)).sort(), [...filter.members].sort()]);
}
