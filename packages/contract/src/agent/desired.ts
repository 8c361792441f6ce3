import { type Static, Type } from 'typebox';
import { DesiredFilter } from './filter.js';
import { DesiredInstance } from './instance.js';
import { HostObjectKey as Key } from './object-key.js';
import { DesiredOverlay } from './overlay.js';
import { DesiredAgentRelease } from './release.js';
import { DesiredTransfer } from './transfer.js';

/**
 * The whole desired state of one host. The agent writes it to its ledger, converges, and goes on by itself while cut off.
 * Keys come from the control plane's ledger of realizations (resource id + generation) and never from names.
 * What is absent here is removed from the host, except disks of an unfinished transfer.
 */

const closed = { additionalProperties: false } as const;
const Mac = Type.String({ pattern: '^[0-9a-f]{2}(:[0-9a-f]{2}){5}$' });

/** Where what a subnet sends to a range goes. */
export const NetworkRoute = Type.Object(
  {
    /** Subnet that the packet comes from, CIDR notation. */
    source: Type.String({ maxLength: 43 }),
    /** CIDR notation; `0.0.0.0/0` and `::/0` are everything. */
    destination: Type.String({ maxLength: 43 }),
    /** `internet`: out through the host, translated to its address (or to the NIC's public one). `address`: to a NIC of the network. */
    via: Type.Union([
      Type.Object({ type: Type.Literal('internet') }, closed),
      Type.Object({ type: Type.Literal('address'), address: Type.String({ maxLength: 39 }) }, closed),
    ]),
  },
  closed,
);
export type NetworkRoute = Static<typeof NetworkRoute>;

export const DesiredNetwork = Type.Object(
  {
    key: Key,
    /** VXLAN identifier, unique in the region. */
    vni: Type.Integer({ minimum: 1, maximum: 16777215 }),
    mtu: Type.Integer({ minimum: 1280, maximum: 9000 }),
    /** Addresses of the host's own side of the bridge (the guests' gateway), CIDR notation. */
    gateways: Type.Array(Type.String({ maxLength: 43 }), { maxItems: 64 }),
    /**
     * What may leave the network, by the subnet it comes from; the longest matching destination counts. Absent or empty: nothing leaves.
     * Needs agent feature `routes`.
     */
    routes: Type.Optional(Type.Array(NetworkRoute, { maxItems: 1000 })),
    /**
     * Which MAC has which address, of all NICs of the network on any host: the gateway sends there what comes from another subnet. Needs agent
     * feature `neighbours`.
     */
    neighbours: Type.Optional(Type.Array(Type.Object({ address: Type.String({ maxLength: 39 }), mac: Mac }, closed), { maxItems: 32768 })),
    /** Answers DHCP and DHCPv6 to the NICs of this host, with the addresses desired of them. Needs agent feature `dhcp`. */
    dhcp: Type.Optional(Type.Boolean()),
    /** Resolves names at the gateways' addresses. Needs agent feature `dns`. */
    dns: Type.Optional(
      Type.Object(
        {
          /** Suffix of the names below; such as `net1.internal`. */
          domain: Type.String({ minLength: 1, maxLength: 253, pattern: '^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$' }),
          /** Where other names are asked for; empty: at the host's own resolvers. Only where a route to the internet lets questions out. */
          upstreams: Type.Array(Type.String({ maxLength: 39 }), { maxItems: 8 }),
          /** Every name of the network, on any host. */
          hosts: Type.Array(
            Type.Object(
              {
                name: Type.String({ minLength: 1, maxLength: 63, pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$' }),
                addresses: Type.Array(Type.String({ maxLength: 39 }), { minItems: 1, maxItems: 32 }),
              },
              closed,
            ),
            { maxItems: 16384 },
          ),
        },
        closed,
      ),
    ),
  },
  closed,
);
export type DesiredNetwork = Static<typeof DesiredNetwork>;

export const VolumeSource = Type.Union([
  Type.Object({ type: Type.Literal('blank') }, closed),
  /** Fetched once per host from the control plane's artifact store by content address. */
  Type.Object(
    {
      type: Type.Literal('image'),
      sha256: Type.String({ pattern: '^[0-9a-f]{64}$' }),
      bytes: Type.Integer({ minimum: 1 }),
      format: Type.Union([Type.Literal('qcow2'), Type.Literal('raw')]),
    },
    closed,
  ),
  /** Filled by the transfer of that id. */
  Type.Object({ type: Type.Literal('incoming'), transferId: Key }, closed),
]);
export type VolumeSource = Static<typeof VolumeSource>;

/** What a guest may ask of a disk in a second; more is allowed for a short while after a rest. Absent: as much as there is. */
export const VolumeLimits = Type.Object(
  {
    iops: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000_000 })),
    bytesPerSecond: Type.Optional(Type.Integer({ minimum: 65_536, maximum: 1_000_000_000_000 })),
  },
  closed,
);
export type VolumeLimits = Static<typeof VolumeLimits>;

