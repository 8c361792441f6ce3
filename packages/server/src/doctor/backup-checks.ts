import { type Finding, found, toProblem } from '@virt8ra/contract';
import { Client } from 'pg';
import type { Config } from '../config.js';
import { runningDatabase } from '../database/running-database.js';
import { listBackups, readLastAttempt } from '../plane-backup/backup-set.js';
import { findPgTool } from '../plane-backup/pg-tools.js';

const hourMs = 3_600_000;

/** Whether control plane backups are made, how old the newest is, how the last attempt went, and whether one could be made here at all. */
export async function checkBackups(config: Config): Promise<readonly Finding[]> {
  const { directory, everyHours } = config.controlPlaneBackup;
  if (directory === undefined)
    return [
      found(
        'control-plane-backup/schedule',
        'warn',
        'no control plane backup is made on a schedule',
        'set controlPlaneBackup.directory (docs/operating/backup.md), or run virt8ra-server backup by other means',
      ),
      await toolFinding(config),
    ];
  const last = await readLastAttempt(directory);
  const [newest] = await listBackups(directory);
  const ageHours = newest === undefined ? undefined : (Date.now() - newest.at.getTime()) / hourMs;
  const age =
    ageHours === undefined || newest === undefined
      ? found(
          'control-plane-backup/age',
          'warn',
          `there is no control plane backup in ${directory} yet`,
          'wait for the schedule, or make one: virt8ra-server backup',
        )
      : found(
          'control-plane-backup/age',
          ageHours > everyHours * 2 + 1 ? 'fail' : 'pass',
          `the newest, ${newest.name}, is ${ageHours.toFixed(1)} hours old`,
          'see what the last attempt says, and the server’s log',
        );
  return [
    age,
    ...(last === undefined
      ? []
      : [
          found(
            'control-plane-backup/last',
            last.ok ? 'pass' : 'fail',
            last.ok
              ? `the last attempt, at ${last.at}, took ${last.seconds} s and ${last.bytes ?? 0} bytes`
              : `the last attempt, at ${last.at}, failed: ${last.problem ?? ''}`,
            'mend what it says and run virt8ra-server backup',
          ),
        ]),
    await toolFinding(config),
  ];
}

/** Without the right pg_dump none can be made. */
async function toolFinding(config: Config): Promise<Finding> {
  const check = 'control-plane-backup/tool';
  try {
    const client = new Client({ ...(await runningDatabase(config)), connectionTimeoutMillis: 10_000 });
    client.on('error', () => undefined);
    await client.connect();
    try {
      const { rows } = await client.query<{ major: number }>(`select current_setting('server_version_num')::int / 10000 as major`);
      const tool = await findPgTool('pg_dump', rows[0]?.major ?? 0);
      return found(check, 'pass', `pg_dump of PostgreSQL ${tool.major}`);
    } finally {
      await client.end();
    }
  } catch (error) {
    return found(
      check,
      'warn',
      `a control plane backup could not be made now: ${toProblem(error).message}`,
      'install the client of PostgreSQL, or let the database run',
    );
  }
}
