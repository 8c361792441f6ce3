import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { Problem, toProblem } from '@virt8ra/contract';
import type { Budget } from './budget.js';
import { type Exchange, redacted } from './record.js';
import type { HttpLine, HttpMethod, HttpWay } from './way.js';

export interface Ask {
  readonly method: HttpMethod;
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly json?: unknown;
  /** In place of `json`; asked once and never again. */
  readonly stream?: Readable;
  /**
   * `always`: doing it twice is doing it once. `refused`: repeated only when the provider says, or it is certain, that nothing was done.
   * Default: `refused` for POST and PATCH and for streams, `always` for the rest.
   */
  readonly again?: 'always' | 'refused';
  /** Milliseconds without an octet. Default 30,000. */
  readonly silenceMs?: number;
  readonly signal?: AbortSignal;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly requestId: string | undefined;
  readonly exchange: Exchange;
}
export interface WholeAnswer extends Answer {
  readonly text: string;
}
export interface OpenAnswer extends Answer {
  readonly body: IncomingMessage;
}

export interface Exchanger {
  /**
   * Asks and reads the answer, whatever its status. Raises `throttled` when the provider wants us to wait for long, `unavailable` when it
   * cannot be reached, and `unknown-outcome` when what may only be done once may have been done.
   */
  ask(ask: Ask): Promise<WholeAnswer>;
  /** The same with the body unread. Whoever gets it reads it to the end or destroys it. */
  open(ask: Ask): Promise<OpenAnswer>;
  /** The newest requests, oldest first, for people. */
  exchanges(): readonly Exchange[];
  close(): void;
}

export interface ExchangerOptions {
  readonly way: HttpWay;
  readonly budget: Budget;
  /** Headers under which the provider tells its name of a request. */
  readonly requestIdHeaders: readonly string[];
  /** Statuses beside 429 that mean "too fast" when they come with Retry-After. */
  readonly throttles?: readonly number[];
  /** How long to wait before the second try; twice as long before each further one. Default 200. */
  readonly backoffMs?: number;
  /** Default 3. */
  readonly attempts?: number;
  /** What the provider asks us to wait for is waited for here up to this. Default 2000. */
  readonly patienceMs?: number;
}

const mostBytes = 16 * 1024 * 1024;
const kept = 50;
const passing = [500, 502, 503, 504];

