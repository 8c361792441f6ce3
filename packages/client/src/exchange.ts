import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { Problem } from '@virt8ra/contract';

/** Why no answer came. `refused`, `unresolved` and `untrusted` happen before the request was sent, so that nothing can have changed. */
export type ConnectionFault = 'refused' | 'unresolved' | 'untrusted' | 'cut' | 'timeout';

export type Method = 'GET' | 'HEAD' | 'PUT' | 'POST' | 'PATCH' | 'DELETE';

export interface ExchangeRequest {
  readonly method: Method;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | AsyncIterable<Uint8Array>;
  readonly signal: AbortSignal | undefined;
  /** Seconds without an octet in either direction after which the exchange counts as timed out. */
  readonly timeoutSeconds: number;
  /** PEM certificates to trust instead of the system's. */
  readonly ca: string | undefined;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** One request, one answer, no repetition. Raises `unavailable` with fact `fault`, or `cancelled` when `signal` fired. */
export async function exchange(request: ExchangeRequest): Promise<Answer> {
  const message = await openExchange(request);
  try {
    const chunks: Buffer[] = [];
    for await (const chunk of message) chunks.push(chunk as Buffer);
    return { status: message.statusCode ?? 0, headers: message.headers, text: Buffer.concat(chunks).toString('utf8') };
  } catch (error) {
    throw problemFromConnection(error, request);
  }
}

/** Like `exchange`, but hands over the answer when its head has arrived; the caller reads the body. */
export function openExchange(request: ExchangeRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const secure = request.url.protocol === 'https:';
    const options: RequestOptions & { ca?: string } = {
      method: request.method,
      headers: request.headers,
      ...(request.signal === undefined ? {} : { signal: request.signal }),
      timeout: request.timeoutSeconds * 1000,
      // A kept connection may have been closed by the server a moment ago; a POST must not find that out by losing its reply.
      ...(request.method === 'POST' || request.method === 'PATCH' ? { agent: false } : {}),
      ...(secure && request.ca !== undefined ? { ca: request.ca } : {}),
    };
    let answered = false;
    const outgoing = (secure ? httpsRequest : httpRequest)(request.url, options, (message) => {
      answered = true;
      resolve(message);
    });
    outgoing.on('timeout', () => outgoing.destroy(Object.assign(new Error('no answer in time'), { code: 'ETIMEDOUT' })));
    outgoing.on('error', (error) => reject(problemFromConnection(error, request)));
    if (request.body === undefined || typeof request.body === 'string') {
      outgoing.end(request.body);
      return;
    }
    const body = request.body;
    const send = async () => {
      for await (const chunk of body) {
        // An answer before the end of the body is a refusal: the rest need not travel.
        if (answered || outgoing.destroyed) break;
        if (!outgoing.write(chunk)) await drained(outgoing);
      }
      outgoing.end();
    };
    send().catch((cause: unknown) => {
      const reason = cause instanceof Error ? cause.message : String(cause);
      outgoing.destroy(cause instanceof Problem ? cause : new Problem('internal', `cannot read what is to be sent: ${reason}`, { cause }));
    });
  });
}

interface Drainable {
  once(event: 'drain' | 'close', listener: () => void): unknown;
  off(event: 'drain' | 'close', listener: () => void): unknown;
}

function drained(stream: Drainable): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      stream.off('drain', done);
      stream.off('close', done);
      resolve();
    };
    stream.once('drain', done);
    stream.once('close', done);
  });
}

const faultTexts: Record<ConnectionFault, string> = {
  refused: 'connection refused: nothing listens there',
  unresolved: 'its host name does not resolve',
  untrusted: 'its TLS certificate is not trusted',
  cut: 'the connection was cut',
  timeout: 'no answer in time',
};

/** Raised errors of the socket layer as a Problem with the facts `fault` and `url`. */
export function problemFromConnection(error: unknown, request: Pick<ExchangeRequest, 'url' | 'signal'>): Problem {
  if (error instanceof Problem) return error;
  if (request.signal?.aborted === true) return new Problem('cancelled', 'interrupted', { cause: error });
  const fault = faultFromError(error);
  return new Problem('unavailable', `cannot reach ${request.url.origin}: ${faultTexts[fault]}`, {
    facts: { fault, url: request.url.origin },
    cause: error,
  });
}

function faultFromError(error: unknown): ConnectionFault {
  const code = String((error as { code?: unknown } | undefined)?.code ?? '');
  if (['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOENT'].includes(code)) return 'refused';
  if (['ENOTFOUND', 'EAI_AGAIN'].includes(code)) return 'unresolved';
  if (code === 'ETIMEDOUT') return 'timeout';
  if (/CERT|SELF_SIGNED|SIGNATURE|ERR_TLS|ERR_SSL/.test(code)) return 'untrusted';
  // Both families refused: Node reports an AggregateError without one code of its own.
  const first = error instanceof AggregateError ? (error.errors[0] as unknown) : undefined;
  return first === undefined ? 'cut' : faultFromError(first);
}

/** The fault of a problem made here, or undefined when the server itself answered. */
export function faultOf(problem: Problem): ConnectionFault | undefined {
  const fault = problem.facts['fault'];
  return typeof fault === 'string' && fault in faultTexts ? (fault as ConnectionFault) : undefined;
}
