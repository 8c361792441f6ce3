import type { Pool, PoolClient } from 'pg';
import { backoffSeconds } from '../backoff.js';
import type { Log } from '../log.js';

/** The one NOTIFY channel of the engine. Payloads: `due <seconds>`, `held <key>`, `ended <run id>`. */
export const engineChannel = 'virt8ra_engine';

/** Something happened in the database that a replica may care about. */
export type Signal =
  | { readonly type: 'due'; readonly afterSeconds: number }
  /** A key was nudged while someone works on it. */
  | { readonly type: 'held'; readonly key: string }
  | { readonly type: 'ended'; readonly runId: string }
  /** The connection is up (again): anything may have been missed. */
  | { readonly type: 'connected' };

export interface Listener {
  /** Returns the function that ends the subscription. Callbacks must not throw. */
  on(callback: (signal: Signal) => void): () => void;
  /** Resolves when the first connection listens; from then on it reconnects by itself. */
  start(): Promise<void>;
  stop(): void;
}

/**
 * LISTEN on one connection of the pool that is kept for good. It needs a session of its own, so no transaction-mode pooler may stand
 * between. Signals are a convenience: whoever uses them must also look by itself from time to time.
 */
export function createListener(options: { readonly pool: Pool; readonly log: Log }): Listener {
  const { pool, log } = options;
  const callbacks = new Set<(signal: Signal) => void>();
  let client: PoolClient | undefined;
  let stopped = false;
  let failures = 0;
  let timer: NodeJS.Timeout | undefined;

  function emit(signal: Signal): void {
    for (const callback of callbacks) callback(signal);
  }

  async function connect(): Promise<void> {
    const fresh = await pool.connect();
    if (stopped) {
      fresh.release();
      return;
    }
    fresh.on('notification', (message) => {
      const signal = signalFromPayload(message.payload ?? '');
      if (signal !== undefined) emit(signal);
    });
    const onLoss = (error?: Error): void => {
      if (client !== fresh) return;
      client = undefined;
      log.warn('the notification connection broke', { error: error?.message });
      fresh.release(true);
      reconnect();
    };
    fresh.on('error', onLoss);
    fresh.on('end', onLoss);
    try {
      await fresh.query(`listen ${engineChannel}`);
    } catch (error) {
      fresh.release(true);
      throw error;
    }
    client = fresh;
    failures = 0;
    emit({ type: 'connected' });
  }

  function reconnect(): void {
    if (stopped) return;
    failures += 1;
    timer = setTimeout(
      () => {
        connect().catch((error: unknown) => {
          log.debug('the notification connection could not be opened', { error: String(error) });
          reconnect();
        });
      },
      backoffSeconds({ baseSeconds: 0.1, capSeconds: 5 }, failures) * 1000,
    );
  }

  return {
    on(callback) {
      callbacks.add(callback);
      return () => callbacks.delete(callback);
    },
    start: connect,
    stop() {
      stopped = true;
      clearTimeout(timer);
      const held = client;
      client = undefined;
      // Destroyed rather than returned: the pool must not hand out a connection that still listens.
      held?.release(true);
    },
  };
}

function signalFromPayload(payload: string): Signal | undefined {
  const space = payload.indexOf(' ');
  const rest = payload.slice(space + 1);
  switch (payload.slice(0, space)) {
    case 'due':
      return { type: 'due', afterSeconds: Number(rest) };
    case 'held':
      return { type: 'held', key: rest };
    case 'ended':
      return { type: 'ended', runId: rest };
    default:
      return undefined;
  }
}
