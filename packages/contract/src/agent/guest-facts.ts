import { type Static, Type } from 'typebox';

/** How much a guest's word may be: what is more is left out. */
export const guestFactsMost = { text: 128, interfaces: 16, addresses: 8, fileSystems: 16 } as const;

const Text = Type.String({ maxLength: guestFactsMost.text });

/**
 * What a guest tells of itself through the agent inside it. It is the guest's word: nothing is decided by it. What it does not tell is absent.
 */
export const GuestFacts = Type.Object({
  hostName: Type.Optional(Text),
  os: Type.Optional(Type.Object({ name: Text, kernel: Type.Optional(Text) })),
  /** Without the loop. */
  interfaces: Type.Optional(
    Type.Array(
      Type.Object({
        name: Text,
        mac: Type.Optional(Type.String({ maxLength: 17 })),
        /** With the length of their prefix. */
        addresses: Type.Array(Type.String({ maxLength: 49 }), { maxItems: guestFactsMost.addresses }),
      }),
      { maxItems: guestFactsMost.interfaces },
    ),
  ),
  fileSystems: Type.Optional(
    Type.Array(
      Type.Object({
        mount: Text,
        type: Type.Optional(Text),
        sizeBytes: Type.Integer({ minimum: 0 }),
        usedBytes: Type.Integer({ minimum: 0 }),
      }),
      { maxItems: guestFactsMost.fileSystems },
    ),
  ),
});
export type GuestFacts = Static<typeof GuestFacts>;
