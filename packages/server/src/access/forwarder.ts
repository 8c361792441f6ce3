import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import type { Log } from '@virt8ra/engine';

/** Where an instance's port is reached now. */
export interface AccessTarget {
  readonly address: string;
  readonly port: number;
}

export interface ForwarderOptions {
  readonly host: string;
  readonly port: number;
  /** Asked for every connection and again for every try; undefined: nowhere at the moment. */
  readonly lookup: () => Promise<AccessTarget | undefined>;
  /** How long a client waits for a target before it is let go, such as during a move. */
  readonly patienceMs: number;
  readonly connectionsMost: number;
  /** Room among all forwarders of this process; false: none. */
  readonly admit: () => boolean;
  readonly leave: () => void;
  readonly log: Log;
}

/** One listening port, each of whose connections is led to where the target is at that moment. */
export interface Forwarder {
  /** Raises the system's error, such as EADDRINUSE. */
  listen(): Promise<void>;
  /**
   * The target is elsewhere now, or nowhere: ends the connections that lead to where it was, even when its new place has the same address.
   * Those that are being led at this moment are led anew.
   */
  turn(): void;
  close(): Promise<void>;
}

const connectMs = 2000;
const keepAliveMs = 15_000;

export function createForwarder(options: ForwarderOptions): Forwarder {
  const { lookup, log } = options;
  const clients = new Set<Socket>();
  /** Clients that are joined to a target. */
  const led = new Set<Socket>();
  const closing = new AbortController();
  /** Counts the times that the target went elsewhere. */
  let turns = 0;

  const lead = async (client: Socket): Promise<void> => {
    const gone = new AbortController();
    client.once('close', () => gone.abort());
    const signal = AbortSignal.any([gone.signal, closing.signal]);
    const found = await findTarget({ lookup, turns: () => turns }, signal, options.patienceMs);
    if (found === undefined) {
      client.resetAndDestroy();
      return;
    }
    if (client.destroyed) {
      found.destroy();
      return;
    }
    led.add(client);
    join(client, found);
    join(found, client);
    client.resume();
  };
  const server: Server = createServer({
    allowHalfOpen: true,
    pauseOnConnect: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: keepAliveMs,
  });
  server.maxConnections = options.connectionsMost;
  server.on('connection', (client) => {
    client.on('error', () => client.destroy());
    if (!options.admit()) {
      client.resetAndDestroy();
      return;
    }
    clients.add(client);
    client.once('close', () => {
      clients.delete(client);
      led.delete(client);
      options.leave();
    });
    lead(client).catch((error: unknown) => {
      log.debug('a connection could not be led to its instance', { port: options.port, problem: String(error) });
      client.destroy();
    });
  });

  return {
    async listen() {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen({ host: options.host, port: options.port, exclusive: true }, () => {
          server.off('error', reject);
          server.on('error', (error) => log.warn('an access endpoint failed', { port: options.port, problem: error.message }));
          resolve();
        });
      });
    },
    turn() {
      turns += 1;
      for (const client of led) client.resetAndDestroy();
    },
    async close() {
      closing.abort();
      if (!server.listening) return;
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const client of clients) client.resetAndDestroy();
      await closed;
    },
  };
}

/** What one side sends goes to the other; its end too, and its failure ends the other at once. */
function join(from: Socket, to: Socket): void {
  from.pipe(to);
  from.on('error', () => to.destroy());
  from.on('close', () => {
    // Ended in order, `to` still may have bytes to bring out; otherwise nothing more will come.
    if (!from.readableEnded) to.destroy();
  });
}

/** A connection to wherever the target is; tried again, looked up anew, until the patience or the client is gone. */
async function findTarget(
  { lookup, turns }: { readonly lookup: ForwarderOptions['lookup']; readonly turns: () => number },
  signal: AbortSignal,
  patienceMs: number,
): Promise<Socket | undefined> {
  const deadline = performance.now() + patienceMs;
  for (let pauseMs = 25; !signal.aborted; pauseMs = Math.min(pauseMs * 2, 250)) {
    const turn = turns();
    const target = await lookup();
    const socket = target === undefined ? undefined : await dial(target, signal);
    if (socket !== undefined) {
      if (turn === turns()) return socket;
      // It went elsewhere meanwhile.
      socket.destroy();
    }
    if (performance.now() + pauseMs > deadline) return undefined;
    await pause(pauseMs, undefined, { signal }).catch(() => undefined);
  }
  return undefined;
}

async function dial({ address, port }: AccessTarget, signal: AbortSignal): Promise<Socket | undefined> {
  return await new Promise((resolve) => {
    const socket = connect({
      host: address,
      port,
      allowHalfOpen: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: keepAliveMs,
    });
    const give = (answer: Socket | undefined): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
      if (answer === undefined) socket.destroy();
      resolve(answer);
    };
    const abort = (): void => give(undefined);
    const timer = setTimeout(abort, connectMs);
    signal.addEventListener('abort', abort);
    socket.on('error', abort);
    socket.once('connect', () => give(socket));
  });
}
