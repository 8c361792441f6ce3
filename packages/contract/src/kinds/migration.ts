import { type Static, Type } from 'typebox';
import { GuestChange } from '../guest-disks/guest-change.js';
import { defineKind } from '../kind.js';
import { MoveFinding } from '../move-finding.js';
import { MoveActual, MoveForecast } from '../move-forecast.js';
import { Name, oneOf, Reference, statusShape, Zone } from '../shape.js';

export const migrationPhases = [
  'plan',
  'prepare',
  'copy',
  'passes',
  'cutover',
  'prepare-guest',
  'start',
  'verify',
  'settle',
  'clean',
  'done',
  'returning',
  'returned',
  'failed',
] as const;
export type MigrationPhase = (typeof migrationPhases)[number];

/**
 * Moves an instance with its disks to another site, or with `toHost` to another host of its own. `live` takes its memory along, so that it never
 * stops for longer than a pause; `warm` copies while it runs and starts it anew at the target; `cold` stops it first.
 * POST `cancel` returns it to the source at any phase before the target is proven.
 */
export const migration = defineKind({
  kind: 'migration',
  provider: 'virt8ra.migration',
  version: 'v1beta1',
  collection: 'migrations',
  scope: 'workspace',
  aliases: ['move', 'moves'],
  immutable: ['/instanceRef', '/toSite', '/toHost', '/mode', '/minPasses', '/losePublicIps', '/fallback', '/guestChanges'],
  actions: ['cancel'],
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
    bytes: Type.Optional(Type.Integer()),
    resentBytes: Type.Optional(Type.Integer()),
    passes: Type.Optional(Type.Integer()),
    /** Of each disk: bytes that the target took from what it held already, and why it could not take more; what is missing was sent. */
    seeds: Type.Optional(
      Type.Array(Type.Object({ disk: Type.String(), bytes: Type.Integer({ minimum: 0 }), problem: Type.Optional(Type.String()) })),
    ),
    digests: Type.Optional(
      Type.Array(Type.Object({ disk: Type.String(), source: Type.String(), target: Type.String(), equal: Type.Boolean() })),
    ),
    permitEpoch: Type.Optional(Type.Integer()),
    /** Live: the memory arrived, the guest's process ended at the target before the move was over, and it booted there from its disks. */
    bootedAnew: Type.Optional(Type.Literal(true)),
    /** Made when it began, from what was measured then. */
    forecast: Type.Optional(MoveForecast),
    /** What was found before it began. */
    findings: Type.Optional(Type.Array(MoveFinding)),
    /** What it took, to be held against the forecast. */
    actual: Type.Optional(MoveActual),
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
  updatedAt: Type.String(),
});
export type Progress = Static<typeof Progress>;
