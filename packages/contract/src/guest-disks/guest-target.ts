import { type Static, Type } from 'typebox';
import { oneOf } from '../shape.js';

const closed = { additionalProperties: false } as const;

/** The machine that a guest's copy is to start on, as far as the guest has to fit it. */
export const GuestTarget = Type.Object(
  {
    architecture: oneOf(['amd64', 'arm64']),
    /** Absent: either can be had. */
    firmware: Type.Optional(oneOf(['bios', 'uefi'])),
    diskBus: oneOf(['virtio-blk', 'virtio-scsi', 'other']),
    /** In the order of the machine. */
    nics: Type.Array(
      Type.Object(
        {
          mac: Type.String({ pattern: '^[0-9a-f]{2}(:[0-9a-f]{2}){5}$' }),
          /** The MAC that it has at the source, where that is another. */
          was: Type.Optional(Type.String({ pattern: '^[0-9a-f]{2}(:[0-9a-f]{2}){5}$' })),
          /** The guest's own name for it, as an agent inside tells. */
          name: Type.Optional(Type.String({ maxLength: 15, pattern: '^[A-Za-z0-9][A-Za-z0-9_.-]*$' })),
          /** CIDR notation; empty: any may be used. */
          addresses: Type.Array(Type.String({ maxLength: 43 }), { maxItems: 32 }),
        },
        closed,
      ),
      { maxItems: 32 },
    ),
    /** What it is told about itself there; absent: nothing. */
    identity: Type.Optional(
      Type.Object({ datasource: Type.String({ maxLength: 32 }), instanceId: Type.String({ maxLength: 128 }) }, closed),
    ),
  },
  closed,
);
export type GuestTarget = Readonly<Static<typeof GuestTarget>>;

/** What is done with a copy that has arrived, before it is used: with `refuse` it is only looked into, and refused where it would have to be changed. */
export const PrepareGuest = Type.Object({ target: GuestTarget, changes: oneOf(['make', 'refuse']) }, closed);
export type PrepareGuest = Readonly<Static<typeof PrepareGuest>>;
