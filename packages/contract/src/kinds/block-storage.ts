import { type Static, Type } from 'typebox';
import { defineKind } from '../kind.js';
import { Placement, Reference, Sha256, statusShape, Timestamp } from '../shape.js';

/**
 * SECA block storage. Late binding: `active` with condition Placed / WaitingForFirstConsumer until an instance places it;
 * then it stays at its site until a migration moves it. The extension `virt8ra.site` binds it to a site before that, and
 * `virt8ra.backup` (NAME, or NAME/DISK for one of several) has it start from a backup.
 */
export const blockStorage = defineKind({
  kind: 'block-storage',
  provider: 'seca.storage',
  version: 'v1',
  collection: 'block-storages',
  scope: 'workspace',
  aliases: ['disk', 'disks', 'bs'],
  immutable: ['/skuRef', '/sourceImageRef'],
  summary: 'a disk for instances',
  spec: Type.Object(
    {
      sizeGB: Type.Integer({ minimum: 1, maximum: 1000000 }),
      skuRef: Reference,
      sourceImageRef: Type.Optional(Reference),
    },
    { additionalProperties: false },
  ),
  status: statusShape({
    sizeGB: Type.Integer({ maximum: 1000000 }),
    attachedTo: Type.Optional(Reference),
    placement: Type.Optional(Placement),
    /** Bytes that it takes at its host, as last seen. */
    allocatedBytes: Type.Optional(Type.Integer({ minimum: 0 })),
    /** The backup that it started from, and the point in time of that. */
    restoredFrom: Type.Optional(Type.Object({ backup: Type.String(), takenAt: Timestamp, sha256: Sha256 })),
  }),
});
export type BlockStorageSpec = Static<typeof blockStorage.spec>;
export type BlockStorageStatus = Static<typeof blockStorage.status & object>;
