import { createServer, type Server, type Socket } from 'node:net';
import { joinOctets, type OpenedStream, Problem, toProblem } from '@virt8ra/contract';
import type { Terminal } from '../terminal.js';

export interface LocalPort {
  /** Such as `127.0.0.1:8080`. */
  readonly address: string;
  close(): void;
}

const host = '127.0.0.1';

/**
 * Listens on a port of this machine and opens a stream for each connection. What one of them is refused with is told on standard error. Raises
 * `unavailable` when the port is taken.
 */
export async function openLocalPort(terminal: Terminal, port: number, what: string, open: () => Promise<OpenedStream>): Promise<LocalPort> {
  const sockets = new Set<Socket>();
  const lead = async (socket: Socket): Promise<void> => {
    try {
      const { carrier } = await open();
      joinOctets(carrier, socket, {
        onEnd: ({ code, message }) => {
          if (code !== 'done' && code !== 'closed') terminal.err(`${what}: ${message}\n`);
          if (code !== 'done') socket.resetAndDestroy();
        },
      });
    } catch (error) {
      if (!terminal.signal.aborted) terminal.err(`${what}: ${toProblem(error).message}\n`);
      socket.resetAndDestroy();
    }
  };
  const server: Server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => sockets.delete(socket));
    void lead(socket);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const why = cause.code === 'EADDRINUSE' ? 'it is taken; name another, or 0 for any' : cause.message;
      reject(new Problem('unavailable', `cannot listen on ${host}:${port}: ${why}`, { cause }));
    });
    server.listen(port, host, resolve);
  });
  const bound = server.address();
  return {
    address: `${host}:${typeof bound === 'object' && bound !== null ? bound.port : port}`,
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Resolves at the interrupt. */
export async function untilInterrupted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

/** A port from a command line. Raises `invalid-request`. */
export function portOfWord(word: string, least = 1): number {
  const port = Number(word);
  if (/^\d{1,5}$/.test(word) && port >= least && port <= 65535) return port;
  throw new Problem('invalid-request', `${JSON.stringify(word)} is not a port: write a number from ${least} to 65535`);
}
