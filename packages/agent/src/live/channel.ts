import type { Server, TLSSocket } from 'node:tls';
import { connect, createServer } from 'node:tls';
import { Problem, type ProblemKind, problemKinds, toProblem } from '@virt8ra/contract';
import { checkPeer, type MoverTls, problemFromConnection, tlsOptions } from '../mover/peer.js';
import { type AnswerOf, type Question, readAnswer, readQuestion } from './messages.js';

/** The source's end: asks the target. */
export interface Channel {
  /** Raises Problem unavailable when the answer does not come in time or the channel breaks, and whatever problem the target answers with. */
  ask<Type extends Question['type']>(question: Extract<Question, { type: Type }>, timeoutMs: number): Promise<AnswerOf[Type]>;
  /** Undefined while it stands. */
  readonly failure: Problem | undefined;
  /** Resolves with the failure. */
  readonly broken: Promise<Problem>;
  close(): void;
}

export interface ChannelPeer {
  readonly name: string;
  readonly address: string;
  readonly port: number;
}

interface Waiting {
  readonly timer: NodeJS.Timeout;
  resolve(value: unknown): void;
  reject(problem: Problem): void;
}

const connectMs = 5_000;
const keepAliveMs = 5_000;
const longestLine = 256 * 1024;

/** Connects to the target's agent. Raises Problem unavailable, or forbidden when it is not the one named. */
export async function openChannel(peer: ChannelPeer, tls: MoverTls, signal: AbortSignal): Promise<Channel> {
  const where = `${peer.name} at ${peer.address}:${peer.port}`;
  const socket = connect({
    ...tlsOptions(tls),
    host: peer.address,
    port: peer.port,
    servername: peer.name,
    checkServerIdentity: () => undefined,
  });
  const waiting = new Map<number, Waiting>();
  let failure: Problem | undefined;
  let next = 1;
  let tell: (problem: Problem) => void = () => {};
  const broken = new Promise<Problem>((resolve) => {
    tell = resolve;
  });
  const fail = (problem: Problem) => {
    if (failure !== undefined) return;
    failure = problem;
    socket.destroy();
    for (const { timer, reject } of waiting.values()) {
      clearTimeout(timer);
      reject(problem);
    }
    waiting.clear();
    tell(problem);
  };
  const onAbort = () => fail(new Problem('cancelled', 'the move was called off'));
  signal.addEventListener('abort', onAbort, { once: true });
  void broken.then(() => signal.removeEventListener('abort', onAbort));
  socket.on('error', (error: NodeJS.ErrnoException) => fail(problemFromConnection(error, where)));
  socket.once('close', () => fail(new Problem('unavailable', `${where} ended the connection`)));
  const late = setTimeout(() => fail(new Problem('unavailable', `${where} does not answer`)), connectMs);
  await new Promise<void>((resolve) => {
    socket.once('secureConnect', resolve);
    void broken.then(() => resolve());
  });
  clearTimeout(late);
  try {
    if (failure !== undefined) throw failure;
    if (signal.aborted) throw new Problem('cancelled', 'the move was called off');
    checkPeer(socket, peer.name);
  } catch (error) {
    fail(toProblem(error));
    throw error;
  }
  socket.setNoDelay(true);
  socket.setKeepAlive(true, keepAliveMs);
  readLines(socket, fail, (line) => {
    const { id, answer, problem } = line as { id?: number; answer?: unknown; problem?: { code?: string; message?: string } };
    const entry = waiting.get(id ?? 0);
    if (entry === undefined) return;
    waiting.delete(id ?? 0);
    clearTimeout(entry.timer);
    if (problem === undefined) entry.resolve(answer);
    else entry.reject(new Problem(kindOf(problem.code), `${peer.name}: ${problem.message ?? 'no reason given'}`));
  });
  return {
    get failure() {
      return failure;
    },
    broken,
    close: () => fail(new Problem('cancelled', 'the channel was closed')),
    ask: async (question, timeoutMs) => {
      if (failure !== undefined) throw failure;
      const id = next;
      next += 1;
      const answer = await new Promise<unknown>((resolve, reject) => {
        const timer = setTimeout(
          () => fail(new Problem('unavailable', `${where} did not answer ${question.type} within ${timeoutMs / 1000} s`)),
          timeoutMs,
        );
        waiting.set(id, { timer, resolve, reject });
        socket.write(`${JSON.stringify({ id, question })}\n`);
      });
      return readAnswer(question.type, answer);
    },
  };
}

