import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { inTransaction } from '@virt8ra/engine';
import { createRecordedLog, hasPostgres, startTestPostgres, type TestDatabase, type TestPostgres } from '@virt8ra/engine/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type AccessEndpoints, type AccessEndpointsOptions, createAccessEndpoints } from './access-endpoints.js';
import type { AccessTarget } from './forwarder.js';
import { accessMigrations } from './migrations.js';
import { tellMoved } from './moved.js';

const ready = (await hasPostgres('debian')) || (await hasPostgres('embedded'));
if (!ready) process.stdout.write('skipped: PostgreSQL is not installed\n');

describe.skipIf(!ready)('access endpoints', () => {
  let postgres: TestPostgres;
  let database: TestDatabase;
  /** A range of ports that are free now. */
  let ports: { first: number; last: number };
  const targets = new Map<string, AccessTarget>();
  const opened: AccessEndpoints[] = [];
  const guests: Server[] = [];

  beforeAll(async () => {
    postgres = await startTestPostgres();
  });
  afterAll(async () => await postgres.stop());
  beforeEach(async () => {
    database = await postgres.createDatabase(accessMigrations);
    const first = await freeRange(4);
    ports = { first, last: first + 3 };
    targets.clear();
  });
  afterEach(async () => {
    for (const endpoints of opened.splice(0)) await endpoints.stop();
    for (const guest of guests.splice(0)) guest.close();
  });

  async function start(options: Partial<AccessEndpointsOptions> = {}): Promise<AccessEndpoints> {
    const endpoints = createAccessEndpoints({
      pool: database.pool,
      listen: '127.0.0.1',
      ports,
      lookup: async (instance, port) => targets.get(`${instance}:${port}`),
      log: createRecordedLog(),
      ...options,
    });
    opened.push(endpoints);
    await endpoints.start();
    return endpoints;
  }
  /** A guest's server that answers with `behave`. */
  async function guest(behave: (socket: Socket) => void): Promise<AccessTarget> {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => undefined);
      behave(socket);
    });
    guests.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return { address: '127.0.0.1', port: (server.address() as AddressInfo).port };
  }
  const says = async (word: string): Promise<AccessTarget> => await guest((socket) => socket.end(word));

  it('lead to where the instance is at that moment, under one address', async () => {
    const endpoints = await start();
    const [endpoint] = await endpoints.ensure('res_a', [80]);
    expect(endpoint).toEqual({ port: 80, address: `127.0.0.1:${ports.first}` });
    targets.set('res_a:80', await says('here'));
    expect(await ask(endpoint?.address)).toBe('here');
    targets.set('res_a:80', await says('there'));
    expect(await ask(endpoint?.address)).toBe('there');
    expect(await endpoints.ensure('res_a', [80])).toEqual([endpoint]);
  });

  it('keep their addresses over a restart and a changed list', async () => {
    const before = await start();
    const made = await before.ensure('res_a', [22, 80]);
    await before.stop();
    const after = await start();
    targets.set('res_a:80', await says('still here'));
    expect(await ask(made[1]?.address)).toBe('still here');
    expect(await after.ensure('res_a', [80, 443])).toEqual([made[1], { port: 443, address: `127.0.0.1:${ports.first + 2}` }]);
    expect(await after.addressesOf(['res_a', 'res_b'])).toEqual(
      new Map([['res_a', [made[1], { port: 443, address: `127.0.0.1:${ports.first + 2}` }]]]),
    );
  });

  it('hold a client while the instance is nowhere, and let it through when it is somewhere', async () => {
    const endpoints = await start();
    const [endpoint] = await endpoints.ensure('res_a', [80]);
    const answer = ask(endpoint?.address);
    // Refused at first, as on a host whose guest is not up yet.
    const nobody = await says('never');
    const closed = guests.pop();
    closed?.close();
    targets.set('res_a:80', nobody);
    targets.set('res_a:80', await says('arrived'));
    expect(await answer).toBe('arrived');
  });

  it('let a client go when its patience is over', async () => {
    const endpoints = await start({ patienceMs: 100 });
    const [endpoint] = await endpoints.ensure('res_a', [80]);
    await expect(ask(endpoint?.address)).rejects.toThrow(/ECONNRESET/);
  });

  it('carry the answer whole to a slow client that has ended its side', async () => {
    const big = Buffer.alloc(8_000_000, 'x');
    const endpoints = await start();
    const [endpoint] = await endpoints.ensure('res_a', [80]);
    let asked = '';
    targets.set(
      'res_a:80',
      await guest((socket) => {
        socket.on('data', (chunk: Buffer) => {
          asked += chunk.toString();
        });
        socket.on('end', () => socket.end(big));
      }),
    );
    const answer = await ask(endpoint?.address, 'the whole question', 1);
    expect(asked).toBe('the whole question');
    expect(answer.length).toBe(big.length);
  });

  it('break connections to the old place on every replica when the move of the instance commits', async () => {
    const one = await start();
    await start({ listen: '127.0.0.2' });
    const [endpoint] = await one.ensure('res_a', [80]);
    const [other] = await one.ensure('res_b', [80]);
    const here = await guest((socket) => socket.write('hello'));
    targets.set('res_a:80', here);
    targets.set('res_b:80', here);
    const second = `127.0.0.2:${ports.first}`;
    await expect
      .poll(
        async () =>
          await dial(second).then(
            () => true,
            () => false,
          ),
      )
      .toBe(true);
    const clients = await Promise.all([endpoint?.address, second].map(dial));
    const bystander = await dial(other?.address);
    await Promise.all([...clients, bystander].map(async (client) => await once(client, 'data')));
    const broken = Promise.all(clients.map(closeOf));

    await inTransaction(database.pool, async (client) => {
      await tellMoved(client, 'res_a');
      targets.set('res_a:80', await says('there'));
      expect(await ask(endpoint?.address)).toBe('there');
      expect(clients.map(({ destroyed }) => destroyed)).toEqual([false, false]);
    });

    await broken;
    expect(await ask(second)).toBe('there');
    expect(bystander.destroyed).toBe(false);
  });

  it('lead a client anew when the instance goes elsewhere while it is being led', async () => {
    const endpoints = await start({
      lookup: async () => {
        const target = targets.get('res_a:80');
        if (target?.port === here.port) {
          // A client that is joined already is cut: the notification has arrived. It may be cut before the telling is answered.
          const cut = closeOf(joined);
          await tellMoved(database.pool, 'res_a');
          await cut;
          targets.set('res_a:80', there);
        }
        return target;
      },
    });
    const here = await says('here');
    const there = await guest((socket) => socket.write('there'));
    const [endpoint] = await endpoints.ensure('res_a', [80]);
    targets.set('res_a:80', there);
    const joined = await dial(endpoint?.address);
    await once(joined, 'data');
    targets.set('res_a:80', here);
    const client = await dial(endpoint?.address);
    const [answer] = (await once(client, 'data')) as [Buffer];
    expect(answer.toString()).toBe('there');
  });

  it('end with the instance, and their port is given to another one last', async () => {
    const endpoints = await start();
    const [endpoint] = await endpoints.ensure('res_a', [80]);
    targets.set('res_a:80', await guest((socket) => socket.write('hello')));
    const client = await dial(endpoint?.address);
    await once(client, 'data');
    const broken = closeOf(client);
    await endpoints.remove('res_a');
    await broken;
    await expect(ask(endpoint?.address)).rejects.toThrow(/ECONNREFUSED/);
    await endpoints.remove('res_a');
    const others = await endpoints.ensure('res_b', [1, 2, 3, 4]);
    expect(others[3]?.address).toBe(endpoint?.address);
    await expect(endpoints.ensure('res_c', [1])).rejects.toMatchObject({ kind: 'exhausted' });
  });

  it('pass over a port that another process has', async () => {
    const alien = createServer();
    guests.push(alien);
    alien.listen(ports.first, '127.0.0.1');
    await once(alien, 'listening');
    const endpoints = await start();
    expect(await endpoints.ensure('res_a', [80])).toEqual([{ port: 80, address: `127.0.0.1:${ports.first + 1}` }]);
  });

  it('refuse connections beyond their limit and recover', async () => {
    const endpoints = await start({ limits: { perEndpoint: 10, inAll: 1 } });
    const [endpoint] = await endpoints.ensure('res_a', [80]);
    targets.set('res_a:80', await guest((socket) => socket.write('hello')));
    const first = await dial(endpoint?.address);
    await once(first, 'data');
    await expect(ask(endpoint?.address)).rejects.toThrow(/ECONNRESET/);
    first.resetAndDestroy();
    targets.set('res_a:80', await says('room again'));
    await expect.poll(async () => await ask(endpoint?.address).catch(() => '')).toBe('room again');
  });

  it('are opened by every replica as soon as one makes them', async () => {
    const one = await start();
    const two = await start({ listen: '127.0.0.2' });
    targets.set('res_a:80', await says('either'));
    await one.ensure('res_a', [80]);
    await expect.poll(async () => await ask(`127.0.0.2:${ports.first}`).catch(() => '')).toBe('either');
    await one.remove('res_a');
    await expect.poll(async () => await ask(`127.0.0.2:${ports.first}`).catch((error: Error) => error.message)).toMatch(/ECONNREFUSED/);
    expect(await two.addressesOf(['res_a'])).toEqual(new Map());
  });

  it('give concurrent callers different ports and one address each', async () => {
    const endpoints = await start();
    const made = await Promise.all(['res_a', 'res_b', 'res_a', 'res_b'].map(async (instance) => await endpoints.ensure(instance, [80])));
    expect(made[0]).toEqual(made[2]);
    expect(made[1]).toEqual(made[3]);
    expect(made[0]).not.toEqual(made[1]);
  });
});

