import { type Static, Type } from 'typebox';
import { defineKind } from '../kind.js';
import { Cidr, oneOf, Reference, statusShape, Timestamp, Zone } from '../shape.js';

/** Whether two hosts that have a network are one segment of it, as measured. Hosts of one machine always are. */
export const NetworkReach = Type.Object({
  hosts: Type.Array(Type.String(), { minItems: 2, maxItems: 2 }),
  sites: Type.Array(Zone, { minItems: 2, maxItems: 2 }),
  state: oneOf(['reachable', 'unreachable', 'unknown']),
  /** Who measured, such as `agent/host-1`. */
  source: Type.String({ maxLength: 256 }),
  /** When it was seen; absent: never. */
  observedAt: Type.Optional(Timestamp),
  rttMs: Type.Optional(Type.Number()),
  /** Bytes that come through the tunnel whole. */
  mtu: Type.Optional(Type.Integer()),
  reason: Type.Optional(Type.String({ maxLength: 2048 })),
});
export type NetworkReach = Static<typeof NetworkReach>;
/** Pairs shown of one network; what is not reachable comes first. */
export const reachShown = 200;

/** SECA network: one address space for the whole region. It is made at a site when its first NIC arrives there. */
export const network = defineKind({
  kind: 'network',
  provider: 'seca.network',
  version: 'v1',
  collection: 'networks',
  scope: 'workspace',
  aliases: ['net'],
  immutable: ['/skuRef'],
  summary: 'an address space of one workspace, the same at every site',
  spec: Type.Object(
    { cidr: Cidr, additionalCidrs: Type.Optional(Type.Array(Cidr, { maxItems: 32 })), skuRef: Reference },
    { additionalProperties: false },
  ),
  status: statusShape({
    cidr: Cidr,
    additionalCidrs: Type.Optional(Type.Array(Cidr, { maxItems: 32 })),
    /** Every pair of hosts that have it; absent while there is no pair. */
    reach: Type.Optional(Type.Array(NetworkReach, { maxItems: reachShown })),
  }),
});
export type NetworkSpec = Static<typeof network.spec>;

/** SECA subnet: a part of a network's range that NICs take addresses from. `zone` is a hint; empty or absent means regional. */
export const subnet = defineKind({
  kind: 'subnet',
  provider: 'seca.network',
  version: 'v1',
  collection: 'subnets',
  scope: 'network',
  immutable: ['/cidr'],
  summary: 'a range of a network that NICs take addresses from',
  spec: Type.Object(
    {
      cidr: Cidr,
      routeTableRef: Type.Optional(Reference),
      skuRef: Type.Optional(Reference),
      zone: Type.Optional(Type.Union([Zone, Type.Literal('')])),
    },
    { additionalProperties: false },
  ),
  status: statusShape({
    cidr: Type.Optional(Cidr),
    routeTableRef: Type.Optional(Reference),
    /** Where its network answers in it: one address of each range. */
    gateways: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 39 }), { maxItems: 2 })),
  }),
});
export type SubnetSpec = Static<typeof subnet.spec>;

/** SECA NIC: an address and a MAC, kept for the NIC's life wherever its instance goes. `0.0.0.0` asks for any free address. */
export const nic = defineKind({
  kind: 'nic',
  provider: 'seca.network',
  version: 'v1',
  collection: 'nics',
  scope: 'workspace',
  immutable: ['/subnetRef', '/skuRef'],
  summary: 'an address and a MAC for an instance',
  spec: Type.Object(
    {
      addresses: Type.Array(Type.String({ minLength: 1, maxLength: 39 }), { minItems: 1, maxItems: 32 }),
      publicIpRefs: Type.Optional(Type.Array(Reference, { maxItems: 16 })),
      securityGroupRefs: Type.Optional(Type.Array(Reference, { maxItems: 16 })),
      skuRef: Type.Optional(Reference),
      subnetRef: Reference,
    },
    { additionalProperties: false },
  ),
  status: statusShape({
    addresses: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 39 }), { maxItems: 32 })),
    macAddress: Type.Optional(Type.String({ maxLength: 17 })),
    /** Those that lead to it where its instance is; a public IP of another site does not. */
    publicIpRefs: Type.Optional(Type.Array(Reference, { maxItems: 16 })),
    attachedTo: Type.Optional(Reference),
  }),
});
export type NicSpec = Static<typeof nic.spec>;
