import { setTimeout as pause } from 'node:timers/promises';
import type { Log, Queryable } from '@virt8ra/engine';
import type { Pool, PoolClient } from 'pg';

/** The one channel of the fleet. The payload is a host: something about it changed; what, the database says. */
const channel = 'virt8ra_fleet';

/** Tells every replica when the transaction commits. */
export async function tellFleet(client: Queryable, host: string): Promise<void> {
  await client.query('select pg_notify($1, $2)', [channel, host]);
}

export interface FleetSignals {
  /** Resolves when the first connection listens; from then on it reconnects by itself. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

/**
 * LISTEN on a connection that is kept for good. Signals are a convenience: they are lost while the connection is down, so that whoever uses
 * them looks by itself from time to time as well; `undefined` says that any may have been missed.
 */
export function createFleetSignals(pool: Pool, log: Log, onSignal: (host: string | undefined) => void): FleetSignals {
  let held: PoolClient | undefined;
  const stopping = new AbortController();
  let connecting: Promise<void> = Promise.resolve();

  async function connect(): Promise<void> {
    const client = await pool.connect();
    const lost = (error?: Error): void => {
      if (held !== client) return;
      held = undefined;
      log.warn('the fleet’s notification connection broke', { error: error?.message });
      client.release(true);
      connecting = reconnect();
    };
    client.on('notification', (message) => onSignal(message.payload ?? undefined));
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
    onSignal(undefined);
  }

  async function reconnect(): Promise<void> {
    for (let pauseMs = 100; !stopping.signal.aborted; pauseMs = Math.min(pauseMs * 2, 5000)) {
      await pause(pauseMs, undefined, { signal: stopping.signal }).catch(() => undefined);
      if (stopping.signal.aborted) return;
      try {
        return await connect();
      } catch (error) {
        log.debug('the fleet’s notification connection could not be opened', { error: String(error) });
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
