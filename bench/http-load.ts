import { connect, type Socket } from 'node:net';
import { type Timing, timingOf } from './timing.js';

/** A request of a load; the same for every round or another each time. */
export interface LoadRequest {
  readonly method: 'GET' | 'PUT';
  /** With its query. */
  readonly path: string;
  readonly body?: string;
}

export interface LoadAnswer {
  readonly status: number;
  readonly body: Buffer;
}

/** One connection that is kept, with at most one request under way. */
export interface LoadConnection {
  ask(request: LoadRequest): Promise<LoadAnswer>;
  close(): void;
}

export interface LoadFigures extends Timing {
  readonly requests: number;
  readonly perSecond: number;
}

/**
 * HTTP/1.1 as far as a load needs it: bare sockets, requests as text, answers with a length. A client for everyday use takes more time for a
 * request than the server does, on the same two cores.
 */
export async function openConnections(url: string, token: string, count: number): Promise<readonly LoadConnection[]> {
  return await Promise.all(Array.from({ length: count }, async () => await openConnection(new URL(url), token)));
}

async function openConnection({ hostname, port, host }: URL, token: string): Promise<LoadConnection> {
  const socket = connect(Number(port), hostname);
  socket.setNoDelay(true);
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', reject);
  });
  const head = `host: ${host}\r\nauthorization: Bearer ${token}\r\n`;
  const next = answersOf(socket);
  return {
    async ask({ method, path, body }) {
      const sent =
        body === undefined ? '\r\n' : `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
      const answer = next();
      socket.write(`${method} ${path} HTTP/1.1\r\n${head}${sent}`);
      return await answer;
    },
    close: () => socket.destroy(),
  };
}

/** Answers `next`, which resolves with the next answer that the socket receives. */
function answersOf(socket: Socket): () => Promise<LoadAnswer> {
  let received: Buffer[] = [];
  let bytes = 0;
  /** Bytes of the answer that is being received; unknown until its head is there. */
  let whole: { readonly status: number; readonly head: number; readonly total: number } | undefined;
  let waiting: { resolve(answer: LoadAnswer): void; reject(error: Error): void } | undefined;
  let broken: Error | undefined;
  const fail = (error: Error): void => {
    broken ??= error;
    waiting?.reject(broken);
    waiting = undefined;
  };
  socket.on('data', (piece: Buffer) => {
    received.push(piece);
    bytes += piece.length;
    if (whole === undefined) {
      received = [Buffer.concat(received)];
      const text = received[0]?.toString('latin1', 0, 4096) ?? '';
      const end = text.indexOf('\r\n\r\n');
      if (end < 0) return;
      const length = /\r\ncontent-length: (\d+)/i.exec(text.slice(0, end + 2))?.[1];
      if (length === undefined) return fail(new Error(`an answer without a length: ${text.slice(0, end)}`));
      whole = { status: Number(text.slice(9, 12)), head: end + 4, total: end + 4 + Number(length) };
    }
    if (bytes < whole.total) return;
    const { status, head, total } = whole;
    const body = Buffer.concat(received).subarray(head, total);
    [received, bytes, whole] = [[], 0, undefined];
    const { resolve } = waiting ?? {};
    waiting = undefined;
    resolve?.({ status, body });
  });
  socket.on('error', fail);
  socket.on('close', () => fail(new Error('the server has closed the connection')));
  return async () =>
    await new Promise((resolve, reject) => {
      if (broken !== undefined) return reject(broken);
      waiting = { resolve, reject };
    });
}

/** Every connection asks again as soon as it is answered: how many a second there are at most. Raises on an answer that is not a success. */
export async function closedLoop(
  connections: readonly LoadConnection[],
  seconds: number,
  requestOf: (round: number) => LoadRequest,
): Promise<LoadFigures> {
  const durations: number[] = [];
  const begin = performance.now();
  const end = begin + seconds * 1000;
  let round = 0;
  await Promise.all(
    connections.map(async (connection) => {
      for (let at = performance.now(); at < end; ) {
        const request = requestOf(round++);
        assertSuccess(request, await connection.ask(request));
        const now = performance.now();
        durations.push(now - at);
        at = now;
      }
    }),
  );
  return figuresOf(durations, begin);
}

/**
 * So many requests a second, at their times, whether those before were answered or not; each is timed from when it was due, so that what waits
 * behind a slow one counts too.
 */
export async function openLoop(
  connections: readonly LoadConnection[],
  perSecond: number,
  seconds: number,
  requestOf: (round: number) => LoadRequest,
  seen: (answer: LoadAnswer) => void = () => undefined,
): Promise<LoadFigures> {
  const durations: number[] = [];
  const begin = performance.now();
  const total = Math.round(perSecond * seconds);
  let round = 0;
  await Promise.all(
    connections.map(async (connection) => {
      for (let mine = round++; mine < total; mine = round++) {
        const due = begin + (mine * 1000) / perSecond;
        await at(due);
        const request = requestOf(mine);
        const answer = await connection.ask(request);
        durations.push(performance.now() - due);
        assertSuccess(request, answer);
        seen(answer);
      }
    }),
  );
  return figuresOf(durations, begin);
}

function figuresOf(durations: readonly number[], begin: number): LoadFigures {
  const perSecond = Math.round((durations.length / (performance.now() - begin)) * 1000);
  return { requests: durations.length, perSecond, ...timingOf(durations) };
}

async function at(moment: number): Promise<void> {
  const rest = moment - performance.now();
  if (rest > 0) await new Promise((resolve) => setTimeout(resolve, rest));
}

function assertSuccess({ method, path }: LoadRequest, { status, body }: LoadAnswer): void {
  if (status >= 200 && status < 300) return;
  throw new Error(`${method} ${path} was answered ${status}: ${body.toString('utf8', 0, 300)}`);
}
