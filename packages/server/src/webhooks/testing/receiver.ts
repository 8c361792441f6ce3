import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { createReceiverAuthority } from '@virt8ra/outbound/testing';

export interface Received {
  readonly id: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
  readonly at: number;
  readonly event: {
    readonly type: string;
    readonly timestamp: string;
    readonly data: { readonly ref?: string; readonly resource?: unknown };
  };
}

export interface Reply {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly delayMs?: number;
  /** The request is taken, and its connection cut before the answer. */
  readonly cut?: boolean;
}

/** A receiver over TLS, under a CA of its own, that remembers all that came. */
export interface TestReceiver {
  readonly port: number;
  /** PEM. */
  readonly ca: string;
  readonly received: Received[];
  /** What it answers; by default 204 at once. */
  reply: (received: Received, count: number) => Reply;
  url(path: string, host?: string): string;
  /** What came to a path, oldest first. */
  at(path: string): readonly Received[];
  stop(): Promise<void>;
}

export async function startReceiver(names: readonly string[] = ['receiver.test']): Promise<TestReceiver> {
  const authority = await createReceiverAuthority();
  const received: Received[] = [];
  const server = createServer(await authority.issue(names, ['127.0.0.1']), (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString('utf8');
      const { headers, url: path = '' } = request;
      const one: Received = {
        id: String(headers['webhook-id']),
        path,
        headers,
        body,
        at: Date.now(),
        event: JSON.parse(body) as Received['event'],
      };
      received.push(one);
      const { status = 204, headers: answered = {}, delayMs = 0, cut = false } = receiver.reply(one, received.length);
      setTimeout(() => {
        if (cut) request.socket.destroy();
        else response.writeHead(status, answered).end();
      }, delayMs);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const receiver: TestReceiver = {
    port,
    ca: authority.certificate,
    received,
    reply: () => ({}),
    url: (path, host = '127.0.0.1') => `https://${host}:${port}${path}`,
    at: (path) => received.filter((each) => each.path === path),
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return receiver;
}

/** As a receiver does it, with what Node has: see docs/operating/webhooks.md. */
export function verifies({ headers, body }: Pick<Received, 'headers' | 'body'>, secret: string, now = Date.now()): boolean {
  const [id, at, signatures] = ['webhook-id', 'webhook-timestamp', 'webhook-signature'].map((name) => String(headers[name]));
  if (Math.abs(now / 1000 - Number(at)) > 300) return false;
  const key = Buffer.from(secret.slice('whsec_'.length), 'base64');
  const wanted = createHmac('sha256', key).update(`${id}.${at}.${body}`).digest();
  return (signatures ?? '').split(' ').some((each) => {
    const given = Buffer.from(each.slice('v1,'.length), 'base64');
    return given.length === wanted.length && timingSafeEqual(given, wanted);
  });
}
