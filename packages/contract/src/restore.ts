import { type Static, Type } from 'typebox';
import { oneOf } from './shape.js';

/** What differs between a control plane that was restored from a backup and the hosts that went on meanwhile. */
export const RestoreDifference = Type.Object({
  /** `unknown`: a host has it, the database not. `gone`: the other way round. `moved`: it is elsewhere. `changed`: its host was told otherwise. */
  class: oneOf(['unknown', 'gone', 'moved', 'changed']),
  type: oneOf(['instance', 'volume', 'snapshot', 'network', 'filter']),
  /** Where it is; of what is gone, where it was. */
  host: Type.String(),
  /** Its name at the host. */
  key: Type.String(),
  message: Type.String(),
  /** Resource it belongs to, where the database knows one. */
  uid: Type.Optional(Type.String()),
  kind: Type.Optional(Type.String()),
  name: Type.Optional(Type.String()),
  from: Type.Optional(Type.String()),
  fields: Type.Optional(Type.Array(Type.Object({ field: Type.String(), database: Type.String(), host: Type.String() }))),
  permitEpoch: Type.Optional(Type.Integer()),
  /** False: at the release it is withheld until its owner decides. */
  decided: Type.Boolean(),
});
export type RestoreDifference = Static<typeof RestoreDifference>;

export const RestoreDifferences = Type.Object({
  state: oneOf(['never-restored', 'standstill', 'released']),
  /** The newest restore. */
  restore: Type.Optional(
    Type.Object({
      epoch: Type.String(),
      backup: Type.String(),
      backupAt: Type.String(),
      backupBuild: Type.String(),
      restoredAt: Type.String(),
      releasedAt: Type.Optional(Type.String()),
      releasedBy: Type.Optional(Type.String()),
    }),
  ),
  /** `waiting`: not compared, since it has not reported since the restore. */
  hosts: Type.Array(Type.Object({ host: Type.String(), site: Type.String(), state: oneOf(['waiting', 'compared', 'released']) })),
  /** Hosts enrolled after the backup: make them known at their site, and they link. */
  strangers: Type.Array(Type.String()),
  items: Type.Array(RestoreDifference),
  /** What was released and waits for its owner. */
  withheld: Type.Array(Type.Object({ kind: Type.String(), name: Type.String(), message: Type.String(), since: Type.String() })),
});
export type RestoreDifferences = Static<typeof RestoreDifferences>;

export const RestoreRelease = Type.Object(
  {
    /** What becomes of what hosts were told otherwise: keep it (default), or apply what the database says. */
    changed: Type.Optional(oneOf(['keep', 'apply'])),
    /** Release although some hosts were not compared; they stay held until they were. */
    withoutHosts: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
);
export type RestoreRelease = Static<typeof RestoreRelease>;

export const RestoreReleased = Type.Object({
  hosts: Type.Array(Type.String()),
  /** Hosts that stay held until they were compared. */
  held: Type.Array(Type.String()),
  /** What moved, and the ledger followed. */
  followed: Type.Integer(),
  /** What waits for its owner. */
  withheld: Type.Integer(),
  /** What is unknown, and stays at its host. */
  kept: Type.Integer(),
  /** Runs of the backup's time that are not gone on with. */
  endedRuns: Type.Array(Type.String()),
});
export type RestoreReleased = Static<typeof RestoreReleased>;
