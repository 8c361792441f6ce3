import { type Static, Type } from 'typebox';

/**
 * Run permits: at most one host runs an instance, in doubt none does. Epochs of an instance only grow. Epoch 1 is granted without
 * evidence; every later one carries the signed statement by which the previous epoch ended.
 */

/** A host's promise never to run `instance` under `epoch` (again). Journaled with fsync before it is signed. */
export const Surrender = Type.Object(
  {
    /** `released`: it ran here and was stopped. `refused`: it never ran here. */
    statement: Type.Union([Type.Literal('released'), Type.Literal('refused')]),
    /** Resource id of the instance. */
    instance: Type.String({ maxLength: 64 }),
    epoch: Type.Integer({ minimum: 1 }),
    host: Type.String({ maxLength: 128 }),
    at: Type.String({ maxLength: 40 }),
    /** ECDSA P-256 / SHA-256, base64, over `surrenderText`. */
    signature: Type.String({ maxLength: 256 }),
    /** The host's client certificate, PEM; must chain to the control plane's CA and name `host`. */
    certificate: Type.String({ maxLength: 8192 }),
  },
  { additionalProperties: false },
);
export type Surrender = Static<typeof Surrender>;

/** The exact text a surrender's signature covers. */
export function surrenderText(surrender: Omit<Surrender, 'signature' | 'certificate'>): string {
  return ['virt8ra-surrender-1', surrender.statement, surrender.instance, String(surrender.epoch), surrender.host, surrender.at].join('\n');
}

export const Permit = Type.Object(
  {
    epoch: Type.Integer({ minimum: 1 }),
    /** Name of the host that may run it. */
    holder: Type.String({ maxLength: 128 }),
    /** After this the holder's agent stops the guest by itself; absent: no expiry. */
    expiresAt: Type.Optional(Type.String({ maxLength: 40 })),
    /** Surrender of epoch − 1; required from epoch 2 on. */
    evidence: Type.Optional(Surrender),
    /**
     * Instead of evidence, in a live move: the host that holds epoch − 1. This permit is worth nothing until that host's release of epoch − 1
     * was handed to the holder, which it does itself.
     */
    awaits: Type.Optional(Type.String({ maxLength: 128 })),
  },
  { additionalProperties: false },
);
export type Permit = Static<typeof Permit>;
