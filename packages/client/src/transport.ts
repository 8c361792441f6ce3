import type { IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { Problem, problemFromDocument } from '@virt8ra/contract';
import { type Answer, type ExchangeRequest, exchange, faultOf, type Method, openExchange } from './exchange.js';

/** Answers the token to send. `refused` is the one that the server has just not accepted: another is tried once. */
export type TokenSource = (refused?: string) => string | undefined | Promise<string | undefined>;

export interface TransportOptions {
  /** Base URL of the control plane, such as `https://cloud.example`. */
  readonly server: string;
  /** A token, or where the newest one comes from: asked before each request. */
  readonly token?: string | TokenSource | undefined;
  /** PEM certificates to trust instead of the system's. */
  readonly ca?: string | undefined;
  /** Seconds without an octet after which a request counts as timed out. Default 30. */
  readonly timeoutSeconds?: number;
  /** Seconds during which a repeatable request is repeated (503, 429, 502, 504, lost connection). Default 10. */
  readonly patienceSeconds?: number;
  /** Also repeat while nothing listens, as during a restart of the server. Default false: a wrong address is said at once. */
  readonly awaitServer?: boolean;
  /** How the client names itself. Default `virt8ra-client`. */
  readonly userAgent?: string;
  /** Aborts everything this client does. */
  readonly signal?: AbortSignal | undefined;
}

export interface Call {
  readonly method: Method;
  /** Below the server's base URL, without a leading slash. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly json?: unknown;
  readonly stream?: { readonly octets: AsyncIterable<Uint8Array>; readonly length: number };
  /** True when sending it twice does no harm. Default: everything but POST and PATCH, and nothing with `if-unmodified-since`. */
  readonly repeatable?: boolean;
  readonly signal?: AbortSignal | undefined;
  /** Statuses that are answers and not problems, besides 2xx. */
  readonly accept?: readonly number[];
}

/** HTTP to one control plane: authentication, time limits, repetition, problems. */
export interface Transport {
  readonly server: string;
  /** Raises the server's problem for any status outside 2xx and `accept`. */
  call(call: Call): Promise<Answer>;
  /** Opens a stream; resolves at its head, raises like `call`. Never repeated. */
  open(call: Call, idleSeconds: number): Promise<IncomingMessage>;
  /** Where and with what a call goes, for what is no plain exchange. */
  address(call: Call): Promise<Pick<ExchangeRequest, 'url' | 'headers' | 'ca' | 'signal'>>;
}

const transientStatuses = new Set([429, 502, 503, 504]);
const firstPauseMs = 100;
const longestPauseMs = 5000;

export function createTransport(options: TransportOptions): Transport {
  const base = baseFromServer(options.server);
  const timeoutSeconds = options.timeoutSeconds ?? 30;
  const patienceSeconds = options.patienceSeconds ?? 10;

  const { token: given } = options;
  const tokenOf = async (refused?: string): Promise<string | undefined> => (typeof given === 'function' ? await given(refused) : given);

  const prepare = async (call: Call, token?: string) => {
    const url = new URL(`${base}${call.path}`);
    for (const [key, value] of Object.entries(call.query ?? {})) if (value !== undefined) url.searchParams.set(key, String(value));
    const body = call.json === undefined ? undefined : JSON.stringify(call.json);
    const headers: Record<string, string> = {
      accept: 'application/json',
      'user-agent': options.userAgent ?? 'virt8ra-client',
      ...call.headers,
    };
    const bearer = token ?? (await tokenOf());
    if (bearer !== undefined && bearer !== '') headers['authorization'] = `Bearer ${bearer}`;
    if (body !== undefined) {
      headers['content-type'] = 'application/json';
      headers['content-length'] = String(Buffer.byteLength(body));
    }
    if (call.stream !== undefined) headers['content-length'] = String(call.stream.length);
    const signals = [options.signal, call.signal].filter((signal) => signal !== undefined);
    const octets = call.stream?.octets ?? body;
    return {
      method: call.method,
      url,
      headers,
      token: bearer,
      signal: signals.length === 0 ? undefined : AbortSignal.any(signals),
      timeoutSeconds,
      ca: options.ca,
      ...(octets === undefined ? {} : { body: octets }),
    };
  };

  const call = async (call: Call): Promise<Answer> => {
    const repeatable =
      call.repeatable ??
      (call.method !== 'POST' &&
        call.method !== 'PATCH' &&
        !(call.method !== 'GET' && call.headers?.['if-unmodified-since'] !== undefined));
    const deadline = Date.now() + patienceSeconds * 1000;
    let another: string | undefined;
    for (let attempt = 0; ; attempt += 1) {
      const prepared = await prepare(call, another);
      let problem: Problem;
      try {
        const answer = await exchange(prepared);
        const good = (answer.status >= 200 && answer.status < 300) || call.accept?.includes(answer.status) === true;
        if (good) return answer;
        problem = problemFromAnswer(answer);
        if (answer.status === 401 && another === undefined) {
          // Nothing was done: with another token even a POST may be sent again, but a stream can be read once.
          another = call.stream === undefined ? await anotherToken(prepared.token) : undefined;
          if (another !== undefined) continue;
        }
        if (!repeatable || !transientStatuses.has(answer.status)) throw problem;
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        problem = error;
        const fault = faultOf(problem);
        if (fault === undefined && !transientStatuses.has(problem.status)) throw problem;
        if (!repeatable) throw fault === 'cut' || fault === 'timeout' ? outcomeUnknown(call, problem) : problem;
        if (fault === 'untrusted' || fault === 'unresolved') throw problem;
        if (fault === 'refused' && options.awaitServer !== true) throw problem;
      }
      const pause = pauseMs(attempt, problem.retryAfterSeconds);
      if (Date.now() + pause > deadline) throw problem;
      await rest(pause, prepared.signal);
    }
  };

  /** What the source has instead of a refused token; undefined: nothing else. */
  const anotherToken = async (refused: string | undefined): Promise<string | undefined> => {
    if (typeof given !== 'function') return undefined;
    const token = await tokenOf(refused);
    return token === refused || token === '' ? undefined : token;
  };

  const open = async (call: Call, idleSeconds: number, another?: string): Promise<IncomingMessage> => {
    const prepared = await prepare(call, another);
    const message = await openExchange({ ...prepared, timeoutSeconds: idleSeconds });
    const status = message.statusCode ?? 0;
    if (status >= 200 && status < 300) return message;
    const chunks: Buffer[] = [];
    for await (const chunk of message) chunks.push(chunk as Buffer);
    const next = status === 401 && another === undefined ? await anotherToken(prepared.token) : undefined;
    if (next !== undefined) return await open(call, idleSeconds, next);
    throw problemFromAnswer({ status, headers: message.headers, text: Buffer.concat(chunks).toString('utf8') });
  };

  return { server: base.slice(0, -1), call, open: (call, idleSeconds) => open(call, idleSeconds), address: (call) => prepare(call) };
}

/** Waits before attempt `attempt + 1`: doubled each time, with jitter so that many clients do not return at once; or what the server asked. */
export function pauseMs(attempt: number, retryAfterSeconds?: number): number {
  if (retryAfterSeconds !== undefined) return retryAfterSeconds * 1000;
  const ceiling = Math.min(longestPauseMs, firstPauseMs * 2 ** attempt);
  return ceiling / 2 + (Math.random() * ceiling) / 2;
}

/** Sleeps unless `signal` fires; then raises `cancelled`. */
export async function rest(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(milliseconds, undefined, signal === undefined ? {} : { signal });
  } catch (cause) {
    throw new Problem('cancelled', 'interrupted', { cause });
  }
}

function baseFromServer(server: string): string {
  const url = URL.canParse(server) ? new URL(server) : undefined;
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new Problem('invalid-request', `${JSON.stringify(server)} is not the URL of a control plane; write it as https://HOST[:PORT]`);
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}/`;
}

function outcomeUnknown(call: Call, problem: Problem): Problem {
  return new Problem('unknown-outcome', `${problem.message}; the server may or may not have done ${call.method} ${call.path}`, {
    facts: problem.facts,
    cause: problem,
  });
}

/** The problem document of an answer; a foreign body (of a proxy, say) becomes the nearest kind by status. */
export function problemFromAnswer(answer: Answer): Problem {
  let document: unknown;
  try {
    document = JSON.parse(answer.text);
  } catch {
    document = undefined;
  }
  const problem = problemFromDocument(document, answer.status);
  const seconds = Number(answer.headers['retry-after']);
  if (!Number.isFinite(seconds) || seconds < 0) return problem;
  return new Problem(problem.kind, problem.message, { sources: problem.sources, facts: problem.facts, retryAfterSeconds: seconds });
}
