import { Agent, request as ask } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { disksPath, eventsPath, startTestServer, type TestServer, type TestServerOptions, workspacesPath } from './testing/test-server.js';

let server: TestServer;
let port: number;
const sockets = new Set<Socket>();

async function start(options: TestServerOptions): Promise<void> {
  server = await startTestServer(options);
  await server.http.listen({ host: '127.0.0.1', port: 0 });
  ({ port } = server.http.app.server.address() as AddressInfo);
  await server.call('PUT', `${workspacesPath}/prod`, { body: { spec: {} } });
}
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  sockets.clear();
  await server.stop();
});

interface Wire {
  readonly socket: Socket;
  text(): string;
  readonly closed: Promise<void>;
}

/** A connection on which anything may be sent. `deaf`: it reads nothing. */
async function open(deaf = false): Promise<Wire> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  sockets.add(socket);
  let text = '';
  socket.on('error', () => socket.destroy());
  socket.on('end', () => socket.end());
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  await new Promise<void>((resolve) => socket.once('connect', resolve));
  if (!deaf) socket.setEncoding('utf8').on('data', (more) => (text += more));
  return { socket, text: () => text, closed };
}

const headOf = (method: string, path: string, more = ''): string =>
  `${method} ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer acme-token\r\n${more}\r\n`;
const disk = (name: string, size = 1): { readonly path: string; readonly body: string } => ({
  path: `${disksPath}/${name}`,
  body: `{"spec":{"sizeGB":${size},"skuRef":"skus/RD500"}}`,
});
/** A byte at a time, for as long as somebody takes them. */
function dribble({ socket }: Wire, text: string, everyMs: number): void {
  let at = 0;
  const timer = setInterval(() => {
    if (socket.destroyed || !socket.writable) clearInterval(timer);
    else socket.write(text[at % text.length] ?? 'x');
    at += 1;
  }, everyMs);
  socket.once('close', () => clearInterval(timer));
}
const problemIn = (text: string): { readonly status: number; readonly detail: string; readonly code: string } => {
  const [head = '', body = ''] = text.split('\r\n\r\n');
  expect(head).toMatch(/content-type: application\/problem\+json/i);
  const problem = JSON.parse(body);
  expect(head).toContain(`HTTP/1.1 ${problem.status} `);
  return problem;
};

