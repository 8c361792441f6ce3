import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { Problem, problemFromDocument } from '@virt8ra/contract/plain';
import { agentThrough, type Proxies } from '@virt8ra/outbound';
import { clockReason } from './clock-check.js';

/** What a TLS connection to the control plane needs. Without certificate and key only enrolment is possible. */
export interface Credentials {
  readonly ca: string;
  readonly certificate?: string;
  readonly privateKey?: string;
  /** Absent: it is reached without one. */
  readonly proxies?: Proxies;
}

export interface ExchangeOptions {
  readonly method: 'GET' | 'POST';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly signal?: AbortSignal;
}

const answerLimit = 1024 * 1024;

/**
 * One HTTPS request to the control plane, which must show a certificate of `credentials.ca`. Answers the response with its body unread.
 * Raises the server's own Problem for an error status, Problem unavailable when it cannot be reached.
 */
export async function exchange(url: URL, credentials: Credentials, options: ExchangeOptions): Promise<IncomingMessage> {
  const response = await answerOf(url, credentials, options);
  const status = response.statusCode ?? 0;
  if (status >= 200 && status < 300) return response;
  throw problemFromDocument(await readAnswer(response).catch(() => undefined), status);
}

/** What a GET is answered with, whatever it is. Raises Problem unavailable when there is no answer. `date`: the server's, milliseconds. */
export async function probe(
  url: URL,
  credentials: Credentials,
): Promise<{
  readonly status: number;
  readonly date: number;
  readonly localAddress: string | undefined;
  readonly problem: string | undefined;
}> {
  const response = await answerOf(url, credentials, { method: 'GET' });
  const { localAddress } = response.socket;
  const status = response.statusCode ?? 0;
  const body = await readAnswer(response).catch(() => undefined);
  const problem = status >= 400 ? problemFromDocument(body, status).message : undefined;
  return { status, date: Date.parse(response.headers.date ?? ''), localAddress, problem };
}

async function answerOf(url: URL, credentials: Credentials, options: ExchangeOptions): Promise<IncomingMessage> {
  const body = options.body === undefined ? undefined : JSON.stringify(options.body);
  return await new Promise<IncomingMessage>((resolve, reject) => {
    const outgoing = request(url, {
      method: options.method,
      ca: credentials.ca,
      ...(credentials.certificate === undefined ? {} : { cert: credentials.certificate }),
      ...(credentials.privateKey === undefined ? {} : { key: credentials.privateKey }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      minVersion: 'TLSv1.3',
      agent: agentThrough(url, credentials.proxies ?? {}) ?? false,
      timeout: 30_000,
      headers: {
        ...options.headers,
        ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
      },
    });
    outgoing.once('response', resolve);
    outgoing.once('timeout', () => outgoing.destroy(new Error('no answer within 30 s')));
    outgoing.once('error', (error) => {
      if (error.name === 'AbortError') reject(new Problem('cancelled', `the request to ${url.pathname} was cancelled`, { cause: error }));
      else reject(new Problem('unavailable', `${url.origin} cannot be reached: ${clockReason(error) ?? error.message}`, { cause: error }));
    });
    outgoing.end(body);
  });
}

/** The JSON body of a response. Raises Problem internal when it is none, or absurdly long. */
export async function readAnswer(response: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response) {
    chunks.push(chunk as Buffer);
    bytes += (chunk as Buffer).length;
    if (bytes > answerLimit) throw new Problem('internal', 'the control plane’s answer is longer than 1 MiB');
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown;
  } catch (cause) {
    throw new Problem('internal', 'the control plane’s answer is not JSON', { cause });
  }
}
