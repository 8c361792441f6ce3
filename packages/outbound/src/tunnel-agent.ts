import { Agent as PlainAgent } from 'node:http';
import { Agent as SecureAgent } from 'node:https';
import type { Socket } from 'node:net';
import { isIP } from 'node:net';
import { type ConnectionOptions, connect } from 'node:tls';
import { bareHost, type Proxies, proxyFor } from './proxies.js';
import { openTunnel } from './tunnel.js';

export interface WayOptions {
  /** Whether connections are kept for the next request. Default false. */
  readonly keepAlive?: boolean;
  /** Default: any number. */
  readonly maxSockets?: number;
  /** The address that the proxy is asked to connect to in place of the host. Default: the host, which the proxy then resolves. */
  readonly addressOf?: (host: string) => Promise<string>;
}

type Created = (error: Error | null, socket?: Socket) => void;
type Asked = ConnectionOptions & { readonly timeout?: number };

/**
 * What to give to a request or a WebSocket to `url` as its `agent`, so that it goes through the proxy that stands before it. Undefined: none does,
 * and the request is to be made as ever. TLS is spoken with the other side, through the proxy, with the options of the request.
 */
export function agentThrough(url: URL, proxies: Proxies, options: WayOptions = {}): PlainAgent | undefined {
  const proxy = proxyFor(url, proxies);
  if (proxy === undefined) return undefined;
  const isSecure = url.protocol === 'https:' || url.protocol === 'wss:';
  const host = bareHost(url);
  const port = url.port === '' ? (isSecure ? 443 : 80) : Number(url.port);

  const open = async (asked: Asked): Promise<Socket> => {
    const address = (await options.addressOf?.(host)) ?? host;
    const tunnel = await openTunnel(proxy, { host: address, port }, asked.timeout === undefined ? {} : { timeoutMs: asked.timeout });
    if (!isSecure) return tunnel;
    const servername = asked.servername ?? (isIP(host) === 0 ? host : '');
    return connect({ ...asked, socket: tunnel, host, port, servername });
  };
  const made = new (isSecure ? SecureAgent : PlainAgent)({
    keepAlive: options.keepAlive ?? false,
    ...(options.maxSockets === undefined ? {} : { maxSockets: options.maxSockets }),
  });
  // Node calls it for every connection and takes the answer by the callback; its types do not know.
  Object.assign(made, {
    createConnection(asked: Asked, created: Created): undefined {
      open(asked).then(
        (socket) => created(null, socket),
        (error: Error) => created(error),
      );
    },
  });
  return made;
}