describe('a connection', () => {
  it('is ended with a problem when its request does not come, whole, in the time for it', async () => {
    await start({ connections: { headSeconds: 0.4, bodySeconds: 0.4 } });
    const { path } = disk('late');
    const head = await open();
    head.socket.write('GET / HTTP/1.1\r\nx: ');
    dribble(head, 'y', 20);
    const body = await open();
    body.socket.write(headOf('PUT', path, 'content-type: application/json\r\ncontent-length: 100000\r\n'));
    dribble(body, ' ', 20);
    const refused = await open();
    refused.socket.write(headOf('PUT', path, 'content-type: application/json\r\ncontent-length: 100000\r\n').replace('acme-token', 'none'));
    dribble(refused, ' ', 20);
    const silent = await open();
    await Promise.all([head, body, refused, silent].map(async ({ closed }) => await closed));
    expect(problemIn(head.text())).toMatchObject({
      status: 400,
      detail: expect.stringMatching(/head of the request did not arrive within 0.4 s/),
    });
    expect(problemIn(body.text())).toMatchObject({
      status: 400,
      detail: expect.stringMatching(/body of the request did not arrive within 0.4 s/),
    });
    expect(problemIn(refused.text())).toMatchObject({ status: 401 });
    expect(silent.text()).toBe('');
    expect((await server.call('GET', path)).statusCode).toBe(404);
  });

  it('keeps nothing of the requests that it has answered', async () => {
    await start({});
    const seen = new Set<Socket>();
    server.http.app.server.on('connection', (socket: Socket) => seen.add(socket));
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const listeners = (): number =>
      [...seen].reduce((sum, socket) => sum + socket.listenerCount('close') + socket.listenerCount('error'), 0);
    const counts: number[] = [];
    for (let at = 0; at < 20; at += 1) {
      const { path, body } = disk(`kept${at}`);
      const headers = { authorization: 'Bearer acme-token', 'content-type': 'application/json' };
      await new Promise<void>((resolve, reject) => {
        const sent = ask({ host: '127.0.0.1', port, method: 'PUT', path, agent, headers }, (message) =>
          message.resume().once('end', resolve),
        );
        sent.once('error', reject);
        sent.end(body);
      });
      counts.push(listeners());
    }
    agent.destroy();
    expect(seen.size).toBe(1);
    expect(counts.at(-1)).toBe(counts[0]);
  });

  it('that takes no answer, or brings no content, is closed, and an upload that goes on is not', async () => {
    await start({ connections: { stallSeconds: 0.6, bodySeconds: 0.5 } });
    const annotations = Object.fromEntries(Array.from({ length: 60 }, (_, index) => [`k${index}`, 'x'.repeat(1000)]));
    for (let at = 0; at < 40; at += 1)
      await server.call('PUT', disk(`d${at}`).path, { body: { annotations, spec: { sizeGB: 1, skuRef: 'a' } } });
    const deaf = await open(true);
    deaf.socket.pause();
    // Several megabytes each.
    for (let at = 0; at < 8; at += 1) deaf.socket.write(headOf('GET', disksPath));
    await expect.poll(async () => await connections()).toBe(0);
    const sizeBytes = 4000;
    const content = '/providers/virt8ra.image/v1beta1/tenants/acme/image-imports/i';
    const spec = { source: { upload: { sizeBytes, sha256: 'a'.repeat(64) } }, cpuArchitecture: 'amd64' };
    expect((await server.call('PUT', content, { body: { spec } })).statusCode).toBe(201);
    const upload = async (bytes: number): Promise<Wire> => {
      const wire = await open();
      wire.socket.write(
        headOf(
          'PATCH',
          `${content}/content`,
          `content-type: application/offset+octet-stream\r\nupload-offset: 0\r\ncontent-length: ${sizeBytes}\r\n`,
        ),
      );
      dribble(wire, 'x'.repeat(bytes), 20);
      return wire;
    };
    const stalled = await upload(1);
    await stalled.closed;
    expect(problemIn(stalled.text())).toMatchObject({ status: 400, detail: expect.stringMatching(/body of the request did not arrive/) });
    const slow = await open();
    slow.socket.write(
      headOf(
        'PATCH',
        `${content}/content`,
        `content-type: application/offset+octet-stream\r\nupload-offset: 0\r\ncontent-length: ${sizeBytes}\r\n`,
      ),
    );
    for (let sent = 0; sent < sizeBytes; sent += 50) {
      slow.socket.write('x'.repeat(50));
      await new Promise((resolve) => setTimeout(resolve, 15));
    }
    await expect.poll(() => slow.text()).toMatch(/^HTTP\/1\.1 204/);
  });

  it('may be cut in the middle of a request, half closed, or filled with requests, and never with another answer than its own', async () => {
    await start({ connections: { pipelined: 4 } });
    const cut = await open();
    const { path, body } = disk('cut');
    cut.socket.write(`${headOf('PUT', path, `content-type: application/json\r\ncontent-length: ${body.length}\r\n`)}${body.slice(0, 20)}`);
    cut.socket.resetAndDestroy();
    const half = await open();
    half.socket.end(headOf('GET', `${workspacesPath}/prod`, 'connection: close\r\n'));
    await half.closed;
    const shut = await open();
    shut.socket.end(`${headOf('PUT', path, `content-type: application/json\r\ncontent-length: ${body.length}\r\n`)}${body.slice(0, 20)}`);
    await shut.closed;
    expect((await server.call('GET', path)).statusCode).toBe(404);

    const many = await open();
    const total = 300;
    many.socket.write(
      Array.from({ length: total }, (_, at) => headOf('GET', `${workspacesPath}/${at % 2 === 0 ? 'prod' : 'none'}`)).join(''),
    );
    await expect.poll(() => many.text().split('HTTP/1.1 ').length - 1).toBe(total);
    expect(
      many
        .text()
        .split('HTTP/1.1 ')
        .slice(1)
        .map((answer) => answer.slice(0, 3)),
    ).toEqual(Array.from({ length: total }, (_, at) => (at % 2 === 0 ? '200' : '404')));

    // What follows a whole request and is none takes nothing from its answer.
    const spoiled = await open();
    const made = disk('made');
    spoiled.socket.write(
      `${headOf('PUT', made.path, `content-type: application/json\r\ncontent-length: ${made.body.length}\r\n`)}${made.body}\u0000garbage\r\n\r\n`,
    );
    await spoiled.closed;
    expect(spoiled.text()).toMatch(/^HTTP\/1\.1 201/);
    expect(spoiled.text().split('HTTP/1.1 ')).toHaveLength(2);
  });

  it('is refused what is no request, or too large for one, with a problem', async () => {
    await start({});
    const rows: readonly (readonly [string, number, string])[] = [
      [`GET ${disksPath}?x=${'y'.repeat(40_000)} HTTP/1.1\r\nhost: x\r\n\r\n`, 413, 'too-large'],
      [headOf('GET', disksPath, `x: ${'y'.repeat(40_000)}\r\n`), 413, 'too-large'],
      [headOf('GET', disksPath, Array.from({ length: 3000 }, (_, at) => `x${at}: ${'y'.repeat(10)}\r\n`).join('')), 413, 'too-large'],
      [headOf('GET', disksPath).replace('HTTP/1.1', 'HTTP/9.9'), 400, 'invalid-request'],
      [headOf('GET', disksPath, 'connection: close\r\n').replace('host: x\r\n', ''), 400, 'invalid-request'],
      [headOf('PUT', disksPath, 'content-length: 5\r\ntransfer-encoding: chunked\r\n'), 400, 'invalid-request'],
      [
        `${headOf('PUT', disk('x').path, 'content-type: application/json\r\ntransfer-encoding: chunked\r\n')}zz\r\n`,
        400,
        'invalid-request',
      ],
      [
        `${headOf('PUT', disk('x').path, 'content-type: application/json\r\ntransfer-encoding: chunked\r\n')}1;${'x'.repeat(20_000)}\r\n`,
        413,
        'too-large',
      ],
      ['CONNECT example.org:443 HTTP/1.1\r\nhost: example.org\r\n\r\n', 400, 'invalid-request'],
      [headOf('BREW', disksPath), 400, 'invalid-request'],
      [headOf('TRACE', disksPath, 'connection: close\r\n'), 404, 'not-found'],
    ];
    for (const [sent, status, code] of rows) {
      const wire = await open();
      wire.socket.write(sent);
      await wire.closed;
      expect(problemIn(wire.text()), sent.slice(0, 80)).toMatchObject({ status, code });
    }
    const hopeful = await open();
    hopeful.socket.write(headOf('GET', `${workspacesPath}/prod`, 'expect: a miracle\r\nconnection: close\r\n'));
    await hopeful.closed;
    expect(hopeful.text()).toMatch(/^HTTP\/1\.1 200/);
  });

  it('makes room when there are too many: first goes who has shown no token, and never who is being answered', async () => {
    await start({ connections: { connections: 50 } });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    expect(await get(agent)).toBe(200);
    const watcher = await open();
    watcher.socket.write(headOf('GET', eventsPath));
    await expect.poll(() => watcher.text()).toMatch(/beat/);
    const idle: Wire[] = [];
    for (let at = 0; at < 400; at += 1) idle.push(await open());
    await expect.poll(() => idle.filter(({ socket }) => !socket.destroyed).length).toBeLessThanOrEqual(48);
    expect(idle.at(-1)?.socket.destroyed).toBe(false);
    expect(watcher.socket.destroyed).toBe(false);
    expect(await get(agent)).toBe(200);
    agent.destroy();
  });
});

