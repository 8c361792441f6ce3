import { type Static, Type } from 'typebox';
import { Permit } from './permit.js';

/**
 * The whole desired state of one host. The agent writes it to its ledger, converges, and goes on by itself while cut off.
 * Keys come from the control plane's ledger of realizations (resource id + generation) and never from names.
 * What is absent here is removed from the host, except disks of an unfinished transfer.
 */

const Key = Type.String({ minLength: 1, maxLength: 96, pattern: '^[a-z0-9][a-z0-9_.-]*$' });
const closed = { additionalProperties: false } as const;

export const DesiredNetwork = Type.Object(
  {
    key: Key,
    /** VXLAN identifier, unique in the region. */
    vni: Type.Integer({ minimum: 1, maximum: 16777215 }),
    mtu: Type.Integer({ minimum: 1280, maximum: 9000 }),
    /** Addresses of the host's own side of the bridge (the guests' gateway), CIDR notation. */
    gateways: Type.Array(Type.String({ maxLength: 43 }), { maxItems: 64 }),
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

export const DesiredVolume = Type.Object(
  {
    key: Key,
    sizeBytes: Type.Integer({ minimum: 1 }),
    source: VolumeSource,
    /** Incoming volumes boot on an overlay above the frozen arrived image; true merges the overlay into it and keeps one file. */
    settle: Type.Boolean(),
    /** Set: read the frozen image once and report its root digest under this request name. */
    digestRequest: Type.Optional(Type.String({ maxLength: 96 })),
  },
  closed,
);
export type DesiredVolume = Static<typeof DesiredVolume>;

export const DesiredNic = Type.Object(
  {
    key: Key,
    networkKey: Key,
    mac: Type.String({ pattern: '^[0-9a-f]{2}(:[0-9a-f]{2}){5}$' }),
    /** CIDR notation, such as 10.1.0.5/24. */
    addresses: Type.Array(Type.String({ maxLength: 43 }), { maxItems: 32 }),
    gateway4: Type.Optional(Type.String({ maxLength: 15 })),
    gateway6: Type.Optional(Type.String({ maxLength: 39 })),
    nameservers: Type.Array(Type.String({ maxLength: 39 }), { maxItems: 8 }),
  },
  closed,
);
export type DesiredNic = Static<typeof DesiredNic>;

export const DesiredInstance = Type.Object(
  {
    key: Key,
    /** Resource id: what permits are bound to, the same at every site. */
    instance: Type.String({ maxLength: 64 }),
    /** For logs and the guest's hostname. */
    name: Type.String({ maxLength: 128 }),
    architecture: Type.Union([Type.Literal('amd64'), Type.Literal('arm64')]),
    firmware: Type.Union([Type.Literal('BIOS'), Type.Literal('UEFI')]),
    vCPU: Type.Integer({ minimum: 1, maximum: 60 }),
    memoryMiB: Type.Integer({ minimum: 64 }),
    /** Versioned machine type and named CPU model of the first start; absent before it. */
    machine: Type.Optional(Type.String({ maxLength: 64 })),
    cpuModel: Type.Optional(Type.String({ maxLength: 64 })),
    power: Type.Union([Type.Literal('on'), Type.Literal('off')]),
    /** The guest is restarted once each time this grows. */
    restarts: Type.Integer({ minimum: 0 }),
    /** Boot volume first. */
    volumeKeys: Type.Array(Key, { minItems: 1, maxItems: 65 }),
    nics: Type.Array(DesiredNic, { maxItems: 17 }),
    seed: Type.Object(
      {
        /** cloud-init instance-id: kept for life, so that a move re-runs nothing. */
        instanceId: Type.String({ maxLength: 64 }),
        hostname: Type.String({ maxLength: 128 }),
        userData: Type.Optional(Type.String({ maxLength: 65536 })),
        sshKeys: Type.Array(Type.String({ maxLength: 4096 }), { maxItems: 32 }),
      },
      closed,
    ),
    /** Guest TCP ports to make reachable through the host where there is no bridge. */
    exposedPorts: Type.Array(Type.Integer({ minimum: 1, maximum: 65535 }), { maxItems: 64 }),
    /** Its memory comes by the live transfer of that id: its process is started to receive it, on volumes that the transfer fills. */
    incoming: Type.Optional(Key),
    /** Absent: must not run here. */
    permit: Type.Optional(Permit),
    /** Give up this epoch: stop the guest if it runs, journal, sign, report the surrender. */
    surrenderEpoch: Type.Optional(Type.Integer({ minimum: 1 })),
  },
  closed,
);
export type DesiredInstance = Static<typeof DesiredInstance>;

const TransferDisk = Type.Object({ volumeKey: Key, sizeBytes: Type.Integer({ minimum: 1 }) }, closed);

const Peer = Type.Object(
  {
    name: Type.String({ maxLength: 253 }),
    address: Type.String({ maxLength: 253 }),
    port: Type.Integer({ minimum: 1, maximum: 65535 }),
  },
  closed,
);

/** The sending end of a warm or cold move. Goals: `copy` until told, `finish` (stop the guest, last pass, release the permit), `abort` (guest runs on). */
export const DesiredSend = Type.Object(
  {
    id: Key,
    role: Type.Literal('send'),
    mode: Type.Union([Type.Literal('warm'), Type.Literal('cold')]),
    instanceKey: Key,
    disks: Type.Array(TransferDisk, { minItems: 1, maxItems: 65 }),
    /** Where the receiver listens, and the DNS name its certificate must carry. */
    peer: Peer,
    minPasses: Type.Integer({ minimum: 0, maximum: 100 }),
    goal: Type.Union([Type.Literal('copy'), Type.Literal('finish'), Type.Literal('abort')]),
    /** Epoch the sender releases at `finish`. */
    epoch: Type.Integer({ minimum: 1 }),
  },
  closed,
);
export type DesiredSend = Static<typeof DesiredSend>;

export const DesiredReceive = Type.Object(
  {
    id: Key,
    role: Type.Literal('receive'),
    disks: Type.Array(TransferDisk, { minItems: 1, maxItems: 65 }),
    peerName: Type.String({ maxLength: 253 }),
    goal: Type.Union([Type.Literal('receive'), Type.Literal('abort')]),
  },
  closed,
);
export type DesiredReceive = Static<typeof DesiredReceive>;

/**
 * The sending end of a live move: disks and memory go from one hypervisor to the other. Goals: `copy` mirrors the disks until told, `finish`
 * sends the memory, releases the permit and hands the release to the receiver, `abort` lets the guest run on, unless it was released.
 */
export const DesiredLiveSend = Type.Object(
  {
    id: Key,
    role: Type.Literal('send'),
    mode: Type.Literal('live'),
    instanceKey: Key,
    disks: Type.Array(TransferDisk, { minItems: 1, maxItems: 65 }),
    peer: Peer,
    goal: Type.Union([Type.Literal('copy'), Type.Literal('finish'), Type.Literal('abort')]),
    epoch: Type.Integer({ minimum: 1 }),
    /** The guest was seen to run at the receiver: what is left of it here may go, though the receiver could not say so itself. */
    arrived: Type.Optional(Type.Boolean()),
  },
  closed,
);
export type DesiredLiveSend = Static<typeof DesiredLiveSend>;

/** The receiving end: the instance is `incoming` by this transfer. */
export const DesiredLiveReceive = Type.Object(
  {
    id: Key,
    role: Type.Literal('receive'),
    mode: Type.Literal('live'),
    instanceKey: Key,
    disks: Type.Array(TransferDisk, { minItems: 1, maxItems: 65 }),
    peerName: Type.String({ maxLength: 253 }),
    goal: Type.Union([Type.Literal('receive'), Type.Literal('abort')]),
  },
  closed,
);
export type DesiredLiveReceive = Static<typeof DesiredLiveReceive>;

/** One move of an instance between two agents over mutual TLS. `disks` are in the same order at both ends. */
export const DesiredTransfer = Type.Union([DesiredSend, DesiredReceive, DesiredLiveSend, DesiredLiveReceive]);
export type DesiredTransfer = Static<typeof DesiredTransfer>;

export function isLiveTransfer(transfer: DesiredTransfer): transfer is DesiredLiveSend | DesiredLiveReceive {
  return 'mode' in transfer && transfer.mode === 'live';
}

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
  },
  closed,
);
export type DesiredState = Static<typeof DesiredState>;

/** The four kinds of object on a host, each with its key. */
export const hostObjectTypes = ['network', 'volume', 'instance', 'transfer'] as const;
export type HostObjectType = (typeof hostObjectTypes)[number];
