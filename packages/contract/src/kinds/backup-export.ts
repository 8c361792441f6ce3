import { type Static, Type } from 'typebox';
import { defineKind } from '../kind.js';
import { oneOf, Reference, Sha256, statusShape } from '../shape.js';

export const exportFormats = ['ova', 'qcow2', 'raw', 'vmdk'] as const;
export type ExportFormat = (typeof exportFormats)[number];

/**
 * A backup as files of an open format: one OVA of the whole machine, or one file for each disk. They are read by `GET …/backup-exports/NAME/files/FILE`,
 * from any offset, until the export is deleted. POST `cancel` ends it before it is done.
 */
export const backupExport = defineKind({
  kind: 'backup-export',
  provider: 'virt8ra.migration',
  version: 'v1beta1',
  collection: 'backup-exports',
  scope: 'workspace',
  immutable: ['/backupRef', '/format'],
  actions: ['cancel'],
  summary: 'a backup as files of an open format, to be taken elsewhere',
  spec: Type.Object({ backupRef: Reference, format: oneOf(exportFormats) }, { additionalProperties: false }),
  status: statusShape({
    phase: Type.Optional(oneOf(['waiting', 'converting', 'done', 'failed'])),
    /** Boot disk first. */
    files: Type.Optional(
      Type.Array(Type.Object({ name: Type.String({ maxLength: 256 }), sha256: Sha256, fileBytes: Type.Integer({ minimum: 1 }) })),
    ),
  }),
});
export type BackupExportSpec = Static<typeof backupExport.spec>;