async function connections(): Promise<number> {
  return await new Promise((resolve) => server.http.app.server.getConnections((_error, count) => resolve(count)));
}

async function get(agent?: Agent): Promise<number> {
  return await new Promise((resolve, reject) => {
    const headers = { authorization: 'Bearer acme-token' };
    ask({ port, host: '127.0.0.1', path: `${workspacesPath}/prod`, headers, ...(agent === undefined ? {} : { agent }) }, (message) => {
      message.resume().once('end', () => resolve(message.statusCode ?? 0));
    })
      .on('error', reject)
      .end();
  });
}

describe('others', () => {
  it('are served as before while a crowd dribbles, idles, pipelines and does not read, and memory stays bounded', {
    timeout: 120_000,
  }, async () => {
    const totalBytes = 4 * 1024 * 1024;
    await start({ connections: { headSeconds: 3, bodySeconds: 3, connections: 2000 }, events: { bufferBytes: 500_000, totalBytes } });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const percentile = async (count: number): Promise<number> => {
      const times: number[] = [];
      for (let at = 0; at < count; at += 1) {
        const begun = performance.now();
        expect(await get(agent)).toBe(200);
        times.push(performance.now() - begun);
      }
      return times.sort((one, other) => one - other)[Math.floor(count * 0.99)] ?? 0;
    };
    await percentile(50);
    const alone = await percentile(300);

    const deaf: Wire[] = [];
    for (let at = 0; at < 60; at += 1) {
      const wire = await open(true);
      wire.socket.pause();
      wire.socket.write(headOf('GET', `${eventsPath}?since=now`));
      deaf.push(wire);
    }
    const late: Wire[] = [];
    for (let at = 0; at < 1000; at += 1) {
      const wire = await open();
      if (at % 3 === 1) wire.socket.write('GET / HTTP/1.1\r\nx: ');
      if (at % 3 === 2)
        wire.socket.write(headOf('PUT', disk('never').path, 'content-type: application/json\r\ncontent-length: 100000\r\n'));
      if (at % 3 !== 0) dribble(wire, ' ', 200);
      late.push(wire);
    }
    const pipelines = await Promise.all(Array.from({ length: 10 }, async () => await open()));
    for (const { socket } of pipelines) socket.write(headOf('GET', `${workspacesPath}/none`).repeat(200));
    global.gc?.();
    const before = process.memoryUsage();
    const annotations = Object.fromEntries(Array.from({ length: 60 }, (_, index) => [`k${index}`, 'x'.repeat(1000)]));
    let written = 0;
    const writing = (async () => {
      // Far more than the kernel takes for each of those who do not read.
      for (; written < 120; written += 1)
        await server.call('PUT', disk(`w${written}`).path, {
          body: { annotations, extensions: annotations, spec: { sizeGB: 1, skuRef: 'a' } },
        });
    })();
    const beside = await percentile(300);
    await writing;
    const after = process.memoryUsage();
    const grown = after.external + after.heapUsed - before.external - before.heapUsed;

    // Whoever was late is gone; whoever did not read finds the way back.
    await Promise.all(late.map(async ({ closed }) => await closed));
    let cut = 0;
    for (const { socket } of deaf) {
      let text = '';
      socket.setEncoding('utf8').on('data', (more) => (text += more));
      socket.resume();
      await expect.poll(() => text.includes('"too-slow"') || text.split('event: put').length > written).toBe(true);
      if (text.includes('"too-slow"')) cut += 1;
    }
    expect(cut).toBe(deaf.length);
    const told = `p99 alone ${alone.toFixed(1)} ms, beside ${beside.toFixed(1)} ms; memory grew by ${(grown / 1024 / 1024).toFixed(0)} MiB`;
    process.stdout.write(`${told}\n`);
    expect(beside, told).toBeLessThan(Math.max(1000, alone * 20));
    expect(grown, told).toBeLessThan(256 * 1024 * 1024);
    agent.destroy();
  });
});
