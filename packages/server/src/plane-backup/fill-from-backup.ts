import { mkdir } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import { Problem } from '@virt8ra/contract';
import { Client, type ClientConfig } from 'pg';
import { migrations } from '../app-migrations.js';
import { syncDirectory } from '../files/atomic-file.js';
import type { BackupFile } from './backup-file.js';
import { writeStream } from './content-pool.js';
import { type BackupManifest, databasePart } from './manifest.js';
import { findPgTool, restoreDump } from './pg-tools.js';

/** Raises `conflict` for a backup of a newer schema than this release has, or of a schema that is no ancestor of it. */
export function assertKnownSchema({ schema, build, region }: BackupManifest, config: { readonly region: string }): void {
  const unknown = schema.filter(
    ({ area, name, position }) => migrations.find((list) => list.area === area)?.migrations[position]?.name !== name,
  );
  const [first] = unknown;
  if (first !== undefined)
    throw new Problem(
      'conflict',
      `the backup was made by a newer server (${build}): its database has the change ${first.area}/${first.name}, which this version does not know. Restore it with that version or a newer one`,
    );
  if (region !== config.region)
    throw new Problem('validation', `the backup is of region ${region}: name it (--region ${region})`, {
      sources: [{ parameter: '--region' }],
    });
}

/**
 * Brings files and rows of a backup into an empty state directory and an empty database. The file is checked to its end before anything is
 * written. Raises `validation` for a damaged one, `unavailable` where the tools are missing or the database is of an older PostgreSQL.
 */
export async function fillFromBackup(file: BackupFile, stateDirectory: string, connect: () => Promise<ClientConfig>): Promise<void> {
  await file.each(async () => undefined);
  const { postgres } = file.manifest;
  const tool = await findPgTool('pg_restore', postgres.dumpMajor);
  await file.each(async (name, content) => {
    if (name === databasePart) {
      const connection = await connect();
      await assertMajor(connection, postgres.major);
      return await restoreDump(tool, connection, content);
    }
    const path = join(stateDirectory, name.replace(/^state\//, ''));
    if (!name.startsWith('state/') || normalize(path) !== path || !path.startsWith(`${stateDirectory}/`))
      throw new Problem('validation', `the backup has a part that no state directory has: ${name}`);
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await writeStream(path, content);
    await syncDirectory(dirname(path));
  });
}

async function assertMajor(connection: ClientConfig, least: number): Promise<void> {
  const client = new Client(connection);
  client.on('error', () => undefined);
  await client.connect();
  try {
    const { rows } = await client.query<{ major: number; tables: string }>(
      `select current_setting('server_version_num')::int / 10000 as major,
              (select count(*) from pg_class join pg_namespace on pg_namespace.oid = relnamespace where relkind = 'r'
                  and nspname not in ('pg_catalog', 'information_schema') and nspname !~ '^pg_') as tables`,
    );
    const [row] = rows;
    if ((row?.major ?? 0) < least)
      throw new Problem(
        'unavailable',
        `the backup is of PostgreSQL ${least}, and this database is of ${row?.major}: install PostgreSQL ${least} or newer`,
      );
    if (row?.tables !== '0')
      throw new Problem('conflict', 'the database has tables already: a control plane backup is restored into an empty one only');
  } finally {
    await client.end();
  }
}
