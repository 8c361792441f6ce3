import { toProblem } from '@virt8ra/contract';
import type { Log } from '@virt8ra/engine';
import type { Pool } from 'pg';

export interface RestoreFacts {
  /** Of the database since then. */
  readonly epoch: string;
  readonly backup: string;
  readonly backupAt: string;
  readonly backupBuild: string;
  readonly restoredAt: string;
  readonly releasedAt?: string;
  readonly releasedBy?: string;
}

/** Whether this control plane stands still since a restore: it answers reads, compares, and changes nothing at any site. */
export interface Standstill {
  readonly isHeld: boolean;
  /** Called once, when it is released here or by another replica; at once when it does not stand still. */
  whenReleased(begin: () => Promise<void>): Promise<void>;
  /** Looks now instead of within a second. */
  look(): Promise<void>;
  stop(): void;
}

const lookMs = 1000;

/** The newest restore of this database; undefined: there was none. */
export async function readRestore(on: Pick<Pool, 'query'>): Promise<RestoreFacts | undefined> {
  const { rows } = await on.query<{
    epoch: string;
    backup: string;
    backup_at: Date;
    backup_build: string;
    restored_at: Date;
    released_at: Date | null;
    released_by: string | null;
  }>('select * from fleet.restore order by restored_at desc limit 1');
  const [row] = rows;
  if (row === undefined) return undefined;
  return {
    epoch: row.epoch,
    backup: row.backup,
    backupAt: row.backup_at.toISOString(),
    backupBuild: row.backup_build,
    restoredAt: row.restored_at.toISOString(),
    ...(row.released_at === null ? {} : { releasedAt: row.released_at.toISOString() }),
    ...(row.released_by === null ? {} : { releasedBy: row.released_by }),
  };
}

export async function openStandstill(pool: Pool, log: Log): Promise<Standstill> {
  const held = async (): Promise<boolean> => {
    const restore = await readRestore(pool);
    return restore !== undefined && restore.releasedAt === undefined;
  };
  let isHeld = await held();
  const waiting: (() => Promise<void>)[] = [];
  let timer: NodeJS.Timeout | undefined;
  const look = async (): Promise<void> => {
    if (!isHeld || (await held())) return;
    isHeld = false;
    clearInterval(timer);
    log.info('the control plane was released after its restore');
    for (const begin of waiting.splice(0)) await begin();
  };
  if (isHeld) {
    log.warn('the control plane was restored and stands still until it is released: virt8ra restore show');
    timer = setInterval(() => {
      look().catch((error: unknown) => log.error('the release could not be followed', { problem: toProblem(error).message }));
    }, lookMs);
    timer.unref();
  }
  return {
    get isHeld() {
      return isHeld;
    },
    async whenReleased(begin) {
      if (isHeld) waiting.push(begin);
      else await begin();
    },
    look,
    stop: () => clearInterval(timer),
  };
}
