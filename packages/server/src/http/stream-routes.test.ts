import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import {
  endedBecause,
  Problem,
  type StreamCarrier,
  type StreamEnded,
  type StreamFrame,
  type StreamTarget,
  streamSubprotocol,
} from '@virt8ra/contract';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { postgresIsThere } from '../fleet/testing/test-database.js';
import type { OpenStream } from './stream-routes.js';
import { instancesPath, startTestServer, type TestServer, workspacesPath } from './testing/test-server.js';

/** The far end of a stream, in memory. */
interface Far {
  readonly target: StreamTarget;
  readonly by: string;
  readonly heard: StreamFrame[];
  say(frame: StreamFrame): void;
  end(ended: StreamEnded): void;
  readonly ended: Promise<StreamEnded>;
}

describe.skipIf(!(await postgresIsThere()))('streams over HTTP', () => {
  let server: TestServer;
  let url: string;
  const fars: Far[] = [];
  const sockets: WebSocket[] = [];
  let refusal: Problem | undefined;
  const web = `${instancesPath}/web`;

  const openStream: OpenStream = async (_resource, target, { by }) => {
    if (refusal !== undefined) throw refusal;
    let listener: Parameters<StreamCarrier['listen']>[0] | undefined;
    let tell: (ended: StreamEnded) => void = () => {};
    const far: Far = {
      target,
      by,
      heard: [],
      say: (frame) => listener?.frame(frame),
      end: (ended) => listener?.ended(ended),
      ended: new Promise((resolve) => {
        tell = resolve;
      }),
    };
    fars.push(far);
    return {
      opened: { type: 'opened', scrollbackBytes: 4 },
      carrier: {
        send: (frame, sent) => {
          far.heard.push(frame);
          sent?.();
        },
        listen: (on) => {
          listener = on;
          if (target.type !== 'console-log') return;
          on.frame(Buffer.from('all that '));
          on.frame(Buffer.from('was kept'));
          on.ended(endedBecause('done', ''));
        },
        pause: () => {},
        resume: () => {},
        end: (ended) => tell(ended),
      },
    };
  };

  beforeAll(async () => {
    server = await startTestServer({ openStream, streamLimits: { perSubject: 2 } });
    url = await server.http.listen({ host: '127.0.0.1', port: 0 });
    await server.call('PUT', `${workspacesPath}/prod`, { body: { spec: {} } });
    const spec = { zone: 'any', skuRef: 'skus/S', bootVolume: { deviceRef: 'block-storages/root' } };
    expect((await server.call('PUT', web, { body: { spec } })).statusCode).toBe(201);
  });
  afterEach(async () => {
    refusal = undefined;
    for (const socket of sockets.splice(0)) {
      if (socket.readyState === WebSocket.CLOSED) continue;
      socket.close();
      await once(socket, 'close');
    }
    fars.splice(0);
  });
  afterAll(async () => await server.stop());

  const dial = (
    path: string,
    headers: Readonly<Record<string, string>> = { authorization: 'Bearer acme-token' },
    protocols = [streamSubprotocol],
  ) => {
    const socket = new WebSocket(`${url.replace('http', 'ws')}${path}`, protocols, { headers });
    sockets.push(socket);
    return socket;
  };
  const opened = async (path: string, headers?: Readonly<Record<string, string>>, protocols?: string[]) => {
    const socket = dial(path, headers, protocols);
    const frames: { octets: string; binary: boolean }[] = [];
    socket.on('message', (octets, binary) => frames.push({ octets: String(octets), binary }));
    await once(socket, 'message');
    return { socket, frames, far: fars.at(-1) as Far };
  };
  const refused = async (path: string, headers?: Readonly<Record<string, string>>, protocols?: string[]) => {
    const socket = dial(path, headers, protocols);
    sockets.pop();
    socket.on('error', () => {});
    const [request, response] = (await once(socket, 'unexpected-response')) as [
      { destroy(): void },
      AsyncIterable<Buffer> & { statusCode: number },
    ];
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk);
    request.destroy();
    return { status: response.statusCode, body: JSON.parse(Buffer.concat(chunks).toString()) as { code: string; detail: string } };
  };
  const audited = async () =>
    (
      await server.pool.query<{ subject: string; verb: string; code: number; after: string | null }>(
        `select subject, verb, code, after from audit where verb like 'open.%' or verb like 'close.%' order by xid, seq`,
      )
    ).rows;

  it('join a caller to the place it names, and write down who it was, how long and how much', async () => {
    await server.pool.query('delete from audit');
    const { socket, frames, far } = await opened(`${web}/ports/8080`);
    expect(far).toMatchObject({ target: { type: 'port', port: 8080 }, by: 'ann' });
    expect(frames).toEqual([{ octets: '{"type":"opened","scrollbackBytes":4}', binary: false }]);
    socket.send(Buffer.from('GET /'));
    far.say(Buffer.from('page'));
    await once(socket, 'message');
    expect(frames[1]).toEqual({ octets: 'page', binary: true });
    await expect.poll(() => far.heard).toEqual([Buffer.from('GET /')]);
    far.end(endedBecause('done', ''));
    await once(socket, 'close');
    expect(JSON.parse(frames[2]?.octets ?? '')).toMatchObject({ type: 'ended', code: 'done' });
    await expect.poll(audited).toHaveLength(2);
    const [open, close] = await audited();
    expect(open).toEqual({ subject: 'ann', verb: 'open.ports/8080', code: 101, after: null });
    expect(close).toMatchObject({ subject: 'ann', verb: 'close.ports/8080', code: 200 });
    expect(JSON.parse(close?.after ?? '')).toEqual({ seconds: expect.any(Number), toInstance: 5, fromInstance: 4, ended: 'done' });
  });

  it('end when what allowed them is taken away', async () => {
    const headers = { authorization: 'Bearer roleless-token' };
    expect((await refused(`${web}/console`, headers)).status).toBe(404);
    await server.assign('dan', 'seca.workspace-editor');
    await expect.poll(async () => (await server.call('GET', web, { token: 'roleless-token' })).statusCode, { timeout: 3000 }).toBe(200);
    const { socket, frames } = await opened(`${web}/console`, headers);
    await server.assign('dan', undefined);
    await once(socket, 'close');
    expect(JSON.parse(frames.at(-1)?.octets ?? '')).toMatchObject({ type: 'ended', code: 'closed' });
  });

  it('take how a console is wanted from the query', async () => {
    await opened(`${web}/console?write=take&scrollback=100`);
    await opened(`${web}/vnc`);
    expect(fars.map(({ target }) => target)).toEqual([{ type: 'console', write: 'take', scrollbackBytes: 100 }, { type: 'vnc' }]);
  });

  it.each([
    ['without a token', `${web}/console`, {}, 401],
    ['with a token of another tenant', `${web}/console`, { authorization: 'Bearer other-token' }, 403],
    ['from a page of another origin', `${web}/console`, { authorization: 'Bearer acme-token', origin: 'https://evil.example' }, 403],
    ['to an instance that does not exist', `${instancesPath}/none/console`, undefined, 404],
    ['to a place that no instance has', `${web}/disk`, undefined, 404],
    ['to a port that cannot be', `${web}/ports/65536`, undefined, 400],
    ['to a console wanted in no known way', `${web}/console?write=please`, undefined, 400],
    ['to more of the past than a console tells', `${web}/console?scrollback=1e9`, undefined, 400],
  ])('are refused %s', async (_why, path, headers, status) => {
    expect(await refused(path, headers)).toMatchObject({ status });
    expect(fars).toEqual([]);
  });

  it('say in the answer to the upgrade why the place cannot be reached', async () => {
    await server.pool.query('delete from audit');
    refusal = new Problem('conflict', 'the instance does not run');
    expect(await refused(`${web}/console`)).toMatchObject({ status: 409, body: { code: 'conflict', detail: 'the instance does not run' } });
    expect(await audited()).toMatchObject([{ verb: 'open.console', code: 409 }]);
  });

  it('open once with a ticket, for the path it was given for, and within its life', async () => {
    const take = async (path = `${web}/console`) => {
      const { statusCode, body } = await server.call('POST', path);
      expect(statusCode).toBe(200);
      return (JSON.parse(body) as { protocols: string[] }).protocols;
    };
    const own = { origin: url };
    const protocols = await take();
    expect(await refused(`${web}/vnc`, own, protocols)).toMatchObject({ status: 401 });
    const { socket, far } = await opened(`${web}/console?write=no`, own, protocols);
    expect(socket.protocol).toBe(streamSubprotocol);
    expect(far.by).toBe('ann');
    expect(await refused(`${web}/console`, own, protocols)).toMatchObject({ status: 401 });
    const late = await take();
    await server.pool.query(`update stream_ticket set expires_at = clock_timestamp() - interval '1 s'`);
    expect(await refused(`${web}/console`, own, late)).toMatchObject({ status: 401, body: { detail: expect.stringContaining('ticket') } });
    expect((await server.call('POST', `${web}/console`, { token: 'other-token' })).statusCode).toBe(403);
    expect((await server.call('POST', `${web}/ports/0`)).statusCode).toBe(400);
  });

  it('are no more than a subject may have', async () => {
    await opened(`${web}/console`);
    await opened(`${web}/console`);
    expect(await refused(`${web}/console`)).toMatchObject({ status: 429, body: { detail: 'ann has 2 streams open; end one first' } });
    sockets.pop()?.terminate();
    await fars.at(-1)?.ended;
    await opened(`${web}/console`);
  });

  it.each([
    ['a text that is no note', (socket: WebSocket) => socket.send('hello')],
    ['a note that is not a caller’s to say', (socket: WebSocket) => socket.send('{"type":"said","event":"writes","by":"root"}')],
  ])('end at %s', async (_what, send) => {
    const { socket, far } = await opened(`${web}/console`);
    send(socket);
    expect(await far.ended).toMatchObject({ code: 'protocol' });
    await once(socket, 'close');
    expect(far.heard).toEqual([]);
  });

  it('end at a frame larger than any', async () => {
    const { socket, far } = await opened(`${web}/console`);
    socket.send(Buffer.alloc(70_000));
    expect(await far.ended).toMatchObject({ code: 'closed' });
    expect(far.heard).toEqual([]);
  });

  it('give the kept log of a console to a plain GET', async () => {
    const { statusCode, body, headers } = await server.call('GET', `${web}/console/log`);
    expect({ statusCode, body, type: headers['content-type'] }).toEqual({
      statusCode: 200,
      body: 'all that was kept',
      type: 'application/octet-stream',
    });
    expect((await server.call('GET', `${web}/console/log`, { token: 'other-token' })).statusCode).toBe(403);
  });

  it('leave a request alone that offers another protocol', async () => {
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = connect(Number(new URL(url).port), '127.0.0.1');
      let text = '';
      socket.on('error', reject);
      socket.on('data', (octets) => {
        text += octets.toString();
        if (text.includes('\r\n\r\n')) socket.end();
      });
      socket.on('close', () => resolve(text));
      const body = JSON.stringify({ spec: {} });
      socket.write(
        `PUT ${workspacesPath}/h2c HTTP/1.1\r\nhost: here\r\nauthorization: Bearer acme-token\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQBAAAAAAIAAAAA\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
      );
    });
    expect(answer).toMatch(/^HTTP\/1\.1 201 /);
    // And a connection that did so is used again.
    const again = await new Promise<number>((resolve, reject) => {
      const request = httpRequest(`${url}/healthz`, { headers: { connection: 'Upgrade', upgrade: 'h2c' } }, (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      });
      request.on('error', reject).end();
    });
    expect(again).toBe(200);
  });
});

describe.skipIf(!(await postgresIsThere()))('streams of a server that stops', () => {
  it('end with the reason, and hold it up no longer', async () => {
    const far = { ended: undefined as StreamEnded | undefined };
    const server = await startTestServer({
      openStream: async () => ({
        opened: { type: 'opened' },
        carrier: {
          send: (_frame, sent) => sent?.(),
          listen: () => {},
          pause: () => {},
          resume: () => {},
          end: (ended) => {
            far.ended = ended;
          },
        },
      }),
    });
    const url = await server.http.listen({ host: '127.0.0.1', port: 0 });
    await server.call('PUT', `${workspacesPath}/prod`, { body: { spec: {} } });
    const spec = { zone: 'any', skuRef: 'skus/S', bootVolume: { deviceRef: 'block-storages/root' } };
    await server.call('PUT', `${instancesPath}/web`, { body: { spec } });
    const socket = new WebSocket(`${url.replace('http', 'ws')}${instancesPath}/web/console`, {
      headers: { authorization: 'Bearer acme-token' },
    });
    await once(socket, 'message');
    const [last] = await Promise.all([once(socket, 'message'), server.stop()]);
    expect(JSON.parse(String(last[0]))).toMatchObject({ type: 'ended', code: 'stopping' });
    expect(far.ended).toMatchObject({ code: 'stopping' });
  });
});