export const DesiredVolume = Type.Object(
  {
    key: Key,
    sizeBytes: Type.Integer({ minimum: 1 }),
    source: VolumeSource,
    /** Incoming volumes boot on an overlay above the frozen arrived image; true merges the overlay into it and keeps one file. */
    settle: Type.Boolean(),
    /** Set: read the frozen image once and report its root digest under this request name. */
    digestRequest: Type.Optional(Type.String({ maxLength: 96 })),
    /** Only for agents that said `limits` among their features. */
    limits: Type.Optional(VolumeLimits),
  },
  closed,
);
export type DesiredVolume = Static<typeof DesiredVolume>;

/**
 * The content of volumes at one point in time, copied and sent to the control plane's artifact store. The volumes are those of one guest, or of
 * none. What is absent again is forgotten, and what it left in a guest is taken away.
 */
export const DesiredBackup = Type.Object(
  {
    key: Key,
    volumes: Type.Array(Type.Object({ volumeKey: Key }, closed), { minItems: 1, maxItems: 65 }),
  },
  closed,
);
export type DesiredBackup = Static<typeof DesiredBackup>;

/**
 * A point in time of volumes, kept in the volumes themselves and no longer than they. The volumes are those of one guest, or of none. What is absent
 * again is forgotten.
 */
export const DesiredSnapshot = Type.Object(
  {
    key: Key,
    volumes: Type.Array(Type.Object({ volumeKey: Key }, closed), { minItems: 1, maxItems: 65 }),
    /** How often the volumes shall have become what they were; no guest has them while they do. */
    reverts: Type.Optional(Type.Integer({ minimum: 0 })),
  },
  closed,
);
export type DesiredSnapshot = Static<typeof DesiredSnapshot>;

export const DesiredState = Type.Object(
  {
    /** Grows with every change; an agent never goes back to a smaller one of the same epoch. */
    generation: Type.Integer({ minimum: 0 }),
    networks: Type.Array(DesiredNetwork),
    volumes: Type.Array(DesiredVolume),
    instances: Type.Array(DesiredInstance),
    transfers: Type.Array(DesiredTransfer),
    /** Start no guest; what runs goes on. Sent only to agents with the feature `maintenance`. */
    maintenance: Type.Optional(Type.Boolean()),
    /** Only for agents with feature `filters`. */
    filters: Type.Optional(Type.Array(DesiredFilter)),
    /** Only for agents that said `backup` among their features. */
    backups: Type.Optional(Type.Array(DesiredBackup)),
    /** Only for agents that said `snapshot` among their features. */
    snapshots: Type.Optional(Type.Array(DesiredSnapshot)),
    /** Present on the host that carries the overlay for its machine; without it there are no tunnels. */
    overlay: Type.Optional(DesiredOverlay),
    /** The newest order to run a release of the agent; it stays here when it has been carried out. */
    agentRelease: Type.Optional(DesiredAgentRelease),
  },
  closed,
);
export type DesiredState = Static<typeof DesiredState>;

/** The kinds of object on a host, each with its key. */
export const hostObjectTypes = ['network', 'volume', 'instance', 'transfer', 'filter', 'backup', 'snapshot'] as const;
export type HostObjectType = (typeof hostObjectTypes)[number];
