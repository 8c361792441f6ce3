import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerOptions, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { Problem } from '@virt8ra/contract';
import type { FastifyInstance } from 'fastify';
import { writeRawProblem } from './raw-problem.js';

/** What one connection may take. Seconds may be fractions. */
export interface ConnectionLimits {
  /** In which the head of a request is there, whole. Default 20. */
  readonly headSeconds: number;
  /** In which a body is there, whole; content that is uploaded must only keep coming. Default 60. */
  readonly bodySeconds: number;
  /** After which a connection is closed on which nothing moves, be it that the client sends nothing or that it takes no answer. Default 120. */
  readonly stallSeconds: number;
  /** Between requests. Default 72. */
  readonly idleSeconds: number;
  /** Requests of one connection that are worked on together; what else was sent waits. Default 16. */
  readonly pipelined: number;
  /** Connections together. Default: half of the files that the process may open, at most 10,000. */
  readonly connections: number;
}

/** Larger than any token and path are. */
export const headBytes = 32 * 1024;

export function connectionLimits(given: Partial<ConnectionLimits> = {}): ConnectionLimits {
  return { headSeconds: 20, bodySeconds: 60, stallSeconds: 120, idleSeconds: 72, pipelined: 16, connections: mostConnections(), ...given };
}

/** The part of the limits that Node keeps by itself. */
export function nodeServerOptions({ headSeconds }: ConnectionLimits): ServerOptions & { readonly handshakeTimeout: number } {
  return {
    maxHeaderSize: headBytes,
    // Node's own refusal is no problem document.
    requireHostHeader: false,
    headersTimeout: Math.ceil(headSeconds * 1000),
    connectionsCheckingInterval: Math.ceil(Math.min(5, headSeconds / 2) * 1000),
    handshakeTimeout: Math.ceil(headSeconds * 1000),
  };
}

function mostConnections(): number {
  try {
    const files = Number(/^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? Number.POSITIVE_INFINITY);
    return Math.max(64, Math.min(10_000, Math.floor(files / 2)));
  } catch {
    return 10_000;
  }
}

interface Held {
  readonly answering: Set<ServerResponse>;
  /** Somebody with a token has asked on it. */
  known: boolean;
}

export interface ConnectionGuard {
  readonly count: number;
  /** Refuses what is no HTTP, and heads that are too long or too late. */
  refuse(error: Error & { readonly code?: string }, socket: Duplex): void;
}

/** Uploads that come slower than this are as good as stalled. */
const leastUploadBytesPerSecond = 256;
/** For a client that still sends while it was answered. */
const lingerMs = 2000;

/**
 * Keeps a few clients from taking what all share: connections, memory, time. A request with a body that does not come, a client that asks and
 * reads nothing, a thousand requests at once on one connection, thousands of connections on which nothing happens. Begins before the server listens.
 */
