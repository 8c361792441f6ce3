import { createHash, randomBytes } from 'node:crypto';
import { Problem } from '@virt8ra/contract';
import type { Pool } from 'pg';
import type { Subject } from '../kinds/behaviour.js';

export interface StreamTicket {
  readonly ticket: string;
  readonly expiresAt: string;
}

/** Tickets that open one stream once, at whichever replica. */
export interface StreamTickets {
  issue(subject: Subject, path: string): Promise<StreamTicket>;
  /** Who was given it. Raises `unauthorized` when it is unknown, used, too old or for another path. */
  redeem(ticket: string, path: string, remote: string): Promise<Subject>;
}

const lifeSeconds = 30;

export function createStreamTickets(pool: Pool): StreamTickets {
  return {
    async issue({ remote: _, ...subject }, path) {
      const ticket = randomBytes(32).toString('base64url');
      const written = await pool.query<{ expires_at: Date }>(
        `with old as (delete from stream_ticket where expires_at < clock_timestamp())
         insert into stream_ticket (hash, subject, path, expires_at)
         values ($1, $2, $3, clock_timestamp() + make_interval(secs => $4)) returning expires_at`,
        [hashOf(ticket), JSON.stringify(subject), path, lifeSeconds],
      );
      return { ticket, expiresAt: (written.rows[0]?.expires_at ?? new Date()).toISOString() };
    },
    async redeem(ticket, path, remote) {
      const taken = await pool.query<{ subject: Omit<Subject, 'remote'> }>(
        'delete from stream_ticket where hash = $1 and path = $2 and expires_at > clock_timestamp() returning subject',
        [hashOf(ticket), path],
      );
      const row = taken.rows[0];
      if (row === undefined) throw new Problem('unauthorized', 'the ticket is unknown, used, or older than 30 s; POST for another');
      return { ...row.subject, remote };
    },
  };
}

function hashOf(ticket: string): Buffer {
  return createHash('sha256').update(ticket).digest();
}
