import { Problem, Surrender } from '@virt8ra/contract';
import { type Static, Type } from 'typebox';
import { Check } from 'typebox/value';

/**
 * What the agents of a live move say to each other on their own channel (mutual TLS with the hosts' certificates): one JSON line each, every
 * question answered under its number. The source asks, the target answers. Memory and disks go beside it, from hypervisor to hypervisor.
 */

const closed = { additionalProperties: false } as const;

/** Names one attempt: what came by an earlier one must never run. */
const Attempt = Type.String({ minLength: 1, maxLength: 64 });

/** The parts of a machine that both ends must agree on before any byte goes. */
export const MachineShape = Type.Object(
  {
    /** `slot.function vendor:device` of everything on the root bus. */
    devices: Type.Array(Type.String({ maxLength: 64 }), { maxItems: 512 }),
    /** Device and size in bytes of every disk, in order. */
    disks: Type.Array(Type.String({ maxLength: 128 }), { maxItems: 128 }),
    memoryBytes: Type.Integer(),
  },
  closed,
);
export type MachineShape = Static<typeof MachineShape>;

export const Question = Type.Union([
  /** A new attempt: the target makes a fresh process ready to receive. */
  Type.Object(
    {
      type: Type.Literal('begin'),
      transferId: Type.String({ maxLength: 96 }),
      attempt: Attempt,
      shape: MachineShape,
      /** What the disks take at the source, in all. */
      contentBytes: Type.Integer({ minimum: 0 }),
    },
    closed,
  ),
  /** Is the target there, and does it have the permit that awaits the release? */
  Type.Object({ type: Type.Literal('check') }, closed),
  /** The disks are equal and nothing writes any more: the target closes the way in. */
  Type.Object({ type: Type.Literal('close-disks') }, closed),
  /** The source gave its epoch up, when all of that attempt was at the target. */
  Type.Object(
    { type: Type.Literal('release'), transferId: Type.String({ maxLength: 96 }), attempt: Attempt, surrender: Surrender },
    closed,
  ),
]);
export type Question = Static<typeof Question>;

export const Beginning = Type.Object(
  {
    address: Type.String({ maxLength: 253 }),
    diskPort: Type.Integer({ minimum: 1, maximum: 65535 }),
    memoryPort: Type.Integer({ minimum: 1, maximum: 65535 }),
    /** Pre-shared key of this one attempt, hexadecimal. */
    key: Type.String({ minLength: 64, maxLength: 64, pattern: '^[0-9a-f]+$' }),
  },
  closed,
);
export type Beginning = Static<typeof Beginning>;

export const Readiness = Type.Object(
  {
    armed: Type.Boolean(),
    /** Why not. */
    reason: Type.Optional(Type.String({ maxLength: 1024 })),
  },
  closed,
);

/** `resumed`: the guest runs at the target. `waiting`: all is there, the permit is not. `refused`: it will never run from what came by this transfer. */
export const ReleaseAnswer = Type.Object(
  {
    outcome: Type.Union([Type.Literal('resumed'), Type.Literal('waiting'), Type.Literal('refused')]),
    reason: Type.Optional(Type.String({ maxLength: 1024 })),
  },
  closed,
);
export type ReleaseAnswer = Static<typeof ReleaseAnswer>;

/** What each question is answered with. */
export interface AnswerOf {
  readonly begin: Beginning;
  readonly check: Static<typeof Readiness>;
  readonly 'close-disks': Record<string, never>;
  readonly release: ReleaseAnswer;
}

const answerShapes = {
  begin: Beginning,
  check: Readiness,
  'close-disks': Type.Object({}, closed),
  release: ReleaseAnswer,
} as const;

/** Raises Problem invalid-request for anything else. */
export function readQuestion(value: unknown): Question {
  if (Check(Question, value)) return value;
  throw new Problem('invalid-request', 'the peer asked something that this agent does not know');
}

export function readAnswer<Type extends Question['type']>(type: Type, value: unknown): AnswerOf[Type] {
  if (Check(answerShapes[type], value)) return value as AnswerOf[Type];
  throw new Problem('invalid-request', `the peer answered ${type} with something that this agent does not know`);
}
