import { toProblem } from '@virt8ra/contract';
import type { Log } from '@virt8ra/engine';
import type { PoolConfig } from 'pg';
import type { Config } from '../config.js';
import type { Metrics } from '../telemetry/metrics.js';
import { listBackups, readLastAttempt } from './backup-set.js';
import { makeBackup } from './make-backup.js';

export interface ScheduleOptions {
  readonly config: Config;
  readonly connection: PoolConfig;
  /** While it answers true none is due: what is not released yet must not crowd out what it was restored from. */
  readonly isHeld: () => boolean;
  readonly log: Log;
  readonly now?: () => number;
}

const lookMs = 60_000;
/** After a failure, before the next attempt. */
const retryMs = 15 * 60_000;

/** Makes a control plane backup whenever the newest is old enough; of several servers on one directory one does. Answers how to stop it. */
export function startBackupSchedule(options: ScheduleOptions): () => Promise<void> {
  const { config, log, now = Date.now } = options;
  const { directory, everyHours } = config.controlPlaneBackup;
  if (directory === undefined) return async () => undefined;
  let failedAt = Number.NEGATIVE_INFINITY;
  let working: Promise<void> | undefined;

  const look = async (): Promise<void> => {
    if (options.isHeld() || now() - failedAt < retryMs) return;
    const newest = (await listBackups(directory))[0]?.at.getTime() ?? Number.NEGATIVE_INFINITY;
    if (now() - newest < everyHours * 3_600_000) return;
    try {
      await makeBackup({ config, directory, connection: options.connection, log });
    } catch {
      // It has said so, in the log and beside the backups; or another replica makes one there.
      failedAt = now();
    }
  };
  const timer = setInterval(() => {
    working ??= look()
      .catch((error: unknown) => log.warn('a control plane backup could not be begun', { problem: toProblem(error).message }))
      .finally(() => {
        working = undefined;
      });
  }, lookMs);
  return async () => {
    clearInterval(timer);
    await working;
  };
}

/** When the newest backup was made, how it went, and how large it is, as the directory itself says. */
export function addBackupGauges(metrics: Metrics, directory: string | undefined): void {
  if (directory === undefined) return;
  metrics.gauge(
    'virt8ra_control_plane_backup_seconds',
    'When the newest whole control plane backup was made, seconds since 1970; 0: there is none.',
    async () => ((await listBackups(directory))[0]?.at.getTime() ?? 0) / 1000,
  );
  metrics.gauge('virt8ra_control_plane_backup_ok', 'Whether the last attempt at a control plane backup succeeded.', async () =>
    (await readLastAttempt(directory))?.ok === true ? 1 : 0,
  );
  metrics.gauge(
    'virt8ra_control_plane_backup_bytes',
    'Size of the newest control plane backup, without the content beside it.',
    async () => (await readLastAttempt(directory))?.bytes ?? 0,
  );
}