export function guardConnections(app: FastifyInstance, limits: ConnectionLimits, tls: boolean): ConnectionGuard {
  const held = new Map<Duplex, Held>();
  const { server } = app;

  const begin = (socket: Duplex): Held => {
    const begun: Held = held.get(socket) ?? { answering: new Set(), known: false };
    if (held.has(socket)) return begun;
    held.set(socket, begun);
    socket.once('close', () => held.delete(socket));
    return begun;
  };
  /** Who has shown no token goes first, the oldest of them; then who is between two requests. */
  const makeRoom = (newcomer: Duplex): void => {
    let idle: Duplex | undefined;
    for (const [socket, { answering, known }] of held) {
      if (answering.size > 0 || socket === newcomer) continue;
      if (!known) return void socket.destroy();
      idle ??= socket;
    }
    (idle ?? newcomer).destroy();
  };

  server.on(tls ? 'secureConnection' : 'connection', (socket: Socket) => {
    begin(socket);
    if (held.size > limits.connections) makeRoom(socket);
  });

  server.prependListener('request', (request: IncomingMessage, response: ServerResponse) => {
    const { socket } = request;
    const { answering } = begin(socket);
    answering.add(response);
    if (answering.size >= limits.pipelined) socket.pause();
    response.once('close', () => {
      answering.delete(response);
      if (answering.size < limits.pipelined && !socket.destroyed) socket.resume();
    });
    if (request.headers['transfer-encoding'] !== undefined || Number(request.headers['content-length'] ?? 0) > 0)
      awaitBody(request, response, limits);
  });
  // Whoever expects something else than we know is answered all the same (RFC 9110, 10.1.1).
  server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => server.emit('request', request, response));
  server.on('connect', (request: IncomingMessage, socket: Duplex) => {
    socket.on('error', () => socket.destroy());
    writeRawProblem(socket, new Problem('invalid-request', 'this is no proxy: CONNECT is not offered'), request.url);
  });
  app.addHook('onRequest', async ({ raw }) => {
    if (raw.httpVersion === '1.1' && raw.headers.host === undefined)
      throw new Problem('invalid-request', 'a request of HTTP/1.1 must name its host', { sources: [{ parameter: 'host' }] });
  });
  app.addHook('preHandler', async (request) => {
    const found = request.subject === undefined ? undefined : held.get(request.raw.socket);
    if (found !== undefined) found.known = true;
  });

  return {
    get count() {
      return held.size;
    },
    refuse(error, socket) {
      const answering = [...(held.get(socket)?.answering ?? [])];
      const whole = answering.filter(({ req }) => req.complete);
      if (whole.length > 0) {
        // What came whole before is done, and is answered as it ends; a refusal now would be taken for its answer.
        socket.pause();
        for (const response of whole) response.shouldKeepAlive = false;
        whole.at(-1)?.once('close', () => socket.end());
        return;
      }
      const silent = error.code === 'ERR_HTTP_REQUEST_TIMEOUT' && (socket as Partial<Socket>).bytesRead === 0;
      // What is half written cannot be followed by another answer.
      if (error.code === 'ECONNRESET' || silent || !socket.writable || answering.some(({ headersSent }) => headersSent))
        return void socket.destroy();
      socket.on('error', () => socket.destroy());
      writeRawProblem(socket, problemOfBytes(error, limits));
    },
  };
}

function problemOfBytes(error: Error & { readonly code?: string }, { headSeconds }: ConnectionLimits): Problem {
  switch (error.code) {
    case 'HPE_HEADER_OVERFLOW':
      return new Problem('too-large', `the head of the request is larger than ${headBytes / 1024} KiB`, { cause: error });
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return new Problem('too-large', 'the extensions of a chunk are larger than 16 KiB', { cause: error });
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new Problem('invalid-request', `the head of the request did not arrive within ${headSeconds} s`, { cause: error });
    default:
      return new Problem('invalid-request', `this is not HTTP/1.1: ${error.message.replace(/^Parse Error: /, '')}`, { cause: error });
  }
}

/** Ends what does not come: a body by an answer, an upload that has stalled and what was answered already by the connection's end. */
function awaitBody(request: IncomingMessage, response: ServerResponse, { bodySeconds }: ConnectionLimits): void {
  const { socket } = request;
  const uploads = request.method === 'PATCH';
  let before = socket.bytesRead;
  const look = (): void => {
    if (request.complete) {
      stop();
      return;
    }
    const came = socket.bytesRead - before;
    before = socket.bytesRead;
    // What waits for us to take it is not late.
    if (uploads && !response.headersSent && (request.readableLength > 0 || came >= leastUploadBytesPerSecond * bodySeconds)) return;
    stop();
    if (response.headersSent || request.listenerCount('error') === 0) {
      socket.destroy();
      return;
    }
    response.shouldKeepAlive = false;
    // Whoever reads the body answers with this.
    request.emit('error', new Problem('invalid-request', `the body of the request did not arrive within ${bodySeconds} s`));
  };
  const timer = setInterval(look, bodySeconds * 1000);
  let linger: NodeJS.Timeout | undefined;
  const stop = (): void => {
    clearInterval(timer);
    clearTimeout(linger);
    socket.off('close', stop);
  };
  request.once('end', stop);
  request.once('close', stop);
  socket.once('close', stop);
  response.once('finish', () => {
    if (request.complete) return;
    linger = setTimeout(() => {
      if (!request.complete) socket.destroy();
    }, lingerMs);
  });
}
