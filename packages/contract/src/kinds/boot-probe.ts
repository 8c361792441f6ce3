import { type Static, Type } from 'typebox';
import { oneOf } from '../shape.js';

/**
 * What shows that a guest came up, strongest first: its agent answered, it spoke on its serial console, its process ran on and read from its disks.
 */
export const bootEvidence = ['guest-agent', 'serial-console', 'disk-reads'] as const;
export type BootEvidence = (typeof bootEvidence)[number];

/** Seconds that a guest has to show life, without more words. */
export const defaultProbeSeconds = 180;

/** A boot of the copy that decides whether a move goes on. */
export const BootProbe = Type.Object(
  {
    /**
     * `isolation`: before the source is stopped, above the copy as it is then, on disks that are thrown away and without any network. `place`: after the
     * switch and before the source is given up, in its own network.
     */
    in: oneOf(['isolation', 'place']),
    timeoutSeconds: Type.Optional(Type.Integer({ minimum: 5, maximum: 3600 })),
  },
  { additionalProperties: false },
);
export type BootProbe = Static<typeof BootProbe>;

export const BootProbeFinding = Type.Object({
  in: oneOf(['isolation', 'place']),
  state: oneOf(['waiting', 'booting', 'passed', 'failed']),
  /** What the guest shows at the source, and so must show here. */
  expects: Type.Optional(oneOf(bootEvidence)),
  /** What was observed, and no more than that. */
  observed: Type.Optional(oneOf(bootEvidence)),
  beganAt: Type.Optional(Type.String()),
  seconds: Type.Optional(Type.Number({ minimum: 0 })),
  readBytes: Type.Optional(Type.Integer({ minimum: 0 })),
  serialBytes: Type.Optional(Type.Integer({ minimum: 0 })),
  reason: Type.Optional(Type.String()),
  /** Of a probe that failed: the last of its serial console. */
  serialTail: Type.Optional(Type.String({ maxLength: 4096 })),
});
export type BootProbeFinding = Static<typeof BootProbeFinding>;
