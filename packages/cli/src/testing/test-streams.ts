import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pathOf } from '@virt8ra/client';
import {
  carrierFromSocket,
  documentFromProblem,
  instance,
  Problem,
  type StreamCarrier,
  type StreamEnded,
  type StreamFrame,
  type StreamNoteOf,
  streamSubprotocol,
} from '@virt8ra/contract';
import { WebSocketServer } from 'ws';

/** A stream that the CLI opened, from the far end. */
export interface TestStream {
  /** Below the instance, with its query. */
  readonly place: string;
  readonly authorization: string | undefined;
  /** All octets so far. */
  readonly text: string;
  readonly carrier: StreamCarrier;
  say(text: string): void;
  until(text: string): Promise<void>;
  readonly ended: Promise<StreamEnded>;
}

/** As much of a control plane as streams need: one instance, and places in it that the test plays. */
export interface TestStreams {
  readonly url: string;
  readonly paths: readonly string[];
  opened: Omit<StreamNoteOf<'opened'>, 'type'>;
  /** Every dial is refused with it while it is set. */
  refusal: Problem | undefined;
  /** Plays a place by itself instead of handing the stream to `next`. */
  play: ((stream: TestStream) => void) | undefined;
  /** The next stream that is opened. */
  next(): Promise<TestStream>;
  stop(): Promise<void>;
}

const web = `/${pathOf(instance, { tenant: 't', workspace: 'w', name: 'web' })}`;

export async function startTestStreams(): Promise<TestStreams> {
  const waiting: ((stream: TestStream) => void)[] = [];
  const ready: TestStream[] = [];
  const paths: string[] = [];
  const sockets = new WebSocketServer({ noServer: true, handleProtocols: () => streamSubprotocol });
  const server = createServer((request, response) => {
    const path = (request.url ?? '').split('?')[0];
    const answer = (status: number, body: unknown) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    if (path === web) answer(200, { metadata: { name: 'web', kind: 'instance' }, spec: {} });
    else if (path === `${web}/console/log`) response.writeHead(200).end('kept\r\noutput\n');
    else answer(404, documentFromProblem(new Problem('not-found', 'there is no such instance')));
  });
  const streams: TestStreams = {
    get url() {
      return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    },
    paths,
    opened: { writer: true, others: [] },
    refusal: undefined,
    play: undefined,
    next: async () => await new Promise((resolve) => (ready.length > 0 ? resolve(ready.shift() as TestStream) : waiting.push(resolve))),
    async stop() {
      for (const client of sockets.clients) client.terminate();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  server.on('upgrade', (request: IncomingMessage, socket, head) => {
    paths.push(request.url ?? '');
    const refusal =
      streams.refusal ?? (request.url?.startsWith(`${web}/`) === true ? undefined : new Problem('not-found', 'there is no such instance'));
    if (refusal !== undefined) {
      const body = JSON.stringify(documentFromProblem(refusal));
      socket.end(`HTTP/1.1 ${refusal.status} Refused\r\nconnection: close\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
      return;
    }
    sockets.handleUpgrade(request, socket, head, (accepted) => {
      const carrier = carrierFromSocket(accepted);
      carrier.send({ type: 'opened', ...streams.opened });
      const stream = playedStream(carrier, request);
      if (streams.play !== undefined) return streams.play(stream);
      const next = waiting.shift();
      if (next === undefined) ready.push(stream);
      else next(stream);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return streams;
}

function playedStream(carrier: StreamCarrier, request: IncomingMessage): TestStream {
  let text = '';
  const watchers = new Set<() => void>();
  const ended = new Promise<StreamEnded>((resolve) => {
    carrier.listen({
      frame(frame: StreamFrame) {
        text += 'type' in frame ? `<${frame.type}>` : Buffer.from(frame).toString();
        for (const watcher of watchers) watcher();
      },
      ended: resolve,
    });
  });
  return {
    place: (request.url ?? '').slice(web.length + 1),
    authorization: request.headers.authorization,
    get text() {
      return text;
    },
    carrier,
    say: (said) => carrier.send(Buffer.from(said)),
    until: async (expected) =>
      await new Promise((resolve) => {
        const look = () => {
          if (!text.includes(expected)) return;
          watchers.delete(look);
          resolve();
        };
        watchers.add(look);
        look();
      }),
    ended,
  };
}
