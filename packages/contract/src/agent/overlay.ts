import { type Static, Type } from 'typebox';
import { oneOf } from '../shape.js';

/**
 * The overlay: one layer 2 for a network whose hosts are on several machines, as VXLAN inside WireGuard. One host of each machine carries it
 * for all that share its bridges. Its keys are made by the agents; only public ones are ever told.
 */

const closed = { additionalProperties: false } as const;

/** A WireGuard public key: Curve25519, base64. */
export const TunnelKey = Type.String({ pattern: '^[A-Za-z0-9+/]{43}=$' });
/** The end of a tunnel: an IPv6 address that only tunnels carry. */
const TunnelAddress = Type.String({ maxLength: 39, pattern: '^[0-9a-f:]+$' });
/** `address:port`, IPv6 in brackets; a name instead of an address is resolved by who uses it. */
const Endpoint = Type.String({ minLength: 3, maxLength: 262, pattern: '^(\\[[0-9a-f:]+\\]|[A-Za-z0-9.-]+):[0-9]{1,5}$' });
const HostName = Type.String({ minLength: 1, maxLength: 128 });
const Vni = Type.Integer({ minimum: 1, maximum: 16777215 });

/** What goes through every tunnel whole, in bytes of IPv6: 1500 less WireGuard over IPv6 (40 + 8 + 32). */
export const tunnelMtu = 1420;
/** What VXLAN puts around a guest's packet inside the tunnel: IPv6, UDP, VXLAN and the guest's Ethernet header. */
export const vxlanOverheadBytes = 70;
/** MTU of every network, overlay or not, so that a guest finds the same wherever it goes. */
export const networkMtu = tunnelMtu - vxlanOverheadBytes;

/** What a host can do and where it is found; part of its inventory. `reason` says why not, or why not better. */
export const OverlayFacts = Type.Object({
  mode: oneOf(['kernel', 'userspace', 'none']),
  reason: Type.String({ maxLength: 1024 }),
  /** Equal on hosts that share bridges: agents of one machine and network namespace. */
  segment: Type.String({ minLength: 1, maxLength: 64 }),
  publicKey: Type.Optional(TunnelKey),
  /** Replaces `publicKey` as soon as every peer has taken it. */
  nextPublicKey: Type.Optional(TunnelKey),
  /** Where peers may try to reach it, best first. */
  endpoints: Type.Array(Endpoint, { maxItems: 16 }),
  /** The newest order to change the key that was carried out. */
  rotation: Type.Integer({ minimum: 0 }),
});
export type OverlayFacts = Static<typeof OverlayFacts>;

export const OverlayPeer = Type.Object(
  {
    host: HostName,
    address: TunnelAddress,
    /** While a key is being changed both are valid. */
    publicKeys: Type.Array(TunnelKey, { minItems: 1, maxItems: 2 }),
    endpoints: Type.Array(Endpoint, { maxItems: 16 }),
  },
  closed,
);
export type OverlayPeer = Static<typeof OverlayPeer>;

/** What a carrier makes true: tunnels to exactly these peers, and these networks through them. */
export const DesiredOverlay = Type.Object(
  {
    address: TunnelAddress,
    peers: Type.Array(OverlayPeer, { maxItems: 4096 }),
    /** `peers`: where the network has hosts, by tunnel address. */
    networks: Type.Array(
      Type.Object({ vni: Vni, mtu: Type.Integer({ minimum: 1280, maximum: 9000 }), peers: Type.Array(TunnelAddress) }, closed),
    ),
    /** Grows when the agent is to make itself a new key. */
    rotation: Type.Integer({ minimum: 0 }),
    /** Every peer has taken this key: the agent may change to it. */
    acceptedKey: Type.Optional(TunnelKey),
  },
  closed,
);
export type DesiredOverlay = Static<typeof DesiredOverlay>;

/** `trying`: not asked for long enough to say. */
export const tunnelStates = ['trying', 'reachable', 'unreachable'] as const;

/** What a carrier measured. A peer is reachable when its machine answered through the tunnel at the last look. */
export const OverlayReport = Type.Object({
  peers: Type.Array(
    Type.Object({
      host: HostName,
      state: oneOf(tunnelStates),
      since: Type.String({ maxLength: 40 }),
      /** When it answered last. */
      answeredAt: Type.Optional(Type.String({ maxLength: 40 })),
      /** When keys were agreed last. */
      handshakeAt: Type.Optional(Type.String({ maxLength: 40 })),
      rttMs: Type.Optional(Type.Number({ minimum: 0 })),
      /** Bytes of IPv6 that came through whole. */
      mtu: Type.Optional(Type.Integer({ minimum: 0 })),
      /** Keys of the peer that are configured. */
      publicKeys: Type.Array(TunnelKey, { maxItems: 2 }),
      reason: Type.Optional(Type.String({ maxLength: 1024 })),
    }),
    { maxItems: 4096 },
  ),
  /** Networks that could not be joined to the tunnels, and why; all others are. */
  failed: Type.Array(Type.Object({ vni: Vni, reason: Type.String({ maxLength: 1024 }) }), { maxItems: 4096 }),
  /** What is wrong with all of it. */
  problem: Type.Optional(Type.String({ maxLength: 4096 })),
});
export type OverlayReport = Static<typeof OverlayReport>;
export type TunnelReport = OverlayReport['peers'][number];
