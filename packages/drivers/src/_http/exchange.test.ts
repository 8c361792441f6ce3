import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createBudget } from './budget.js';
import { createExchanger, type Exchanger } from './exchange.js';
import { redacted } from './record.js';
import { createNodeWay } from './testing/node-way.js';

describe('an exchange with a provider', () => {
  let answer: (asked: IncomingMessage, response: ServerResponse) => void;
  let asked: string[] = [];
  const sockets = new Set<unknown>();
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    sockets.add(request.socket);
    answer(request, response);
  });
  let base: string;
  let exchanger: Exchanger;
  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    exchanger = createExchanger({
      way: createNodeWay(),
      budget: createBudget({ perSecond: 1000 }),
      requestIdHeaders: ['x-request-id'],
      backoffMs: 1,
      patienceMs: 50,
    });
  });
  afterAll(async () => {
    exchanger.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const at = (path: string): URL => new URL(path, base);
  const fresh = (): void => {
    asked = [];
    sockets.clear();
  };

  it('repeats what may be repeated until it is answered, over kept connections', async () => {
    fresh();
    answer = (_, response) => response.writeHead(asked.length < 3 ? 503 : 200, { 'x-request-id': `r${asked.length}` }).end('{}');
    expect(await exchanger.ask({ method: 'GET', url: at('/a') })).toMatchObject({ status: 200, requestId: 'r3', text: '{}' });
    expect(asked).toHaveLength(3);
    answer = (request) => request.socket.destroy();
    await expect(exchanger.ask({ method: 'DELETE', url: at('/a') })).rejects.toMatchObject({ kind: 'unavailable' });
    expect(asked).toHaveLength(6);
  });

  it('asks once for what may only be done once, and takes a new connection for it', async () => {
    fresh();
    answer = (_, response) => response.end('{}');
    await exchanger.ask({ method: 'GET', url: at('/a') });
    const kept = [...sockets];
    answer = (request) => request.socket.destroy();
    await expect(exchanger.ask({ method: 'POST', url: at('/a'), json: {} })).rejects.toMatchObject({ kind: 'unknown-outcome' });
    expect(asked).toEqual(['GET /a', 'POST /a']);
    expect([...sockets].filter((socket) => !kept.includes(socket))).toHaveLength(1);
    answer = (_, response) => response.writeHead(502).end();
    expect(await exchanger.ask({ method: 'POST', url: at('/a'), json: {} })).toMatchObject({ status: 502 });
    expect(asked).toHaveLength(3);
  });

  it('knows that nothing was done when nobody was there, and when it was too fast', async () => {
    fresh();
    // Nobody listens on that port any more.
    const gone = createServer();
    await new Promise<void>((resolve) => gone.listen(0, '127.0.0.1', resolve));
    const { port } = gone.address() as AddressInfo;
    await new Promise((resolve) => gone.close(resolve));
    await expect(exchanger.ask({ method: 'POST', url: new URL(`http://127.0.0.1:${port}/`), json: {} })).rejects.toMatchObject({
      kind: 'unavailable',
    });
    answer = (_, response) => response.writeHead(asked.length < 2 ? 429 : 201, { 'retry-after': '0' }).end('{}');
    expect(await exchanger.ask({ method: 'POST', url: at('/b'), json: {} })).toMatchObject({ status: 201 });
    answer = (_, response) => response.writeHead(429, { 'retry-after': new Date(Date.now() + 60_000).toUTCString() }).end('{}');
    await expect(exchanger.ask({ method: 'GET', url: at('/b') })).rejects.toMatchObject({ kind: 'throttled' });
  });
});

describe('a budget', () => {
  it('lets no more run at once than it may, in their order', async () => {
    const budget = createBudget({ concurrency: 2, perSecond: 1000 });
    let running = 0;
    let most = 0;
    const order: number[] = [];
    await Promise.all(
      Array.from({ length: 9 }, async (_, index) =>
        budget.run(async () => {
          running += 1;
          most = Math.max(most, running);
          order.push(index);
          await new Promise((resolve) => setImmediate(resolve));
          running -= 1;
        }),
      ),
    );
    expect(most).toBe(2);
    expect(order).toEqual(order.toSorted((a, b) => a - b));
  });

  it('halves its rate on complaint, refuses at once what would wait for long, and recovers', async () => {
    let now = 0;
    const budget = createBudget({ perSecond: 10, now: () => now });
    budget.slowDown(30);
    expect(budget.perSecond).toBe(5);
    await expect(budget.run(async () => 1)).rejects.toMatchObject({ kind: 'throttled', retryAfterSeconds: 30 });
    now += 31_000;
    for (let count = 0; count < 40; count += 1) {
      now += 1000;
      await budget.run(async () => 1);
    }
    expect(budget.perSecond).toBe(10);
  });
});

describe('a recorded exchange', () => {
  it('holds no secret, however it is written', () => {
    const body = {
      server: {
        name: 'web',
        user_data: 'c2VjcmV0',
        adminPass: 'x1',
        keys: [{ privateKey: 'x2' }],
        auth: { password: { user: { password: 'x3' } } },
      },
      Secret: 'x4',
    };
    const text = JSON.stringify(redacted(body));
    for (const secret of ['c2VjcmV0', 'x1', 'x2', 'x3', 'x4']) expect(text).not.toContain(secret);
    expect(text).toContain('web');
  });
});
