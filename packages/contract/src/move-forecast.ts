import { type Static, Type } from 'typebox';
import { oneOf } from './shape.js';

const Amount = Type.Number({ minimum: 0 });
const Between = Type.Object({ least: Amount, most: Amount });

/** One thing that a forecast was made from: a figure with whom it is from and when, or why there is none. */
export const ForecastInput = Type.Object({
  /** Such as `link`, `allocated` or `disk-changes`. */
  what: Type.String({ maxLength: 64 }),
  /** What it is about: a block storage, a host, a path. */
  of: Type.Optional(Type.String({ maxLength: 256 })),
  value: Type.Optional(Type.Number()),
  unit: Type.Optional(oneOf(['bytes', 'bytes/s', 'ms', 'share', 'per-GB'])),
  source: Type.Optional(Type.String({ maxLength: 128 })),
  observedAt: Type.Optional(Type.String({ maxLength: 40 })),
  /** Why it is not known, or how far it is to be believed. */
  reason: Type.Optional(Type.String({ maxLength: 1024 })),
});
export type ForecastInput = Readonly<Static<typeof ForecastInput>>;

/**
 * `converges`: what the guest changes is carried faster than it changes. `with-throttle`: only while its writes are held below
 * `limitBytesPerSecond`. `never`: not even then in a useful way. `not-needed`: it stands still while it is copied. `unknown`: not measured.
 */
export const convergenceVerdicts = ['converges', 'with-throttle', 'never', 'not-needed', 'unknown'] as const;
export type ConvergenceVerdict = (typeof convergenceVerdicts)[number];

export const ForecastConvergence = Type.Object({
  verdict: oneOf(convergenceVerdicts),
  reason: Type.String({ maxLength: 1024 }),
  /** What it changes in a second while a pass of its first size lasts, and what is carried in one. */
  changedBytesPerSecond: Type.Optional(Amount),
  carriedBytesPerSecond: Type.Optional(Amount),
  limitBytesPerSecond: Type.Optional(Amount),
  /** Passes after the full copy until little is left. */
  passes: Type.Optional(Type.Integer({ minimum: 0 })),
  /** Left for the pause, or, where it does not converge, at the end of every pass. */
  leftBytes: Type.Optional(Amount),
});
export type ForecastConvergence = Readonly<Static<typeof ForecastConvergence>>;

/** What a move is going to take, made from what was measured. A figure that cannot be known is absent. */
export const MoveForecast = Type.Object({
  at: Type.String({ maxLength: 40 }),
  mode: oneOf(['live', 'warm', 'cold']),
  /** From its start until the source is clean. */
  durationSeconds: Type.Optional(Amount),
  /** As `pauseMs` of the status; of a cold move it is the whole time without the guest. */
  pauseMs: Type.Optional(Amount),
  /** Over the wire. */
  bytes: Type.Optional(Amount),
  egressCost: Type.Optional(Type.Object({ amount: Amount, currency: Type.String({ maxLength: 8 }) })),
  convergence: ForecastConvergence,
  confidence: Type.Object({
    level: oneOf(['high', 'medium', 'low']),
    durationSeconds: Type.Optional(Between),
    pauseMs: Type.Optional(Between),
    bytes: Type.Optional(Between),
    /** What takes from it. */
    reasons: Type.Array(Type.String({ maxLength: 512 })),
  }),
  /** What the figures were multiplied by, for earlier moves between the same hosts; each between 0.5 and 2. */
  correction: Type.Object({ moves: Type.Integer({ minimum: 0 }), duration: Amount, pause: Amount, bytes: Amount }),
  from: Type.Array(ForecastInput),
});
export type MoveForecast = Readonly<Static<typeof MoveForecast>>;

/** What a move took, to be held against its forecast. */
export const MoveActual = Type.Object({
  at: Type.String({ maxLength: 40 }),
  durationSeconds: Type.Optional(Amount),
  pauseMs: Type.Optional(Amount),
  bytes: Type.Optional(Amount),
});
export type MoveActual = Readonly<Static<typeof MoveActual>>;
