import { type Static, Type } from 'typebox';
import { oneOf, Timestamp } from '../shape.js';

const closed = { additionalProperties: false } as const;

/** Longest pause that can be consented to, milliseconds. */
export const longestPauseMs = 24 * 3600 * 1000;

/** When a move cuts over, once the copy is complete but for the last changes: when it is asked to, within a window, or when the pause is foreseen to be short. */
export const Cutover = Type.Union([
  Type.Object({ when: Type.Literal('asked') }, closed),
  /** It begins from `from` until before `until`. What did not come about by then must be asked for anew. */
  Type.Object({ when: Type.Literal('window'), from: Timestamp, until: Timestamp }, closed),
  /** As soon as the foreseen pause is this short or shorter. That is consent to such a pause, however much is left to send. */
  Type.Object({ when: Type.Literal('pause-below'), milliseconds: Type.Integer({ minimum: 1, maximum: longestPauseMs }) }, closed),
]);
export type Cutover = Static<typeof Cutover>;

/** Of the action `cutover`; empty: as soon as it can. */
export const CutoverRequest = Type.Object({ cutover: Type.Optional(Cutover) }, closed);
export type CutoverRequest = Static<typeof CutoverRequest>;

export const CutoverState = Type.Object({
  /**
   * `waiting`: for whoever asks, for the window, or for a shorter pause. `queued`: it was asked for and begins when the copy allows. `missed`: the
   * window passed without it; it must be asked for anew. `ordered`: it has begun.
   */
  state: oneOf(['waiting', 'queued', 'missed', 'ordered']),
  /** What counts now. */
  intent: Type.Optional(Cutover),
  askedAt: Type.Optional(Timestamp),
  askedBy: Type.Optional(Type.String()),
  /** A sentence. */
  waitsFor: Type.Optional(Type.String()),
});
export type CutoverState = Static<typeof CutoverState>;

/** Whether the copy catches up with what the guest writes, as measured in its passes. */
export const Convergence = Type.Object({
  verdict: oneOf(['measuring', 'converging', 'converged', 'not-converging']),
  /** What the guest changes in a second, and what is carried of it in a second. */
  dirtyBytesPerSecond: Type.Optional(Type.Integer({ minimum: 0 })),
  bytesPerSecond: Type.Optional(Type.Integer({ minimum: 0 })),
  /** If the guest were stopped after the pass that ended last. */
  predictedPauseMs: Type.Optional(Type.Integer({ minimum: 0 })),
  /** What can be done about a copy that does not catch up. */
  advice: Type.Optional(Type.String()),
});
export type Convergence = Static<typeof Convergence>;