async function dial(address: string | undefined): Promise<Socket> {
  const [host, port] = (address ?? '').split(':');
  const socket = connect({ host: host ?? '', port: Number(port), allowHalfOpen: true });
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

async function closeOf(socket: Socket): Promise<void> {
  await new Promise<void>((resolve) => socket.once('close', () => resolve()));
}

/** Sends, ends, and answers everything that comes back. */
async function ask(address: string | undefined, question = 'hello?', pauseMs = 0): Promise<string> {
  const [host, port] = (address ?? '').split(':');
  const socket = connect({ host: host ?? '', port: Number(port), allowHalfOpen: true });
  socket.end(question);
  const chunks: Buffer[] = [];
  for await (const chunk of socket) {
    chunks.push(chunk as Buffer);
    if (pauseMs > 0) await pause(pauseMs);
  }
  return Buffer.concat(chunks).toString();
}

/** The first of `count` ports in a row that nobody uses. */
async function freeRange(count: number): Promise<number> {
  for (let attempt = 0; attempt < 50; attempt += 1) {
    const first = 21_000 + Math.floor(Math.random() * 10_000);
    const servers = await Promise.all(Array.from({ length: count }, async (_, index) => await tryListen(first + index)));
    const all = servers.every((server) => server !== undefined);
    await Promise.all(
      servers.map(
        async (server) => await new Promise<void>((resolve) => (server === undefined ? resolve() : server.close(() => resolve()))),
      ),
    );
    if (all) return first;
  }
  throw new Error('no free range of ports was found');
}

async function tryListen(port: number): Promise<Server | undefined> {
  const server = createServer();
  return await new Promise((resolve) => {
    server.once('error', () => resolve(undefined));
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}
