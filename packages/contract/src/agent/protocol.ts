import { type Static, Type } from 'typebox';
import { oneOf } from '../shape.js';
import { StreamTarget } from '../stream/note.js';
import { DesiredState, hostObjectTypes } from './desired.js';
import { ObservedFilter } from './filter.js';
import {
  HostInventory,
  ObservedBackup,
  ObservedInstance,
  ObservedNetwork,
  ObservedSnapshot,
  ObservedTransfer,
  ObservedVolume,
} from './observed.js';
import { OverlayReport } from './overlay.js';
import { AgentPathProbe, ServerPathProbe } from './path-probe.js';
import { AgentSamples } from './samples.js';

/**
 * The whole agent protocol. The agent dials out (WebSocket over mutual TLS, `GET /agent/v1/link`); both unions are closed; a change is a
 * new entry at the end of `agentProtocols` and never alters an earlier one. Bulk bytes never travel on this link.
 *
 * Other paths of the agents' listener: `POST /agent/v1/enrol` (token + CSR → certificate; the only one without a client certificate),
 * `POST /agent/v1/renew` (CSR → certificate; an expired, unrevoked certificate may still renew), `GET /agent/v1/artifacts/SHA256` (Range),
 * `GET /agent/v1/streams/TICKET` (WebSocket, see `stream/note.ts`).
 * `HEAD` and `PATCH /agent/v1/backups/KEY/N` (content of the Nth volume of a backup, with `upload-offset`, `upload-length`, `upload-sha256`).
 */
export const agentProtocols = [{ number: 1, name: 'desired state, run permits, disk transfers' }] as const;

/**
 * What an agent may be able to do beyond the protocol's first form; said in `hello`, and depending on the host. What needs a feature is
 * sent to no agent without it: it would refuse the whole frame, or, worse, run a guest unfiltered.
 */
export const agentFeatures = [
  'maintenance',
  'live',
  'namespaces',
  'routes',
  'ipv6-routes',
  'dhcp',
  'dns',
  'filters',
  'anti-spoofing',
  'rates',
  'public-addresses',
  'streams',
  'restart-policy',
  'stop-time',
  'backup',
  'snapshot',
  'limits',
  'path-probes',
  'update',
  'neighbours',
  'dedicated-cpus',
  'huge-pages',
  'rescue',
  'vendor-data',
  'pci-devices',
  'ledger',
  'guest-disks',
  'seeds',
  'pass-figures',
  'boot-probe',
] as const;
export type AgentFeature = (typeof agentFeatures)[number];

const closed = { additionalProperties: false } as const;

/**
 * The same of a control plane, in `welcome`: `samples` are taken, and so is what `overlay` measures. To a host that it holds after a restore it also
 * says `ledger`.
 */
export const serverFeatures = ['samples', 'overlay'] as const;

export const AgentHello = Type.Object(
  {
    type: Type.Literal('hello'),
    protocols: Type.Array(Type.Integer(), { minItems: 1, maxItems: 64 }),
    agentVersion: Type.String({ maxLength: 64 }),
    host: Type.String({ maxLength: 128 }),
    bootId: Type.String({ maxLength: 64 }),
    /** Generation in the agent's ledger; 0 when it has none. */
    generation: Type.Integer({ minimum: 0 }),
    /** Of `agentFeatures`; unknown words are left out of account. */
    features: Type.Array(Type.String({ maxLength: 64 }), { maxItems: 64 }),
  },
  closed,
);

export const AgentInventory = Type.Object({ type: Type.Literal('inventory'), at: Type.String(), inventory: HostInventory }, closed);

/**
 * Observations. `full`: everything on the host, so that what is missing is positively absent as of `generation`; sent after `hello` and
 * whenever an object went. Otherwise only what changed.
 */
export const AgentObserved = Type.Object(
  {
    type: Type.Literal('observed'),
    at: Type.String(),
    generation: Type.Integer({ minimum: 0 }),
    full: Type.Boolean(),
    networks: Type.Array(ObservedNetwork),
    volumes: Type.Array(ObservedVolume),
    instances: Type.Array(ObservedInstance),
    transfers: Type.Array(ObservedTransfer),
    /** Absent from agents without feature `filters`. */
    filters: Type.Optional(Type.Array(ObservedFilter)),
    backups: Type.Optional(Type.Array(ObservedBackup)),
    snapshots: Type.Optional(Type.Array(ObservedSnapshot)),
    removed: Type.Array(Type.Object({ type: oneOf(hostObjectTypes), key: Type.String() }, closed)),
  },
  closed,
);

