import { type Static, Type } from 'typebox';
import { GuestChange } from '../guest-disks/guest-change.js';
import { defineKind } from '../kind.js';
import { MoveFinding } from '../move-finding.js';
import { MoveActual, MoveForecast } from '../move-forecast.js';
import { Name, oneOf, Reference, statusShape, Zone } from '../shape.js';
import { BootProbe, BootProbeFinding } from './boot-probe.js';
import { Convergence, Cutover, CutoverRequest, CutoverState } from './cutover.js';

export const migrationPhases = [
  'plan',
  'prepare',
  'copy',
  'passes',
  'probe',
  'waiting',
  'cutover',
  'prepare-guest',
  'start',
  'verify',
  'settle',
  'clean',
  /** Done, and its source’s disks are kept for a way back. */
  'kept',
  'done',
  /** Done, and then undone by its way back: the instance is at the source again. */
  'brought-back',
  'returning',
  'returned',
  'failed',
] as const;
export type MigrationPhase = (typeof migrationPhases)[number];

/** The longest a way back may be kept: 31 days. */
export const longestWayBackHours = 744;

/** Sent with `return`. */
export const ReturnRequest = Type.Object(
  {
    /** Absent: warm when the instance runs, else cold. */
    mode: Type.Optional(oneOf(['live', 'warm', 'cold'])),
  },
  { additionalProperties: false },
);
export type ReturnRequest = Static<typeof ReturnRequest>;

const Digests = Type.Array(Type.Object({ disk: Type.String(), source: Type.String(), target: Type.String(), equal: Type.Boolean() }));

/** How far what was written at the target has come back. */
const ReverseFlow = Type.Object({
  /** `starting`: the retained disks are read; `copying`: far behind; `current`: behind by little; `stopped`: nothing flows, `reason` says why. */
  state: oneOf(['starting', 'copying', 'current', 'stopped']),
  passes: Type.Integer({ minimum: 0 }),
  /** Bytes sent back so far, on this attempt. */
  bytes: Type.Integer({ minimum: 0 }),
  /** When this was seen. */
  at: Type.String(),
  reason: Type.Optional(Type.String()),
  /** When it is tried again. */
  retryAt: Type.Optional(Type.String()),
});

/** A window in which the instance can go back, with everything that was written since. */
export const WayBack = Type.Object({
  /** Where the retained disks are. */
  at: Type.Object({ site: Zone, host: Type.String() }),
  openedAt: Type.String(),
  /** When it ends by itself. */
  until: Type.String(),
  /** Room that the retained disks take at their host. */
  retainedBytes: Type.Integer({ minimum: 0 }),
  reverse: ReverseFlow,
  /** What a return would still have to send now, and how long that takes at the rate last seen; absent: not known. */
  cost: Type.Optional(Type.Object({ bytes: Type.Integer({ minimum: 0 }), seconds: Type.Optional(Type.Number({ minimum: 0 })) })),
  /** Room is about to run out at one end. */
  warning: Type.Optional(Type.String()),
  asked: Type.Optional(oneOf(['return', 'release'])),
  /** Counts what was tried in this window. */
  attempt: Type.Integer({ minimum: 0 }),
  /** The run that keeps it, or ends it. */
  run: Type.Optional(Type.String()),
  endedAt: Type.Optional(Type.String()),
  ended: Type.Optional(oneOf(['returned', 'released', 'expired'])),
});
export type WayBack = Static<typeof WayBack>;

/** The journey back; members as those of the journey there. */
export const ReturnJourney = Type.Object({
  mode: oneOf(['live', 'warm', 'cold']),
  askedAt: Type.String(),
  askedBy: Type.String(),
  startedAt: Type.Optional(Type.String()),
  finishedAt: Type.Optional(Type.String()),
  pauseMs: Type.Optional(Type.Number()),
  handoverMs: Type.Optional(Type.Number()),
  bytes: Type.Optional(Type.Integer()),
  resentBytes: Type.Optional(Type.Integer()),
  passes: Type.Optional(Type.Integer()),
  digests: Type.Optional(Digests),
  permitEpoch: Type.Optional(Type.Integer()),
  bootedAnew: Type.Optional(Type.Literal(true)),
  run: Type.Optional(Type.String()),
  problem: Type.Optional(Type.String()),
  problemCode: Type.Optional(Type.String()),
});
export type ReturnJourney = Static<typeof ReturnJourney>;

/**
 * Moves an instance with its disks to another site, or with `toHost` to another host of its own. `live` takes its memory along, so that it never
 * stops for longer than a pause; `warm` copies while it runs and starts it anew at the target; `cold` stops it first.
 * POST `cancel` returns it to the source at any phase before the target is proven. POST `cutover` asks for the cut-over, at any phase before it. With `wayBack`
 * the source’s disks are kept for so long: POST `return` brings it back with what was written since, POST `release` gives the way back up.
 */
