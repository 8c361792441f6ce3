import { randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { chmod, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Problem, toProblem } from '@virt8ra/contract';
import type { Log } from '@virt8ra/engine';
import { Client, type ClientConfig } from 'pg';
import { usedArtifacts } from '../artifacts/collector.js';
import type { Config } from '../config.js';
import { errorCode, syncDirectory } from '../files/atomic-file.js';
import { lockFile } from '../files/file-lock.js';
import { serverVersion } from '../version.js';
import { writeBackupFile } from './backup-file.js';
import { backupName, pruneBackups, readLastAttempt, writeLastAttempt } from './backup-set.js';
import { poolContent, touchContent } from './content-pool.js';
import { type BackupManifest, databasePart } from './manifest.js';
import { readPassphrase } from './passphrase.js';
import { dumpOf, findPgTool } from './pg-tools.js';
import { stateFiles } from './state-files.js';
import { tableDigests } from './table-digests.js';

export interface MadeBackup {
  readonly path: string;
  readonly bytes: number;
  readonly seconds: number;
  readonly manifest: BackupManifest;
  /** Older ones that went. */
  readonly pruned: number;
}

export interface BackupRequest {
  readonly config: Config;
  readonly directory: string;
  readonly connection: ClientConfig;
  readonly log: Log;
}

/**
 * Makes one control plane backup, of a running server too: the database as one snapshot saw it, the state directory's files, then the content that
 * this snapshot names. It comes under its name only when all of it is on the disk. Raises `conflict` while another is being made there, `exhausted`
 * when there is no room, `unavailable` when the database or its tools are not there.
 */
export async function makeBackup(request: BackupRequest): Promise<MadeBackup> {
  const { directory, log } = request;
  const startedAt = performance.now();
  const at = new Date();
  const seconds = (): number => Math.round(performance.now() - startedAt) / 1000;
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new Problem('unavailable', `the directory ${directory} cannot be made: ${(cause as Error).message}`, { cause });
  }
  const lock = await lockFile(join(directory, 'backup.lock'), 'exclusive', { wait: false });
  if (lock === undefined) throw new Problem('conflict', `another backup is being made in ${directory}`);
  try {
    const made = await write(request, at);
    const pruned = await pruneBackups(directory, request.config.controlPlaneBackup, new Date());
    const { path, bytes } = made;
    await writeLastAttempt(directory, { at: at.toISOString(), ok: true, seconds: seconds(), file: path, bytes });
    log.info('a control plane backup was made', { file: path, bytes, seconds: seconds(), pruned });
    return { ...made, seconds: seconds(), pruned };
  } catch (error) {
    const problem = problemOfWriting(error, directory);
    const before = await readLastAttempt(directory);
    const lastGood = before?.ok === true && before.file !== undefined ? { file: before.file, at: before.at } : before?.lastGood;
    const attempt = { at: at.toISOString(), ok: false, seconds: seconds(), problem: problem.message };
    // On a full disk this cannot be kept either; the log has it.
    await writeLastAttempt(directory, lastGood === undefined ? attempt : { ...attempt, lastGood }).catch(() => undefined);
    log.error('a control plane backup failed', { directory, problem: problem.message });
    throw problem;
  } finally {
    await lock.release();
  }
}

