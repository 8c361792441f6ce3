import { setTimeout as rest } from 'node:timers/promises';
import type { Pool } from 'pg';

/** Channel of the change feed; the payload is empty. */
export const feedChannel = 'virt8ra_feed';

/** Between two rings, milliseconds. */
const pauseMs = 1;

export interface FeedBell {
  /** Tells every replica that the feed may have grown. Many rings become few. */
  ring(): void;
}

/**
 * Rung after the commit and not inside the transaction: NOTIFY takes one lock for the whole cluster until the commit is on disk, which
 * would put all writers in a row. A ring that is lost with its process is made up for by the readers' own looking.
 */
export function createFeedBell(pool: Pool): FeedBell {
  let ringing = false;
  let again = false;

  async function ringNow(): Promise<void> {
    do {
      again = false;
      await pool.query({ name: 'feed-bell', text: `select pg_notify('${feedChannel}', '')` });
      // Under many writes the readers are woken so often and no oftener; the first of them is told at once.
      await rest(pauseMs);
    } while (again);
  }

  return {
    ring() {
      again = true;
      if (ringing) return;
      ringing = true;
      ringNow()
        .catch(() => undefined)
        .finally(() => {
          ringing = false;
        });
    },
  };
}