export const migration = defineKind({
  kind: 'migration',
  provider: 'virt8ra.migration',
  version: 'v1beta1',
  collection: 'migrations',
  scope: 'workspace',
  aliases: ['move', 'moves'],
  immutable: [
    '/instanceRef',
    '/toSite',
    '/toHost',
    '/mode',
    '/minPasses',
    '/losePublicIps',
    '/fallback',
    '/guestChanges',
    '/cutover',
    '/bootProbe',
    '/wayBack',
  ],
  actions: ['cancel', 'cutover', 'return', 'release'],
  actionBodies: { cutover: CutoverRequest, return: ReturnRequest },
  summary: 'a move of an instance with its disks to another site',
  spec: Type.Object(
    {
      instanceRef: Reference,
      toSite: Zone,
      /** Absent: the host of the site that fits best. */
      toHost: Type.Optional(Name),
      mode: Type.Union([Type.Literal('live'), Type.Literal('warm'), Type.Literal('cold')]),
      /** Change-tracked passes before cut-over, the full copy not counted; warm only. */
      minPasses: Type.Optional(Type.Integer({ minimum: 1, maximum: 100 })),
      /** It may go where its public IPs do not lead to it any more; without this a move that loses one is refused. */
      losePublicIps: Type.Optional(Type.Boolean()),
      /** What a live move may become where it is not possible; absent: it is refused there. */
      fallback: Type.Optional(Type.Literal('warm')),
      /**
       * Of a warm or cold move. `needed`: the copy is changed inside as its guest needs it on the target's machine, before it starts there. `none`: it is looked into, and
       * the move returns where it would have to be changed. Absent: nobody looks inside.
       */
      guestChanges: Type.Optional(oneOf(['none', 'needed'])),
      /** For so long the source’s disks are kept and what is written at the target flows back to their host. Absent: they are removed at once. */
      wayBack: Type.Optional(
        Type.Object({ hours: Type.Integer({ minimum: 1, maximum: longestWayBackHours }) }, { additionalProperties: false }),
      ),
      /** When the guest is stopped for the move; absent: as soon as little enough is left to send. Until then changes go on being copied. */
      cutover: Type.Optional(Cutover),
      /** The copy must be seen to boot, else the instance returns to its source. */
      bootProbe: Type.Optional(BootProbe),
    },
    { additionalProperties: false },
  ),
  status: statusShape({
    phase: Type.Optional(oneOf(migrationPhases)),
    from: Type.Optional(Type.Object({ site: Zone, host: Type.Optional(Type.String()) })),
    to: Type.Optional(Type.Object({ site: Zone, host: Type.Optional(Type.String()) })),
    /** How it is done; differs from what was asked for when it fell back. */
    mode: Type.Optional(oneOf(['live', 'warm', 'cold'])),
    /** Why a live move became a warm one. */
    fallbackReason: Type.Optional(Type.String()),
    startedAt: Type.Optional(Type.String()),
    finishedAt: Type.Optional(Type.String()),
    /** Source guest stopped → last byte durable at the target (live: → guest running there), measured by the source's agent. */
    pauseMs: Type.Optional(Type.Number()),
    /** Source guest stopped → guest process started at the target, by the control plane's clock. */
    handoverMs: Type.Optional(Type.Number()),
    /** What was changed inside the copy, and why; the source was not touched. */
    guestChanges: Type.Optional(Type.Array(GuestChange)),
    cutover: Type.Optional(CutoverState),
    convergence: Type.Optional(Convergence),
    bootProbe: Type.Optional(BootProbeFinding),
    bytes: Type.Optional(Type.Integer()),
    resentBytes: Type.Optional(Type.Integer()),
    passes: Type.Optional(Type.Integer()),
    /** Of each disk: bytes that the target took from what it held already, and why it could not take more; what is missing was sent. */
    seeds: Type.Optional(
      Type.Array(Type.Object({ disk: Type.String(), bytes: Type.Integer({ minimum: 0 }), problem: Type.Optional(Type.String()) })),
    ),
    digests: Type.Optional(Digests),
    permitEpoch: Type.Optional(Type.Integer()),
    /** Live: the memory arrived, the guest's process ended at the target before the move was over, and it booted there from its disks. */
    bootedAnew: Type.Optional(Type.Literal(true)),
    /** Made when it began, from what was measured then. */
    forecast: Type.Optional(MoveForecast),
    /** What was found before it began. */
    findings: Type.Optional(Type.Array(MoveFinding)),
    /** What it took, to be held against the forecast. */
    actual: Type.Optional(MoveActual),
    wayBack: Type.Optional(WayBack),
    return: Type.Optional(ReturnJourney),
    /** The run that does it. */
    run: Type.Optional(Type.String()),
    problem: Type.Optional(Type.String()),
    /** What kind of problem it is, by the names that problem documents carry as `code`. */
    problemCode: Type.Optional(Type.String()),
  }),
});
export type MigrationSpec = Static<typeof migration.spec>;

/** Progress of long work, served beside the resource and on the feed; coalesced to one per second. */
export const Progress = Type.Object({
  phase: Type.String(),
  pass: Type.Optional(Type.Integer()),
  bytes: Type.Integer({ minimum: 0 }),
  totalBytes: Type.Integer({ minimum: 0 }),
  bytesPerSecond: Type.Number({ minimum: 0 }),
  etaSeconds: Type.Union([Type.Number({ minimum: 0 }), Type.Null()]),
  dirtyBytes: Type.Optional(Type.Integer({ minimum: 0 })),
  /** Of a move, if its guest were stopped now. */
  predictedPauseMs: Type.Optional(Type.Integer({ minimum: 0 })),
  /** What a move waits for before it cuts over; a sentence. */
  waitsFor: Type.Optional(Type.String()),
  updatedAt: Type.String(),
});
export type Progress = Static<typeof Progress>;
