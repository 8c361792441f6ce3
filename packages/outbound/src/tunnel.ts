import { request } from 'node:http';
import type { Socket } from 'node:net';
import { Problem } from '@virt8ra/contract/plain';
import { proxyText } from './proxies.js';

export interface TunnelOptions {
  /** Milliseconds until the proxy must have connected. Default 15,000. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

const longestMs = 15_000;

/**
 * Has an HTTP proxy connect to `host:port` (CONNECT, RFC 9110, 9.3.6) and answers the connection, on which nothing was said yet. Raises
 * `unavailable` when the proxy cannot be reached, does not want to, or cannot reach the other side.
 */
export async function openTunnel(
  proxy: URL,
  { host, port }: { readonly host: string; readonly port: number },
  { timeoutMs = longestMs, signal }: TunnelOptions = {},
): Promise<Socket> {
  const authority = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const through = `the proxy ${proxyText(proxy)}`;
  return await new Promise<Socket>((resolve, reject) => {
    const fail = (why: string, cause?: unknown): void =>
      reject(new Problem('unavailable', `${through} ${why}`, { ...(cause === undefined ? {} : { cause }), retryAfterSeconds: 10 }));
    const asking = request({
      host: proxy.hostname.replace(/^\[|\]$/g, ''),
      port: proxy.port === '' ? 80 : Number(proxy.port),
      method: 'CONNECT',
      path: authority,
      headers: { host: authority, ...authorization(proxy) },
      agent: false,
      ...(signal === undefined ? {} : { signal }),
    });
    const late = setTimeout(() => asking.destroy(new Error(`no answer within ${timeoutMs / 1000} s`)), timeoutMs);
    asking.once('connect', ({ statusCode = 0 }, socket: Socket, head) => {
      clearTimeout(late);
      if (statusCode < 200 || statusCode > 299) {
        socket.destroy();
        return fail(refusal(statusCode, authority));
      }
      if (head.length > 0) socket.unshift(head);
      resolve(socket);
    });
    asking.once('error', (error) => {
      clearTimeout(late);
      if (signal?.aborted === true) reject(error);
      else fail(`cannot be used: ${error.message}`, error);
    });
    asking.end();
  });
}

function refusal(status: number, authority: string): string {
  if (status === 407) return 'wants a user and a password that it takes (407): http://USER:PASSWORD@HOST:PORT';
  if (status === 403 || status === 405) return `does not let anybody through to ${authority} (${status})`;
  return `could not connect to ${authority} (${status})`;
}

function authorization({ username, password }: URL): Readonly<Record<string, string>> {
  if (username === '' && password === '') return {};
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { 'proxy-authorization': `Basic ${Buffer.from(pair).toString('base64')}` };
}
