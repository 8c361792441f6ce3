import { setTimeout as pause } from 'node:timers/promises';
import type { Log } from '@virt8ra/engine';
import type { Pool, PoolClient } from 'pg';

export interface Notifications {
  /** Resolves when the first connection listens; from then on it reconnects by itself. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

/**
 * LISTEN on a connection that is kept for good. Notifications are a convenience: they are lost while the connection is down, so that
 * whoever uses them looks by itself from time to time as well; `undefined` says that any may have been missed.
 */
export function createNotifications(options: {
  readonly pool: Pool;
  readonly channel: string;
  readonly log: Log;
  readonly onNotification: (payload: string | undefined) => void;
}): Notifications {
  const { pool, channel, log, onNotification } = options;
  const stopping = new AbortController();
  let held: PoolClient | undefined;
  let connecting: Promise<void> = Promise.resolve();

  async function connect(): Promise<void> {
    const client = await pool.connect();
    const lost = (error?: Error): void => {
      if (held !== client) return;
      held = undefined;
      log.warn('a notification connection broke', { channel, error: error?.message });
      client.release(true);
      connecting = reconnect();
    };
    client.on('notification', (message) => onNotification(message.payload ?? undefined));
    client.on('error', lost);
    client.on('end', lost);
    try {
      await client.query(`listen ${channel}`);
    } catch (error) {
      client.release(true);
      throw error;
    }
    if (stopping.signal.aborted) {
      client.release(true);
      return;
    }
    held = client;
    onNotification(undefined);
  }

  async function reconnect(): Promise<void> {
    for (let pauseMs = 100; !stopping.signal.aborted; pauseMs = Math.min(pauseMs * 2, 5000)) {
      await pause(pauseMs, undefined, { signal: stopping.signal }).catch(() => undefined);
      if (stopping.signal.aborted) return;
      try {
        return await connect();
      } catch (error) {
        log.debug('a notification connection could not be opened', { channel, error: String(error) });
      }
    }
  }

  return {
    start: connect,
    async stop() {
      stopping.abort();
      await connecting;
      const client = held;
      held = undefined;
      // Destroyed rather than returned: the pool must not hand out a connection that still listens.
      client?.release(true);
    },
  };
}
