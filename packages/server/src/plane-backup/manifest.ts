import { type Static, Type } from 'typebox';

/** What a control plane backup says of itself. Readable without the passphrase; holds no secrets. */
export const BackupManifest = Type.Object({
  format: Type.Literal(1),
  /** When the database was read. */
  at: Type.String(),
  /** Release that made it. */
  build: Type.String(),
  region: Type.String(),
  /** Of the database. */
  epoch: Type.String(),
  postgres: Type.Object({ major: Type.Integer(), dumpMajor: Type.Integer() }),
  /** Every migration that the database has had, as its book says. */
  schema: Type.Array(Type.Object({ area: Type.String(), name: Type.String(), position: Type.Integer(), checksum: Type.String() })),
  /** By name: rows, and the sum of the hashes of them all. */
  tables: Type.Record(Type.String(), Type.Object({ rows: Type.Integer(), digest: Type.String() })),
  /** Where the audit's chain stood; absent: nothing was sealed. */
  auditHead: Type.Optional(Type.Object({ position: Type.Integer(), hash: Type.String() })),
  /** In the order in which they lie in the file. Files of the state directory by their path in it, and the dump as `database`. */
  parts: Type.Array(Type.Object({ name: Type.String(), bytes: Type.Integer(), sha256: Type.String() })),
  /** Content that rows name, beside the file in `content/`. */
  artifacts: Type.Array(Type.Object({ sha256: Type.String(), bytes: Type.Integer(), description: Type.String() })),
  /** Digests that rows name and that were not there. */
  missing: Type.Array(Type.String()),
});
export type BackupManifest = Static<typeof BackupManifest>;

export const databasePart = 'database';