async function write({ config, directory, connection }: BackupRequest, at: Date): Promise<Omit<MadeBackup, 'seconds' | 'pruned'>> {
  const { stateDirectory, artifacts } = config;
  const passphrase = await readPassphrase(config.controlPlaneBackup.passphraseFile);
  const partial = join(directory, `.${randomBytes(6).toString('hex')}.partial`);
  const client = new Client({ ...connection, connectionTimeoutMillis: 10_000, application_name: 'virt8ra-server backup' });
  client.on('error', () => undefined);
  await client.connect().catch((cause: unknown) => {
    throw new Problem('unavailable', `the database cannot be reached: ${(cause as Error).message}`, { cause });
  });
  const file = await open(partial, 'wx', 0o600);
  try {
    await client.query('set idle_in_transaction_session_timeout = 0');
    await client.query('begin isolation level repeatable read read only');
    const { major, snapshot, book } = await whereItStands(client);
    if (book === null) throw new Problem('conflict', 'the database was never used by a server: there is nothing to back up');
    const tool = await findPgTool('pg_dump', major);
    const used = (await usedArtifacts(client)).digests;
    await touchContent(artifacts.directory, used);
    const names = await stateFiles(stateDirectory, [artifacts.directory, directory]);
    const parts = [
      ...names.map((name) => ({
        name: `state/${name}`,
        content: () => createReadStream(join(stateDirectory, name)) as AsyncIterable<Buffer>,
      })),
      { name: databasePart, content: () => dumpOf(tool, connection, snapshot) },
    ];
    const written = await writeBackupFile(file, passphrase, parts, async (told) => {
      const facts = await readFacts(client);
      await client.query('commit');
      return {
        format: 1,
        at: at.toISOString(),
        build: serverVersion(),
        region: config.region,
        ...facts,
        postgres: { major, dumpMajor: tool.major },
        parts: told,
        // After the dump: whatever a row names was there before the row.
        ...(await poolContent(directory, artifacts.directory, used, passphrase)),
      };
    });
    await chmod(partial, 0o600);
    const path = await publish(directory, partial, at);
    return { path, ...written };
  } finally {
    await file.close();
    await rm(partial, { force: true });
    await client.end().catch(() => undefined);
  }
}

/** Never over another of the same second; whoever else makes backups here waits for the lock. */
async function publish(directory: string, partial: string, at: Date): Promise<string> {
  for (let attempt = 0; ; attempt += 1) {
    const path = join(directory, backupName(at, attempt));
    if ((await stat(path).catch(() => undefined)) !== undefined) continue;
    await rename(partial, path);
    await syncDirectory(directory);
    return path;
  }
}

async function whereItStands(client: Client): Promise<{ readonly major: number; readonly snapshot: string; readonly book: string | null }> {
  const { rows } = await client.query<{ major: number; snapshot: string; book: string | null }>(
    `select current_setting('server_version_num')::int / 10000 as major, pg_export_snapshot() as snapshot,
            to_regclass('control.migration')::text as book`,
  );
  const [row] = rows;
  if (row === undefined) throw new Problem('internal', 'the database does not say where it stands');
  return row;
}

async function readFacts(client: Client): Promise<Pick<BackupManifest, 'epoch' | 'schema' | 'tables' | 'auditHead'>> {
  const plane = await client.query<{ epoch: string }>('select epoch from control.plane');
  const schema = await client.query<BackupManifest['schema'][number]>(
    'select area, name, position, checksum from control.migration order by area, position',
  );
  const seals = await client.query<{ present: boolean }>(`select to_regclass('audit_seal') is not null as present`);
  const heads =
    seals.rows[0]?.present === true
      ? (
          await client.query<{ position: string; hash: Buffer }>(
            'select position::text, hash from audit_seal order by audit_seal.position desc limit 1',
          )
        ).rows
      : [];
  const [head] = heads;
  return {
    epoch: plane.rows[0]?.epoch ?? '',
    schema: schema.rows,
    tables: await tableDigests(client),
    ...(head === undefined ? {} : { auditHead: { position: Number(head.position), hash: head.hash.toString('hex') } }),
  };
}

function problemOfWriting(error: unknown, directory: string): Problem {
  if (errorCode(error) === 'ENOSPC' || errorCode(error) === 'EDQUOT')
    return new Problem(
      'exhausted',
      `there is no room left in ${directory} for the backup; nothing of it was kept. Free space there, or keep fewer (controlPlaneBackup.keep)`,
      { cause: error },
    );
  return toProblem(error);
}
