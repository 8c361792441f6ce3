import { type Static, Type } from 'typebox';

/** What a host and its guests used over the last interval: rates are averages since the sample before. Absent: could not be measured. */

const closed = { additionalProperties: false } as const;
const Amount = Type.Number({ minimum: 0 });
const Key = Type.String({ maxLength: 96 });

const usage = {
  /** Processor threads in use: 1.5 is one and a half. */
  cpu: Amount,
  memoryBytes: Amount,
  diskReadPerSecond: Type.Optional(Amount),
  diskWritePerSecond: Type.Optional(Amount),
  netInPerSecond: Type.Optional(Amount),
  netOutPerSecond: Type.Optional(Amount),
} as const;

export const HostSample = Type.Object(
  {
    ...usage,
    threads: Type.Integer({ minimum: 1 }),
    /** Threads that the machine beneath this one, if it is virtual, gave to others. */
    steal: Amount,
    memoryTotalBytes: Amount,
    diskFreeBytes: Amount,
    guests: Type.Integer({ minimum: 0 }),
    /** Payload of transfers sent and received. */
    transferPerSecond: Amount,
  },
  closed,
);
export type HostSample = Static<typeof HostSample>;

export const GuestSample = Type.Object(
  {
    ...usage,
    key: Key,
    /** Threads of the guest that were ready to run and waited for the host's processors. */
    steal: Amount,
    /** What the guest's kernel says of its memory, where it drives the balloon: what it uses, what it could not give up at once; and all it has. */
    guestMemoryUsedBytes: Type.Optional(Amount),
    guestMemoryTotalBytes: Type.Optional(Amount),
    /** By key of the volume. */
    disks: Type.Optional(
      Type.Array(
        Type.Object({ key: Key, readPerSecond: Amount, writePerSecond: Amount, readsPerSecond: Amount, writesPerSecond: Amount }, closed),
        { maxItems: 65 },
      ),
    ),
    /**
     * What was different on its disks after so many seconds of one record, each place counted once, as looked at last; disks that are not among them did
     * not change. Absent: not looked at yet.
     */
    changes: Type.Optional(
      Type.Object(
        {
          at: Type.String({ maxLength: 40 }),
          disks: Type.Array(
            Type.Object({ key: Key, looks: Type.Array(Type.Object({ seconds: Amount, bytes: Amount }, closed), { maxItems: 4 }) }, closed),
            { maxItems: 65 },
          ),
        },
        closed,
      ),
    ),
    /** Of its memory, as QEMU found by looking at a part of it. */
    memoryChangedPerSecond: Type.Optional(Amount),
    nics: Type.Optional(Type.Array(Type.Object({ key: Key, inPerSecond: Amount, outPerSecond: Amount }, closed), { maxItems: 17 })),
    /** Payload of its move away; absent while there is none. */
    transferPerSecond: Type.Optional(Amount),
  },
  closed,
);
export type GuestSample = Static<typeof GuestSample>;

/** Sent every ten seconds to a control plane whose `welcome` names the feature `samples`; never kept for later. */
export const AgentSamples = Type.Object(
  {
    type: Type.Literal('samples'),
    at: Type.String({ maxLength: 40 }),
    host: HostSample,
    guests: Type.Array(GuestSample, { maxItems: 2000 }),
  },
  closed,
);

/** Seconds between samples, and how long a control plane keeps them. */
export const sampleSeconds = 10;
export const samplesKeptSeconds = 3600;