/** The target's end: listens for the one source of a transfer. */
export interface ChannelServer {
  readonly address: string;
  readonly port: number;
  close(): void;
}

export interface ChannelServerOptions {
  readonly tls: MoverTls;
  /** DNS name that the source's certificate must carry. */
  readonly peerName: string;
  readonly listen: { readonly address: string; readonly ports?: { readonly first: number; readonly last: number } };
  /** Questions come one after the other. Whatever it raises is answered as a problem. */
  answer(question: Question): Promise<unknown>;
}

/** Raises Problem unavailable when no port can be had. */
export async function serveChannel(options: ChannelServerOptions): Promise<ChannelServer> {
  const { tls, peerName, listen } = options;
  const sockets = new Set<TLSSocket>();
  let turn: Promise<void> = Promise.resolve();
  const server = createServer({ ...tlsOptions(tls), requestCert: true, handshakeTimeout: connectMs });
  server.on('tlsClientError', () => {});
  server.on('secureConnection', (socket) => {
    socket.on('error', () => socket.destroy());
    try {
      checkPeer(socket, peerName);
    } catch {
      socket.destroy();
      return;
    }
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    socket.setNoDelay(true);
    socket.setKeepAlive(true, keepAliveMs);
    readLines(
      socket,
      () => socket.destroy(),
      (line) => {
        const { id, question } = line as { id?: number; question?: unknown };
        turn = turn.then(async () => {
          const said = await reply(options, question);
          if (!socket.destroyed) socket.write(`${JSON.stringify({ id, ...said })}\n`);
        });
      },
    );
  });
  const { address } = listen;
  const { first, last } = listen.ports ?? { first: 0, last: 0 };
  for (let port = first; ; port += 1) {
    try {
      const bound = await listenAt(server, port, address);
      return {
        address,
        port: bound,
        close: () => {
          server.close();
          for (const socket of sockets) socket.destroy();
        },
      };
    } catch (error) {
      if (port >= last) throw new Problem('unavailable', `no port can be listened on at ${address}: ${String(error)}`, { cause: error });
    }
  }
}

async function reply(options: ChannelServerOptions, question: unknown): Promise<object> {
  try {
    return { answer: await options.answer(readQuestion(question)) };
  } catch (error) {
    const { kind, message } = toProblem(error);
    return { problem: { code: kind, message } };
  }
}

async function listenAt(server: Server, port: number, address: string): Promise<number> {
  return await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, address, () => {
      server.removeListener('error', reject);
      const bound = server.address();
      resolve(typeof bound === 'object' && bound !== null ? bound.port : port);
    });
  });
}

/** Calls `take` with every line's JSON; a line that is none, or has no end, is a fault of the peer. */
function readLines(socket: TLSSocket, fail: (problem: Problem) => void, take: (line: object) => void): void {
  let text = '';
  socket.setEncoding('utf8').on('data', (piece: Buffer | string) => {
    text += piece;
    try {
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
        const line: unknown = JSON.parse(text.slice(0, end));
        text = text.slice(end + 1);
        if (typeof line === 'object' && line !== null) take(line);
      }
    } catch (error) {
      fail(new Problem('invalid-request', 'the peer sent a line that is not JSON', { cause: error }));
    }
    if (text.length > longestLine) fail(new Problem('invalid-request', 'the peer sent a line without an end'));
  });
}

function kindOf(code: string | undefined): ProblemKind {
  return problemKinds.find((kind) => kind === code) ?? 'internal';
}
