import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { toProblem } from '@virt8ra/contract';
import type { Log } from '@virt8ra/engine';
import { Client, Pool } from 'pg';
import { migrations } from '../app-migrations.js';
import { readAuditSigner } from '../audit/audit-key.js';
import { verifyAudit } from '../audit/verify-audit.js';
import type { Config } from '../config.js';
import { migrate } from '../database/migrations.js';
import { type Database, startDatabase } from '../database/supervisor.js';
import { type BackupFile, openBackupFile } from './backup-file.js';
import { readPooled } from './content-pool.js';
import { assertKnownSchema, fillFromBackup } from './fill-from-backup.js';
import type { BackupManifest } from './manifest.js';
import { readPassphrase } from './passphrase.js';
import { tableDigests } from './table-digests.js';

export interface BackupVerification {
  readonly file: string;
  /** When the database was read. */
  readonly at: string;
  readonly build: string;
  readonly encrypted: boolean;
  readonly tables: number;
  readonly rows: number;
  readonly artifacts: { readonly checked: number; readonly bytes: number };
  readonly audit: { readonly checked: number; readonly unsealed: number };
  /** What does not hold, each a sentence. Empty: it can be restored, and is what was backed up. */
  readonly faults: readonly string[];
}

/**
 * Restores a backup aside, into a PostgreSQL of its own that is removed afterwards, and compares what came out with what the backup says of the
 * original: each table's rows and sums, the audit's chain, each content's digest, and that this version can bring the schema up to its own.
 * Raises what keeps it from being tried; what is wrong with the backup is a fault.
 */
export async function verifyBackup(path: string, config: Config, log: Log): Promise<BackupVerification> {
  const passphrase = await readPassphrase(config.controlPlaneBackup.passphraseFile);
  const file = await openBackupFile(path, passphrase);
  const { manifest } = file;
  const faults: string[] = manifest.missing.map((sha256) => `content ${sha256}, which a row names, was not there when the backup was made`);
  const scratch = await mkdtemp(join(tmpdir(), 'v8verify-'));
  // The database's account must pass; what is secret below is closed by itself.
  if (process.getuid?.() === 0) await chmod(scratch, 0o711);
  let database: Database | undefined;
  let audit = { checked: 0, unsealed: 0 };
  try {
    assertKnownSchema(manifest, config);
    await fillFromBackup(file, scratch, async () => {
      database = await startDatabase({
        config: { stateDirectory: scratch, runtimeDirectory: config.runtimeDirectory, database: { ...config.database, url: undefined } },
        log,
      });
      return database.connection;
    });
    if (database !== undefined) audit = await compare(database, file, scratch, config, log, faults);
  } catch (error) {
    const problem = toProblem(error);
    // Neither says anything about the backup: it could not be tried.
    if (problem.kind !== 'validation' && problem.kind !== 'conflict') throw problem;
    faults.push(problem.message);
  } finally {
    await (database as Database | undefined)?.stop();
    await rm(scratch, { recursive: true, force: true });
  }
  let [checked, bytes] = [0, 0];
  for (const artifact of manifest.artifacts) {
    try {
      for await (const octets of readPooled(dirname(path), artifact.sha256, passphrase)) bytes += octets.length;
      checked += 1;
    } catch (error) {
      faults.push(toProblem(error).message);
    }
  }
  const counts = Object.values(manifest.tables);
  return {
    file: path,
    at: manifest.at,
    build: manifest.build,
    encrypted: file.keys !== undefined,
    tables: counts.length,
    rows: counts.reduce((sum, { rows }) => sum + rows, 0),
    artifacts: { checked, bytes },
    audit,
    faults,
  };
}

async function compare(
  { connection }: Database,
  { manifest }: BackupFile,
  scratch: string,
  config: Config,
  log: Log,
  faults: string[],
): Promise<BackupVerification['audit']> {
  const client = new Client(connection);
  client.on('error', () => undefined);
  await client.connect();
  try {
    await client.query('begin isolation level repeatable read read only');
    compareTables(manifest.tables, await tableDigests(client), faults);
    await client.query('commit');
  } finally {
    await client.end();
  }
  const pool = new Pool({ ...connection, max: 2 });
  pool.on('error', () => undefined);
  try {
    await migrate(pool, migrations, log);
    const signer = await readAuditSigner({ stateDirectory: scratch, region: config.region });
    if (signer === undefined) {
      faults.push('the key of the audit is not in the backup');
      return { checked: 0, unsealed: 0 };
    }
    const { auditHead } = manifest;
    const expected = auditHead === undefined ? {} : { expected: { position: BigInt(auditHead.position), hash: auditHead.hash } };
    const found = await verifyAudit(pool, { signer, ...expected });
    faults.push(...found.faults.map(({ position, message }) => `audit, position ${position}: ${message}`));
    return { checked: found.checked, unsealed: found.unsealed?.rows ?? 0 };
  } finally {
    await pool.end();
  }
}

function compareTables(wanted: BackupManifest['tables'], found: BackupManifest['tables'], faults: string[]): void {
  for (const name of new Set([...Object.keys(wanted), ...Object.keys(found)])) {
    const [before, after] = [wanted[name], found[name]];
    if (before === undefined) faults.push(`table ${name} came out and was not backed up`);
    else if (after === undefined) faults.push(`table ${name} did not come out`);
    else if (before.rows !== after.rows) faults.push(`table ${name} had ${before.rows} rows, and ${after.rows} came out`);
    else if (before.digest !== after.digest) faults.push(`table ${name} has other rows than were backed up`);
  }
}