export const AgentProgress = Type.Object(
  {
    type: Type.Literal('progress'),
    /** Key of a transfer or of a backup. */
    transferId: Type.String({ maxLength: 96 }),
    phase: Type.String({ maxLength: 64 }),
    pass: Type.Integer({ minimum: 0 }),
    bytes: Type.Integer({ minimum: 0 }),
    totalBytes: Type.Integer({ minimum: 0 }),
    bytesPerSecond: Type.Number({ minimum: 0 }),
    etaSeconds: Type.Union([Type.Number({ minimum: 0 }), Type.Null()]),
    dirtyBytes: Type.Optional(Type.Integer({ minimum: 0 })),
  },
  closed,
);

/** What the overlay's carrier measured, as a whole; sent after `welcome` and whenever it changed, to a control plane with feature `overlay`. */
export const AgentOverlay = Type.Object({ type: Type.Literal('overlay'), at: Type.String(), report: OverlayReport }, closed);

/**
 * What the agent was told last, and by which control plane's epoch; sent once after a `welcome` with the feature `ledger`. A control plane that was
 * restored from a backup asks for it: its own word may be older.
 */
export const AgentLedger = Type.Object(
  { type: Type.Literal('ledger'), epoch: Type.Union([Type.String({ maxLength: 64 }), Type.Null()]), state: DesiredState },
  closed,
);

export const AgentMessage = Type.Union([
  AgentHello,
  AgentInventory,
  AgentObserved,
  AgentProgress,
  AgentSamples,
  AgentOverlay,
  AgentPathProbe,
  AgentLedger,
]);
export type AgentMessage = Static<typeof AgentMessage>;
export type AgentMessageOf<Name extends AgentMessage['type']> = Extract<AgentMessage, { type: Name }>;

export const ServerWelcome = Type.Object(
  {
    type: Type.Literal('welcome'),
    /** The highest protocol both speak. */
    protocol: Type.Integer(),
    /** Changes when the control plane was restored from a backup: generations start anew. */
    epoch: Type.String({ maxLength: 64 }),
    host: Type.String({ maxLength: 128 }),
    site: Type.String({ maxLength: 32 }),
    /** Seconds without any frame after which either side drops the link; pings go at a third of it. */
    silenceSeconds: Type.Number({ minimum: 1 }),
    /** What it takes beyond the first version of the protocol. */
    features: Type.Optional(Type.Array(Type.String({ maxLength: 64 }), { maxItems: 64 })),
  },
  closed,
);
export const ServerDesired = Type.Object(
  { type: Type.Literal('desired'), epoch: Type.String({ maxLength: 64 }), state: DesiredState },
  closed,
);
export const ServerRefused = Type.Object(
  { type: Type.Literal('refused'), code: Type.String({ maxLength: 64 }), message: Type.String({ maxLength: 4096 }) },
  closed,
);

/** Dial out for a stream and join it to the target. Only to agents with the feature `streams`. */
export const ServerStream = Type.Object(
  {
    type: Type.Literal('stream'),
    /** Works once, for this host, for some seconds. */
    ticket: Type.String({ pattern: '^[A-Za-z0-9_-]{43}$' }),
    instanceKey: Type.String({ minLength: 1, maxLength: 96 }),
    target: StreamTarget,
    /** Whom others at the same console are told of. */
    by: Type.String({ maxLength: 128 }),
    /** https URL of the replica that waits for it; absent: where the link goes. */
    url: Type.Optional(Type.String({ maxLength: 512 })),
  },
  closed,
);
export type ServerStream = Static<typeof ServerStream>;

export const ServerMessage = Type.Union([ServerWelcome, ServerDesired, ServerRefused, ServerStream, ServerPathProbe]);
export type ServerMessage = Static<typeof ServerMessage>;

export const EnrolRequest = Type.Object(
  {
    token: Type.String({ minLength: 16, maxLength: 256 }),
    csr: Type.String({ maxLength: 8192 }),
    agentVersion: Type.String({ maxLength: 64 }),
  },
  closed,
);
export type EnrolRequest = Static<typeof EnrolRequest>;
/** Certificates are PEM. `name` is the DNS SAN of the issued certificate: `HOST.agents.virt8ra.internal`. */
export const EnrolAnswer = Type.Object(
  { certificate: Type.String(), ca: Type.String(), host: Type.String(), site: Type.String(), name: Type.String() },
  closed,
);
export type EnrolAnswer = Static<typeof EnrolAnswer>;
export const RenewRequest = Type.Object({ csr: Type.String({ maxLength: 8192 }) }, closed);
export type RenewRequest = Static<typeof RenewRequest>;

/** DNS SAN of a host's certificate (QEMU ignores URI SANs, so that names are DNS names). */
export function agentDnsName(host: string): string {
  return `${host}.agents.virt8ra.internal`;
}

/** Frames larger than this are a protocol error. */
export const agentFrameBytes = 8 * 1024 * 1024;
