import { type Static, Type } from 'typebox';
import { PrepareGuest } from '../guest-disks/guest-target.js';
import { bootEvidence } from '../kinds/boot-probe.js';
import { oneOf } from '../shape.js';
import { DesiredInstance } from './instance.js';
import { HostObjectKey as Key } from './object-key.js';

const closed = { additionalProperties: false } as const;

/** A disk of the receiving host that may hold much of what arrives. It is only read, and nothing is lost when it is gone or damaged. */
export const TransferSeed = Type.Union([
  Type.Object({ volumeKey: Key }, closed),
  /** An image that is kept there, by content address. */
  Type.Object(
    { sha256: Type.String({ pattern: '^[0-9a-f]{64}$' }), format: Type.Union([Type.Literal('qcow2'), Type.Literal('raw')]) },
    closed,
  ),
]);
export type TransferSeed = Static<typeof TransferSeed>;

const TransferDisks = Type.Array(Type.Object({ volumeKey: Key, sizeBytes: Type.Integer({ minimum: 1 }) }, closed), {
  minItems: 1,
  maxItems: 65,
});

const Peer = Type.Object(
  {
    name: Type.String({ maxLength: 253 }),
    address: Type.String({ maxLength: 253 }),
    port: Type.Integer({ minimum: 1, maximum: 65535 }),
  },
  closed,
);

/** What every sending end is told. */
const send = {
  id: Key,
  role: Type.Literal('send'),
  instanceKey: Key,
  disks: TransferDisks,
  /** Where the receiver listens, and the DNS name its certificate must carry. */
  peer: Peer,
  goal: Type.Union([Type.Literal('copy'), Type.Literal('finish'), Type.Literal('abort')]),
  /** Epoch the sender releases at `finish`. */
  epoch: Type.Integer({ minimum: 1 }),
} as const;

/** What every receiving end is told. */
const receive = {
  id: Key,
  role: Type.Literal('receive'),
  disks: TransferDisks,
  /** DNS name that the sender's certificate must carry. */
  peerName: Type.String({ maxLength: 253 }),
  goal: Type.Union([Type.Literal('receive'), Type.Literal('abort')]),
} as const;

/** The sending end of a warm or cold move. Goals: `copy` until told, `finish` (stop the guest, last pass, release the permit), `abort` (guest runs on). */
export const DesiredSend = Type.Object(
  {
    ...send,
    mode: Type.Union([Type.Literal('warm'), Type.Literal('cold')]),
    minPasses: Type.Integer({ minimum: 0, maximum: 100 }),
    /** After the pass under way no other is begun, so that the receiver's disks stay as they are. Feature `boot-probe`. */
    hold: Type.Optional(Type.Boolean()),
  },
  closed,
);
export type DesiredSend = Static<typeof DesiredSend>;

/** A boot above the disks as they are now, on overlays that are thrown away and without any network, while the sender holds. Feature `boot-probe`. */
export const DesiredBootProbe = Type.Object(
  {
    /** Names this probe; another one begins anew. */
    request: Type.String({ maxLength: 96 }),
    timeoutSeconds: Type.Integer({ minimum: 1, maximum: 3600 }),
    expects: oneOf(bootEvidence),
    /** It is given no NICs, no devices of the host and no permit: it is not the instance. */
    instance: DesiredInstance,
  },
  closed,
);
export type DesiredBootProbe = Static<typeof DesiredBootProbe>;

export const DesiredReceive = Type.Object(
  {
    ...receive,
    disks: Type.Array(
      /** `seed`: the disk begins as that one's content. Needs agent feature `seeds`. */
      Type.Object({ volumeKey: Key, sizeBytes: Type.Integer({ minimum: 1 }), seed: Type.Optional(TransferSeed) }, closed),
      { minItems: 1, maxItems: 65 },
    ),
    /**
     * What has arrived is changed above the frozen copy, as a guest needs it that is to start on this machine, before it is used. Needs agent feature
     * `guest-disks`.
     */
    prepare: Type.Optional(PrepareGuest),
    probe: Type.Optional(DesiredBootProbe),
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
    ...send,
    mode: Type.Literal('live'),
    /** The guest was seen to run at the receiver: what is left of it here may go, though the receiver could not say so itself. */
    arrived: Type.Optional(Type.Boolean()),
  },
  closed,
);
export type DesiredLiveSend = Static<typeof DesiredLiveSend>;

/** The receiving end: a process of the instance waits for the memory. */
export const DesiredLiveReceive = Type.Object({ ...receive, mode: Type.Literal('live'), instanceKey: Key }, closed);
export type DesiredLiveReceive = Static<typeof DesiredLiveReceive>;

/** One move of an instance between two agents over mutual TLS. `disks` are in the same order at both ends. */
export const DesiredTransfer = Type.Union([DesiredSend, DesiredReceive, DesiredLiveSend, DesiredLiveReceive]);
export type DesiredTransfer = Static<typeof DesiredTransfer>;

export function isLiveTransfer(transfer: DesiredTransfer): transfer is DesiredLiveSend | DesiredLiveReceive {
  return 'mode' in transfer && transfer.mode === 'live';
}