export function createExchanger(options: ExchangerOptions): Exchanger {
  const { way, budget, requestIdHeaders, throttles = [], backoffMs = 200, attempts = 3, patienceMs = 2000 } = options;
  const lines = new Map<string, HttpLine>();
  const past: Exchange[] = [];
  let closed = false;

  const lineTo = (url: URL): HttpLine => {
    const held = lines.get(url.origin) ?? way.open(url, undefined, 8);
    lines.set(url.origin, held);
    return held;
  };
  const note = (exchange: Exchange): Exchange => {
    past.push(exchange);
    if (past.length > kept) past.shift();
    return exchange;
  };

  async function once(ask: Ask, attempt: number): Promise<OpenAnswer> {
    const { method, url, json, stream, headers, silenceMs = 30_000, signal } = ask;
    const body = stream ?? (json === undefined ? undefined : JSON.stringify(json));
    const begun = performance.now();
    const told = (more: Partial<Exchange>): Exchange =>
      note({
        method,
        url: `${url.host}${url.pathname}${url.search}`,
        attempt,
        milliseconds: Math.round(performance.now() - begun),
        ...(json === undefined ? {} : { asked: redacted(json) }),
        ...more,
      });
    try {
      const response = await way.send(url, {
        method,
        headers: { accept: 'application/json', ...(json === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
        ...(body === undefined ? {} : { body }),
        silenceMs,
        ...(signal === undefined ? {} : { signal }),
        // A kept connection may have been closed by the other side a moment ago; what must not be repeated takes a new one.
        ...(repeats(ask) ? { line: lineTo(url) } : {}),
      });
      const status = response.statusCode ?? 0;
      const requestId = requestIdHeaders.map((name) => response.headers[name]).find((value) => typeof value === 'string') as
        | string
        | undefined;
      const exchange = told({ status, ...(requestId === undefined ? {} : { requestId }) });
      return { status, headers: response.headers, requestId, exchange, body: response };
    } catch (thrown) {
      const problem = toProblem(thrown);
      const exchange = told({ problem: problem.message });
      if (signal?.aborted === true) throw new Problem('cancelled', `${method} ${url.host} was given up`, { facts: { exchange } });
      const sent = problem.facts['sent'] !== false;
      const kind = sent && !repeats(ask) ? 'unknown-outcome' : problem.retry === 'never' ? 'unavailable' : problem.kind;
      throw new Problem(kind, problem.message, { facts: { exchange, sent }, cause: problem });
    }
  }

  async function attemptAll(ask: Ask, finish: (answer: OpenAnswer) => Promise<OpenAnswer>): Promise<OpenAnswer> {
    for (let attempt = 1; ; attempt += 1) {
      if (closed) throw new Problem('cancelled', 'the connection is closed');
      try {
        const answer = await budget.run(async () => await finish(await once(ask, attempt)));
        const { status, headers } = answer;
        const waitSeconds = retryAfter(headers);
        const tooFast = status === 429 || (throttles.includes(status) && waitSeconds !== undefined);
        if (tooFast) {
          budget.slowDown(waitSeconds);
          answer.body.destroy();
          const patient = attempt < attempts && (waitSeconds ?? 1) * 1000 <= patienceMs && ask.stream === undefined;
          if (!patient)
            throw new Problem('throttled', `${ask.url.host} has asked us to slow down (${status})`, {
              retryAfterSeconds: waitSeconds ?? 5,
              facts: { exchange: answer.exchange },
            });
          continue;
        }
        if (!passing.includes(status) || !repeats(ask) || attempt >= attempts) return answer;
        answer.body.destroy();
      } catch (thrown) {
        const problem = toProblem(thrown);
        const certain = repeats(ask) || problem.facts['sent'] === false;
        if (problem.kind !== 'unavailable' || !certain || ask.stream !== undefined || attempt >= attempts) throw problem;
      }
      await sleep(backoffMs * 2 ** (attempt - 1) * (0.75 + Math.random() / 2));
    }
  }

  return {
    async ask(ask) {
      let text = '';
      const answer = await attemptAll(ask, async (opened) => {
        text = await readText(opened, ask);
        return opened;
      });
      return { ...answer, text };
    },
    async open(ask) {
      return await attemptAll(ask, async (opened) => opened);
    },
    exchanges: () => [...past],
    close() {
      closed = true;
      for (const line of lines.values()) line.end();
      lines.clear();
    },
  };
}

function repeats({ method, again, stream }: Ask): boolean {
  if (stream !== undefined) return false;
  return (again ?? (method === 'POST' || method === 'PATCH' ? 'refused' : 'always')) === 'always';
}

async function readText({ body, exchange }: OpenAnswer, ask: Ask): Promise<string> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const piece of body as AsyncIterable<Buffer>) {
      bytes += piece.length;
      if (bytes > mostBytes)
        throw new Problem('internal', `${ask.url.host} answered more than ${mostBytes} bytes`, { facts: { exchange } });
      pieces.push(piece);
    }
  } catch (thrown) {
    if (thrown instanceof Problem) throw thrown;
    const kind = repeats(ask) ? 'unavailable' : 'unknown-outcome';
    throw new Problem(kind, `the answer of ${ask.url.host} was cut`, { cause: thrown, facts: { exchange } });
  }
  return Buffer.concat(pieces).toString('utf8');
}

/** Seconds, from either form of the header. */
function retryAfter(headers: IncomingHttpHeaders): number | undefined {
  const text = headers['retry-after'];
  if (text === undefined) return undefined;
  const seconds = /^\d+$/.test(text) ? Number(text) : Math.ceil((Date.parse(text) - Date.now()) / 1000);
  return Number.isFinite(seconds) ? Math.max(0, seconds) : undefined;
}
