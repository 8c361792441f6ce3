import { type Static, Type } from 'typebox';
import { oneOf } from './shape.js';

/** A figure with whom it is from and when, or that it is not known, why, and since when that is so. */
export const PathFigure = Type.Union([
  Type.Object({ value: Type.Number(), source: Type.String(), observedAt: Type.String() }),
  Type.Object({
    value: Type.Literal('unknown'),
    reason: Type.String(),
    source: Type.Optional(Type.String()),
    observedAt: Type.Optional(Type.String()),
  }),
]);
export type PathFigure = Readonly<Static<typeof PathFigure>>;

const PathEnd = Type.Object({ host: Type.String(), site: Type.String() });

/** What is known of how octets get from one host to another. */
export const HostPath = Type.Object({
  from: PathEnd,
  to: PathEnd,
  /** Milliseconds. */
  rttMs: PathFigure,
  /** What was carried, by a transfer or to measure it; more may go through. */
  bytesPerSecond: PathFigure,
});
export type HostPath = Readonly<Static<typeof HostPath>>;

/** One time that something was carried, or could not be. */
export const PathLook = Type.Object({
  at: Type.String(),
  source: oneOf(['transfer', 'probe']),
  bytes: Type.Optional(Type.Number()),
  seconds: Type.Optional(Type.Number()),
  bytesPerSecond: Type.Optional(Type.Number()),
  rttMs: Type.Optional(Type.Number()),
  reason: Type.Optional(Type.String()),
});
export type PathLook = Readonly<Static<typeof PathLook>>;
