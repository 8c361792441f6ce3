import { type IncomingMessage, type Agent as PlainAgent, Agent as PlainLine, request as requestPlain } from 'node:http';
import { request as requestSecure, Agent as SecureLine } from 'node:https';
import { isIP, type Socket } from 'node:net';
import type { Readable } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { Problem } from '@virt8ra/contract';
import { agentThrough, bareHost, type Proxies } from '@virt8ra/outbound';
import type { Egress } from './egress.js';

export interface OutboundOptions {
  readonly proxies: Proxies;
  /** Certificates to trust; undefined: what Node trusts. */
  readonly ca?: readonly string[] | undefined;
  /** Whether a proxy is given the names of strangers' hosts. Default false: it is given an address that was checked here. */
  readonly proxyResolves?: boolean;
}

export interface Question {
  readonly method?: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Readable;
  /** Of a stranger's URL: where it may lead. Undefined: the operator has named the URL. */
  readonly egress?: Egress;
  readonly signal?: AbortSignal;
  /** Milliseconds without an octet after which it is given up. Default 30,000. */
  readonly silenceMs?: number;
  /** For several requests to one place, one after the other. */
  readonly line?: Line;
}

/** Connections that are kept from one request to the next. */
export interface Line {
  readonly agent: PlainAgent;
  end(): void;
}

/** The one way out of this server: proxy, CAs, time limits, and the addresses that strangers' URLs may lead to. */
export interface Outbound {
  /**
   * One request; answers the response with its body unread. Redirects are not followed. Raises `validation` for a closed address, and
   * `unavailable`, with the fact `sent: false` when nothing can have reached the other side.
   */
  send(url: URL, question?: Question): Promise<IncomingMessage>;
  /** For questions to this host alone. `connections`: how many at once. Default 1. */
  open(url: URL, egress?: Egress, connections?: number): Line;
}

const silenceMs = 30_000;

export function createOutbound({ proxies, ca, proxyResolves = false }: OutboundOptions): Outbound {
  const through = (url: URL, egress: Egress | undefined, kept: number): PlainAgent | undefined =>
    agentThrough(url, proxies, {
      keepAlive: kept > 0,
      ...(kept > 0 ? { maxSockets: kept } : {}),
      ...(egress === undefined || proxyResolves ? {} : { addressOf: async (host) => await checkedAddress(egress, host) }),
    });
  return {
    open(url, egress, connections = 1) {
      const direct = { keepAlive: true, maxSockets: connections };
      const agent = through(url, egress, connections) ?? (url.protocol === 'https:' ? new SecureLine(direct) : new PlainLine(direct));
      return { agent, end: () => agent.destroy() };
    },
    async send(url, question = {}) {
      const { egress, signal, line, body } = question;
      const host = bareHost(url);
      // net.connect asks no lookup for literal addresses.
      if (egress !== undefined && isIP(host) !== 0) egress.assertAddress(host);
      const limit = question.silenceMs ?? silenceMs;
      const ask = url.protocol === 'https:' ? requestSecure : requestPlain;
      return await new Promise<IncomingMessage>((resolve, reject) => {
        const asking = ask(url, {
          method: question.method ?? 'GET',
          headers: {
            'accept-encoding': 'identity',
            'user-agent': 'virt8ra',
            ...question.headers,
            ...(typeof body === 'string' ? { 'content-length': Buffer.byteLength(body) } : {}),
          },
          // No shared agent: a kept connection of another question would skip the check of the address.
          agent: line?.agent ?? through(url, egress, 0) ?? false,
          timeout: limit,
          ...(egress === undefined ? {} : { lookup: egress.lookup }),
          ...(signal === undefined ? {} : { signal }),
          ...(ca === undefined || url.protocol !== 'https:' ? {} : { ca: [...ca] }),
        });
        asking.once('timeout', () =>
          asking.destroy(new Problem('unavailable', `${url.host} was silent for ${limit / 1000} s`, { retryAfterSeconds: 10 })),
        );
        asking.once('response', resolve);
        let sent = false;
        asking.once('socket', (socket) => whenOpen(socket, url, () => (sent = true)));
        asking.once('error', (error) => reject(problemFrom(error, url, sent)));
        if (body === undefined || typeof body === 'string') asking.end(body);
        else {
          asking.once('close', () => body.destroy());
          body.once('error', (error) => asking.destroy(error)).pipe(asking);
        }
      });
    },
  };
}

/** All of an answer. Raises `too-large`, `unavailable`. */
export async function readBody(response: IncomingMessage, mostBytes: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const piece of response as AsyncIterable<Buffer>) {
      bytes += piece.length;
      if (bytes > mostBytes) throw new Problem('too-large', `the answer has more than ${mostBytes} bytes`);
      pieces.push(piece);
    }
  } catch (error) {
    if (error instanceof Problem || (error as Error).name === 'AbortError') throw error;
    throw new Problem('unavailable', `the answer was cut: ${(error as Error).message}`, { cause: error, retryAfterSeconds: 10 });
  }
  return Buffer.concat(pieces);
}

async function checkedAddress(egress: Egress, host: string): Promise<string> {
  if (isIP(host) !== 0) return host;
  return await new Promise<string>((resolve, reject) => {
    egress.lookup(host, { all: false }, (error, address) => {
      if (error === null) resolve(String(address));
      else reject(error);
    });
  });
}

/** Once a request can have left: when the connection stands, and over TLS when the other side is known. */
function whenOpen(socket: Socket, { protocol }: URL, open: () => void): void {
  if (protocol === 'https:' && !(socket as TLSSocket).authorized) socket.once('secureConnect', open);
  else if (socket.connecting) socket.once('connect', open);
  else open();
}

function problemFrom(error: Error, url: URL, sent: boolean): Error {
  if (error.name === 'AbortError') return error;
  const facts = sent ? {} : { facts: { sent } };
  if (error instanceof Problem) {
    const { kind, message, retryAfterSeconds } = error;
    return sent
      ? error
      : new Problem(kind, message, { ...facts, cause: error, ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }) });
  }
  return new Problem('unavailable', `${url.host} could not be reached: ${error.message}`, {
    ...facts,
    cause: error,
    retryAfterSeconds: 10,
  });
}
