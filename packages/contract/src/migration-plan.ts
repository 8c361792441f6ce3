import { type Static, Type } from 'typebox';
import { migration } from './kinds/migration.js';
import { MoveFinding } from './move-finding.js';
import { MoveForecast } from './move-forecast.js';
import { oneOf } from './shape.js';

/**
 * What would come of a migration. `measure`: have the link between both hosts measured now if its last figure is older than ten minutes. `inspect`: have
 * the source's host look inside the guest, which may take a minute; it runs on.
 */
export const MigrationPlanRequest = Type.Object(
  { spec: migration.spec, measure: Type.Optional(Type.Boolean()), inspect: Type.Optional(Type.Boolean()) },
  { additionalProperties: false },
);
export type MigrationPlanRequest = Static<typeof MigrationPlanRequest>;

const Place = Type.Object({ site: Type.String(), host: Type.Optional(Type.String()) });

/** What a migration would do, found out without changing anything. */
export const MigrationPlan = Type.Object({
  instance: Type.String(),
  at: Type.String(),
  /** `ready`: nothing blocks it. */
  verdict: oneOf(['ready', 'blocked']),
  from: Type.Optional(Place),
  /** The host that it would go to. */
  to: Type.Optional(Place),
  /** How it would be done; differs from what was asked for where it would fall back. */
  mode: Type.Optional(oneOf(['live', 'warm', 'cold'])),
  /** Every way to move it, the best one first, and why one is none. */
  rungs: Type.Array(Type.Object({ mode: oneOf(['live', 'warm', 'cold']), possible: Type.Boolean(), reason: Type.Optional(Type.String()) })),
  /** Hosts of the target, the best one first, and what decided. */
  ranking: Type.Array(
    Type.Object({
      site: Type.String(),
      host: Type.String(),
      fits: Type.Boolean(),
      reason: Type.String(),
      mend: Type.Optional(Type.String()),
    }),
  ),
  findings: Type.Array(MoveFinding),
  forecast: Type.Optional(MoveForecast),
});
export type MigrationPlan = Readonly<Static<typeof MigrationPlan>>;
