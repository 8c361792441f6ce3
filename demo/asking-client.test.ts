import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type AskingClient, startAsking } from './asking-client.js';

let server: Server;
let page: { bootId: string; boots: number; counter: number } | 'nonsense' | undefined;
let client: AskingClient;

beforeEach(async () => {
  page = { bootId: 'a', boots: 1, counter: 5 };
  server = createServer((_, reply) => {
    if (page === undefined) return void reply.socket?.destroy();
    reply.end(page === 'nonsense' ? '<html>' : JSON.stringify(page));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  client = startAsking(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});

afterEach(() => {
  client.stop();
  server.close();
});

const within = async (after: number) => await client.next(after, 10, new AbortController().signal);

describe('asking client', () => {
  it('measures how long nobody answered', async () => {
    const first = await within(0);
    page = undefined;
    await new Promise((resolve) => setTimeout(resolve, 400));
    page = { bootId: 'b', boots: 2, counter: 6 };
    const second = await within(first.at + 300);
    expect(second).toMatchObject({ bootId: 'b', counter: 6 });
    expect(client.longestGap(first.at)).toBeGreaterThan(300);
    expect(client.stepsBack).toBe(0);
  });

  it('notices a counter that went back', async () => {
    const first = await within(0);
    page = { bootId: 'b', boots: 2, counter: 4 };
    await within(first.at + 1);
    await within(performance.now());
    expect(client.stepsBack).toBe(1);
  });

  it('hears one that is too busy for ten questions a second', async () => {
    client.stop();
    let turn: Promise<unknown> = Promise.resolve();
    const busy = createServer((_, reply) => {
      turn = turn.then(async () => {
        await new Promise((resolve) => setTimeout(resolve, 800));
        reply.end(JSON.stringify(page));
      });
    });
    await new Promise<void>((resolve) => busy.listen(0, '127.0.0.1', resolve));
    client = startAsking(`http://127.0.0.1:${(busy.address() as AddressInfo).port}`, { spareAfterMs: 300 });
    await within(0);
    busy.close();
    busy.closeAllConnections();
  });

  it('takes a page that makes no sense for no answer', async () => {
    await within(0);
    page = 'nonsense';
    await new Promise((resolve) => setTimeout(resolve, 200));
    const heard = client.answers.length;
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(client.answers.length).toBe(heard);
  });
});
