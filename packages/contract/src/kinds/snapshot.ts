import { type Static, Type } from 'typebox';
import { defineKind } from '../kind.js';
import { oneOf, Reference, statusShape, Timestamp } from '../shape.js';
import { BackupSubject, backupConsistencies } from './backup.js';
import { fixedSubject, pointInTime } from './point-in-time.js';

export const snapshotPhases = ['waiting', 'taken', 'reverting'] as const;

/**
 * A point in time of block storages, kept in them at their host: made at once, and gone with them. What has one is not moved. POST `revert` makes
 * the block storages what they were; their instance must be off.
 */
export const snapshot = defineKind({
  ...pointInTime,
  ...fixedSubject,
  kind: 'snapshot',
  collection: 'snapshots',
  actions: ['revert'],
  summary: 'a point in time of block storages, kept at their host',
  spec: Type.Union([...BackupSubject]),
  status: statusShape({
    phase: Type.Optional(oneOf(snapshotPhases)),
    takenAt: Type.Optional(Timestamp),
    consistency: Type.Optional(oneOf(backupConsistencies)),
    /** Boot volume first. */
    volumes: Type.Optional(
      Type.Array(
        Type.Object({
          blockStorageRef: Reference,
          /** What a guest saw, in bytes. */
          sizeBytes: Type.Integer({ minimum: 1 }),
        }),
      ),
    ),
    /** When the block storages last became what they were. */
    revertedAt: Type.Optional(Timestamp),
  }),
});
export type SnapshotSpec = Static<typeof snapshot.spec>;
