import { createServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';

/** An HTTP proxy that knows CONNECT and nothing else. */
export interface ConnectProxy {
  readonly url: string;
  /** `host:port` of every tunnel that was asked for, oldest first. */
  readonly asked: readonly string[];
  /** Cuts every tunnel there is. */
  cut(): void;
  close(): Promise<void>;
}

export interface ConnectProxyOptions {
  /** Where a name leads, in place of asking a resolver; undefined: nowhere (502). Default: as it is written. */
  readonly lead?: (host: string) => string | undefined;
  /** `USER:PASSWORD` that must be given. */
  readonly user?: string;
}

export async function startConnectProxy({ lead = (host) => host, user }: ConnectProxyOptions = {}): Promise<ConnectProxy> {
  const asked: string[] = [];
  const sockets = new Set<Socket>();
  const keep = (socket: Socket): Socket => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    return socket;
  };
  const server = createServer((_request, response) => {
    response.statusCode = 405;
    response.end();
  });
  server.on('connect', ({ url = '', headers }, client: Socket, head: Buffer) => {
    keep(client);
    const refuse = (status: string): void => {
      client.end(`HTTP/1.1 ${status}\r\n\r\n`);
    };
    if (user !== undefined && headers['proxy-authorization'] !== `Basic ${Buffer.from(user).toString('base64')}`)
      return refuse('407 Proxy Authentication Required');
    asked.push(url);
    const { hostname, port } = new URL(`tcp://${url}`);
    const host = lead(hostname.replace(/^\[|\]$/g, ''));
    if (host === undefined) return refuse('502 Bad Gateway');
    const far = keep(connect(Number(port), host));
    far.once('connect', () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      far.write(head);
      far.pipe(client);
      client.pipe(far);
    });
    far.once('error', () => refuse('502 Bad Gateway'));
    client.once('close', () => far.destroy());
    far.once('close', () => client.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    cut() {
      for (const socket of sockets) socket.destroy();
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
