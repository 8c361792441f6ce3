import { type Static, Type } from 'typebox';
import { defineKind } from '../kind.js';
import { oneOf, Reference, Sha256, statusShape, Timestamp } from '../shape.js';
import { fixedSubject, pointInTime } from './point-in-time.js';

/**
 * How much of what was under way in the guest a backup has. `offline`: nothing ran. `file-system`: the guest's file systems were at rest.
 * `crash`: as after a power failure.
 */
export const backupConsistencies = ['offline', 'file-system', 'crash'] as const;
export type BackupConsistency = (typeof backupConsistencies)[number];

export const backupPhases = ['waiting', 'copying', 'sending', 'storing', 'done', 'failed'] as const;
export type BackupPhase = (typeof backupPhases)[number];

/** Of all block storages of an instance, at one point in time, or of one. */
export const BackupSubject = [
  Type.Object({ instanceRef: Reference }, { additionalProperties: false }),
  Type.Object({ blockStorageRef: Reference }, { additionalProperties: false }),
] as const;

/**
 * The content of block storages at one point in time, in the artifact store and independent of where it came from. A block storage starts from it
 * by the extension `virt8ra.backup`. POST `cancel` calls it off before it is done.
 */
export const backup = defineKind({
  ...pointInTime,
  ...fixedSubject,
  kind: 'backup',
  collection: 'backups',
  actions: ['cancel'],
  summary: 'the content of block storages at one point in time',
  spec: Type.Union([...BackupSubject]),
  status: statusShape({
    phase: Type.Optional(oneOf(backupPhases)),
    takenAt: Type.Optional(Timestamp),
    consistency: Type.Optional(oneOf(backupConsistencies)),
    /** Boot volume first; `file` once it is in the artifact store. */
    volumes: Type.Optional(
      Type.Array(
        Type.Object({
          blockStorageRef: Reference,
          /** What a guest sees, in bytes. */
          sizeBytes: Type.Integer({ minimum: 1 }),
          sha256: Type.Optional(Sha256),
          /** What it takes in the artifact store, in bytes. */
          fileBytes: Type.Optional(Type.Integer({ minimum: 1 })),
        }),
      ),
    ),
    problem: Type.Optional(Type.String()),
    problemCode: Type.Optional(Type.String()),
  }),
});
export type BackupSpec = Static<typeof backup.spec>;

/** Makes a backup every so often and keeps the last few that are done. Times are UTC. */
export const backupSchedule = defineKind({
  ...pointInTime,
  kind: 'backup-schedule',
  collection: 'backup-schedules',
  aliases: ['schedule', 'schedules'],
  summary: 'makes backups by the clock and keeps the last few',
  spec: Type.Object(
    {
      of: Type.Union([...BackupSubject]),
      every: Type.Union([
        Type.Object({ hours: Type.Integer({ minimum: 1, maximum: 8760 }) }, { additionalProperties: false }),
        Type.Object({ dailyAt: Type.String({ pattern: '^([01][0-9]|2[0-3]):[0-5][0-9]$' }) }, { additionalProperties: false }),
      ]),
      /** How many backups of this schedule are kept; older ones are deleted once a newer one is done. */
      keep: Type.Integer({ minimum: 1, maximum: 1000 }),
    },
    { additionalProperties: false },
  ),
  status: statusShape({
    nextAt: Type.Optional(Timestamp),
    lastAt: Type.Optional(Timestamp),
    lastBackupRef: Type.Optional(Reference),
    /** Backups of this schedule that are done. */
    kept: Type.Optional(Type.Integer({ minimum: 0 })),
  }),
});
export type BackupScheduleSpec = Static<typeof backupSchedule.spec>;
