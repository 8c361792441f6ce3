import { type Static, Type } from 'typebox';

/**
 * The measuring of a path: what one host has to another, by sending a little. The control plane orders it, one end first, which listens for this
 * one peer, then the other, which dials; over the same mutual TLS as transfers. No agent measures by itself.
 */

const closed = { additionalProperties: false } as const;
const Address = Type.String({ minLength: 1, maxLength: 253 });
const Port = Type.Integer({ minimum: 1, maximum: 65535 });

/** The most that one measurement carries, and the longest that it carries anything. */
export const probeBytes = 16 * 1024 * 1024;
export const probeMs = 1_000;
/** An order that is not over after so long is given up by all sides, seconds. */
export const probeSeconds = 10;

/** Only to agents with the feature `path-probes`. */
export const ServerPathProbe = Type.Object(
  {
    type: Type.Literal('path-probe'),
    id: Type.String({ minLength: 1, maxLength: 64 }),
    /** DNS name that the peer's certificate must carry. */
    peerName: Address,
    /** Where the peer listens; absent: listen for it. */
    dial: Type.Optional(Type.Object({ address: Address, port: Port }, closed)),
  },
  closed,
);
export type ServerPathProbe = Static<typeof ServerPathProbe>;

export const PathProbeOutcome = Type.Union([
  Type.Object({ state: Type.Literal('listening'), address: Address, port: Port }, closed),
  /** Payload that reached the peer, and the peer's time between its first and its last octet; the shortest of a few round trips. */
  Type.Object(
    {
      state: Type.Literal('measured'),
      rttMs: Type.Number({ minimum: 0 }),
      bytes: Type.Integer({ minimum: 1 }),
      seconds: Type.Number({ exclusiveMinimum: 0 }),
    },
    closed,
  ),
  /** Nothing was sent, because something more important is under way. */
  Type.Object({ state: Type.Literal('busy'), reason: Type.String({ maxLength: 1024 }) }, closed),
  Type.Object({ state: Type.Literal('failed'), reason: Type.String({ maxLength: 1024 }) }, closed),
]);
export type PathProbeOutcome = Static<typeof PathProbeOutcome>;

/** What came of an order. */
export const AgentPathProbe = Type.Object(
  { type: Type.Literal('path-probe'), id: Type.String({ minLength: 1, maxLength: 64 }), outcome: PathProbeOutcome },
  closed,
);
