import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { carrierFromSocket, type StreamCarrier, type StreamEnded, type StreamNote } from '@virt8ra/contract';
import WebSocket, { WebSocketServer } from 'ws';

/** Both ends of a stream over a real WebSocket. */
export interface CarrierPair {
  /** The end under test. */
  readonly here: StreamCarrier;
  readonly there: HeardEnd;
}

/** An end that remembers what it heard. */
export interface HeardEnd {
  readonly carrier: StreamCarrier;
  readonly notes: readonly StreamNote[];
  readonly text: string;
  readonly ended: StreamEnded | undefined;
  /** Resolves when `found` answers something; asked again at everything heard. */
  until<Found>(what: string, found: () => Found | undefined | false, timeoutMs?: number): Promise<Found>;
}

export function hear(carrier: StreamCarrier): HeardEnd {
  const notes: StreamNote[] = [];
  const watchers = new Set<() => void>();
  let text = '';
  let over: StreamEnded | undefined;
  const wake = () => {
    for (const watcher of watchers) watcher();
  };
  carrier.listen({
    frame(frame) {
      if ('type' in frame) notes.push(frame);
      else text += Buffer.from(frame).toString('latin1');
      wake();
    },
    ended(ended) {
      over = ended;
      wake();
    },
  });
  return {
    carrier,
    notes,
    get text() {
      return text;
    },
    get ended() {
      return over;
    },
    until: async (what, found, timeoutMs = 20_000) =>
      await new Promise((resolve, reject) => {
        const look = () => {
          const answer = found();
          if (answer === undefined || answer === false) return;
          watchers.delete(look);
          clearTimeout(timer);
          resolve(answer);
        };
        const timer = setTimeout(() => {
          watchers.delete(look);
          reject(new Error(`not within ${timeoutMs} ms: ${what}; heard ${JSON.stringify({ notes, over, text: text.slice(-300) })}`));
        }, timeoutMs);
        watchers.add(look);
        look();
      }),
  };
}

/** Makes pairs; `close` ends them all. */
export async function carrierPairs(): Promise<{ make(): Promise<CarrierPair>; close(): Promise<void> }> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false });
  await once(server, 'listening');
  return {
    async make() {
      const dialled = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`, { perMessageDeflate: false });
      const opened = new Promise<StreamCarrier>((resolve) => dialled.once('open', () => resolve(carrierFromSocket(dialled))));
      const [accepted] = (await once(server, 'connection')) as [WebSocket];
      const there = carrierFromSocket(accepted);
      return { here: await opened, there: hear(there) };
    },
    async close() {
      for (const client of server.clients) client.terminate();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
