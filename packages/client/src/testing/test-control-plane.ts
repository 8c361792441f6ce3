import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import {
  type Address,
  documentFromProblem,
  type Kind,
  kinds,
  type PlacePart,
  Problem,
  type Progress,
  type Resource,
  toProblem,
  urnFromAddress,
} from '@virt8ra/contract';
import { partsOf } from '../path.js';

/** Trouble for one request that is to come: `before` nothing is done, `after` the work is done and the reply lost. */
export interface Fault {
  readonly method: string;
  readonly cut?: 'before' | 'after';
  readonly status?: number;
  readonly retryAfterSeconds?: number;
  /** Octets of the body that still arrive before the cut (PATCH). */
  readonly afterBytes?: number;
}

interface StoredEvent {
  readonly cursor: number;
  readonly type: string;
  readonly kind: string;
  readonly ref: string;
  readonly resource?: Resource;
  readonly progress?: Progress;
}

interface Stream {
  readonly response: ServerResponse;
  readonly kinds: readonly string[];
}

export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** In-memory control plane that speaks the API's grammar: enough of one to test clients, with faults to order. */
export interface TestControlPlane {
  readonly url: string;
  readonly token: string;
  readonly seen: readonly Seen[];
  readonly faults: Fault[];
  /** Called after a change made over HTTP, to play the part of the reconcile. */
  onChange: (kind: Kind, address: Address, verb: string) => void;
  /** What actions answer, by `KIND ACTION`; and what `migration-plans` does. */
  answers: Readonly<Record<string, unknown>>;
  get(kind: Kind, address: Address): Resource | undefined;
  /** Stores a resource as the control plane would. */
  set(kind: Kind, address: Address, fields: Partial<Resource>): void;
  /** Merges into the status and tells the feed. */
  setStatus(kind: Kind, address: Address, status: Readonly<Record<string, unknown>>): void;
  setProgress(kind: Kind, address: Address, progress: Omit<Progress, 'updatedAt'>): void;
  remove(kind: Kind, address: Address): void;
  contentOf(name: string): Buffer;
  readonly openStreams: number;
  /** Resolves when a stream is open. */
  streamOpened(): Promise<void>;
  cutStreams(): void;
  stop(): Promise<void>;
}

export async function startTestControlPlane(): Promise<TestControlPlane> {
  const token = 'test-token-0123456789';
  const resources = new Map<string, Resource>();
  const progress = new Map<string, Progress>();
  const contents = new Map<string, Buffer>();
  const events: StoredEvent[] = [];
  const streams = new Set<Stream>();
  const sockets = new Set<Socket>();
  const seen: Seen[] = [];
  const faults: Fault[] = [];
  const waiters: (() => void)[] = [];
  let version = 0;

  const tell = (type: string, kind: Kind, ref: string, extra: Pick<StoredEvent, 'resource' | 'progress'>) => {
    const event = { cursor: events.length + 1, type, kind: kind.kind, ref, ...extra };
    events.push(event);
    for (const stream of streams) send(stream, event);
  };

  const plane: TestControlPlane = {
    url: '',
    token,
    seen,
    faults,
    onChange: () => {},
    answers: {},
    get: (kind, address) => resources.get(urnFromAddress(kind, address)),
    set(kind, address, fields) {
      const ref = urnFromAddress(kind, address);
      version += 1;
      const now = new Date().toISOString();
      const { name, ...place } = address;
      const before = resources.get(ref);
      const resource: Resource = {
        labels: fields.labels ?? {},
        annotations: fields.annotations ?? {},
        extensions: fields.extensions ?? {},
        metadata: {
          name,
          ...place,
          provider: kind.provider,
          resource: `${kind.collection}/${name}`,
          verb: 'get',
          apiVersion: kind.version,
          kind: kind.kind,
          ref,
          createdAt: before?.metadata.createdAt ?? now,
          lastModifiedAt: now,
          resourceVersion: version,
        },
        spec: fields.spec ?? {},
        ...(kind.status === undefined
          ? {}
          : { status: fields.status ?? before?.status ?? { state: 'active', conditions: [{ state: 'active', lastTransitionAt: now }] } }),
      };
      resources.set(ref, resource);
      tell('put', kind, ref, { resource });
    },
    setStatus(kind, address, status) {
      const ref = urnFromAddress(kind, address);
      const before = resources.get(ref);
      if (before === undefined) throw new Error(`no ${ref}`);
      const resource = { ...before, status: { ...(before.status as object), ...status } };
      resources.set(ref, resource);
      tell('status', kind, ref, { resource });
    },
    setProgress(kind, address, next) {
      const ref = urnFromAddress(kind, address);
      const value = { ...next, updatedAt: new Date().toISOString() };
      progress.set(ref, value);
      tell('progress', kind, ref, { progress: value });
    },
    remove(kind, address) {
      const ref = urnFromAddress(kind, address);
      if (resources.delete(ref)) tell('deleted', kind, ref, {});
    },
    contentOf: (name) => contents.get(name) ?? Buffer.alloc(0),
    get openStreams() {
      return streams.size;
    },
    streamOpened: () => (streams.size > 0 ? Promise.resolve() : new Promise((resolve) => waiters.push(resolve))),
    cutStreams() {
      for (const stream of streams) stream.response.socket?.destroy();
      streams.clear();
    },
    async stop() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };

  const answer = async (request: IncomingMessage, response: ServerResponse, url: URL, body: Buffer): Promise<void> => {
    const json = (status: number, value: unknown) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    };
    if (url.pathname === '/.wellknown/secapi') return json(200, { version: 'v1', endpoints: [] });
    if (url.pathname === '/readyz') return json(200, {});
    if (request.headers.authorization !== `Bearer ${token}`) throw new Problem('unauthorized', 'the token is not valid');
    const parts = url.pathname.split('/').filter((part) => part !== '');
    if (parts[1] === 'virt8ra.events' && parts.at(-1) === 'events') return openStream(request, response, url);
    const plan = plane.answers['migration-plans'];
    if (parts.at(-1) === 'migration-plans' && plan !== undefined) return json(200, plan);
    const { kind, address, within, action } = routeOf(parts);
    if (address === undefined) return json(200, pageOf(kind, within, url));
    const ref = urnFromAddress(kind, address);
    const resource = resources.get(ref);
    const absent = () => new Problem('not-found', `${kind.kind} ${address.name} does not exist`);
    const lock = request.headers['if-unmodified-since'];
    if (lock !== undefined && resource !== undefined && Number(lock) !== resource.metadata.resourceVersion) {
      throw new Problem('precondition-failed', `${address.name} was changed`);
    }
    if (action === 'content') {
      const phase = (resource?.status as { phase?: string } | undefined)?.phase;
      if (phase === 'done' || phase === 'inspecting') throw new Problem('conflict', `${address.name} takes no content any more`);
      return receive(request, response, kind, address, body);
    }
    if (request.method === 'GET') {
      const value = action === 'progress' ? progress.get(ref) : resource;
      if (value === undefined) throw absent();
      return json(200, value);
    }
    if (request.method === 'PUT') {
      plane.set(kind, address, JSON.parse(body.toString()) as Partial<Resource>);
      plane.onChange(kind, address, 'put');
      return json(resource === undefined ? 201 : 200, resources.get(ref));
    }
    if (resource === undefined) throw absent();
    if (request.method === 'DELETE') {
      plane.setStatus(kind, address, { state: 'deleting' });
      response.writeHead(202).end();
      return plane.onChange(kind, address, 'delete');
    }
    if (action === 'enrol') {
      const site = String((resource.spec as { siteRef: string }).siteRef)
        .split('/')
        .at(-1);
      const caSha256 = 'a'.repeat(64);
      return json(200, {
        token: 'enrol-0123456789abcdef',
        expiresAt: '2030-01-01T00:00:00Z',
        url: 'https://cp:7443',
        caSha256,
        host: address.name,
        site,
      });
    }
    if (action === 'update') {
      json(200, { order: 'order-1' });
      return plane.onChange(kind, address, action);
    }
    const value = plane.answers[`${kind.kind} ${action}`];
    if (value !== undefined) {
      plane.onChange(kind, address, action ?? '');
      return json(200, value);
    }
    if (action === 'drain-plan') {
      const stays = {
        instance: 'seca.compute/v1/tenants/acme/workspaces/prod/instances/web',
        outlook: 'stays',
        reason: 'nothing can take it',
      };
      return json(200, { instances: [stays], blockStorages: [] });
    }
    response.writeHead(202).end();
    plane.onChange(kind, address, action ?? '');
  };

  const pageOf = (kind: Kind, within: Omit<Address, 'name'>, url: URL) => {
    const prefix = urnFromAddress(kind, { ...within, name: '' });
    const terms = (url.searchParams.get('labels') ?? '').split(',').filter((term) => term !== '');
    const all = [...resources.entries()]
      .filter(([ref, item]) => ref.startsWith(prefix) && item.metadata.kind === kind.kind)
      .map(([, item]) => item)
      .filter((item) => terms.every((term) => item.labels?.[term.split('=')[0] ?? ''] === term.split('=')[1]))
      .sort((one, other) => (one.metadata.name < other.metadata.name ? -1 : 1));
    const start = Number(url.searchParams.get('skipToken') ?? 0);
    const limit = Number(url.searchParams.get('limit') ?? 1000);
    const metadata = { provider: kind.provider, resource: kind.collection, verb: 'list' };
    const next = start + limit < all.length ? { skipToken: String(start + limit) } : {};
    return { items: all.slice(start, start + limit), metadata: { ...metadata, ...next } };
  };

  const openStream = (request: IncomingMessage, response: ServerResponse, url: URL) => {
    const wanted = (url.searchParams.get('kinds') ?? '').split(',').filter((kind) => kind !== '');
    const since = request.headers['last-event-id'];
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const stream = { response, kinds: wanted };
    response.write(': open\n\n');
    if (since !== undefined) for (const event of events) if (event.cursor > Number(since)) send(stream, event);
    streams.add(stream);
    response.on('close', () => streams.delete(stream));
    for (const wake of waiters.splice(0)) wake();
  };

  const send = (stream: Stream, event: StoredEvent) => {
    if (stream.kinds.length > 0 && !stream.kinds.includes(event.kind)) return;
    const { cursor, ...fields } = event;
    stream.response.write(`id: ${cursor}\nevent: ${event.type}\ndata: ${JSON.stringify(fields)}\n\n`);
  };

  const receive = (request: IncomingMessage, response: ServerResponse, kind: Kind, address: Address, body: Buffer) => {
    const { name } = address;
    const have = contents.get(name) ?? Buffer.alloc(0);
    if (request.method === 'PATCH') {
      if (Number(request.headers['upload-offset']) !== have.length) throw new Problem('conflict', `the upload stands at ${have.length}`);
      contents.set(name, Buffer.concat([have, body]));
      plane.onChange(kind, address, 'content');
    }
    response.writeHead(204, { 'upload-offset': String(contents.get(name)?.length ?? 0) }).end();
  };

  const server: Server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://test');
    seen.push({ method: request.method ?? '', path: url.pathname + url.search, headers: request.headers });
    const index = faults.findIndex((fault) => fault.method === request.method);
    const fault = index < 0 ? undefined : faults.splice(index, 1)[0];
    const { socket } = request;
    const handle = async () => {
      if (fault?.cut === 'before') return void socket.destroy();
      if (fault?.status !== undefined) {
        const headers = fault.retryAfterSeconds === undefined ? {} : { 'retry-after': String(fault.retryAfterSeconds) };
        return void response.writeHead(fault.status, headers).end();
      }
      const body = await bodyOf(request, fault?.afterBytes);
      if (fault?.afterBytes !== undefined) {
        const name = url.pathname.split('/').at(-2) ?? '';
        contents.set(name, Buffer.concat([contents.get(name) ?? Buffer.alloc(0), body]));
        return void socket.destroy();
      }
      if (fault?.cut === 'after') {
        response.write = () => true;
        response.end = (() => socket.destroy()) as unknown as ServerResponse['end'];
      }
      await answer(request, response, url, body);
    };
    handle().catch((error: unknown) => {
      const problem = toProblem(error);
      response.writeHead(problem.status, { 'content-type': 'application/problem+json' });
      response.end(JSON.stringify(documentFromProblem(problem, url.pathname)));
    });
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return Object.assign(plane, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
}

async function bodyOf(request: IncomingMessage, most: number | undefined): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request) {
    chunks.push(chunk as Buffer);
    length += (chunk as Buffer).length;
    if (most !== undefined && length >= most) break;
  }
  return Buffer.concat(chunks).subarray(0, most);
}

export function kindNamed(name: string): Kind {
  const kind = kinds.find((each) => each.kind === name);
  if (kind === undefined) throw new Error(`no kind ${name}`);
  return kind;
}

/** `/providers/P/V/tenants/t/…/collection[/name[/action]]`. */
function routeOf(parts: readonly string[]): {
  readonly kind: Kind;
  readonly within: Omit<Address, 'name'>;
  readonly address: Address | undefined;
  readonly action: string | undefined;
} {
  const [, provider, version, ...rest] = parts;
  for (const kind of kinds) {
    if (kind.provider !== provider || kind.version !== version) continue;
    const names = partsOf(kind);
    const within: Partial<Record<PlacePart, string>> = {};
    const fits = names.every((part, index) => {
      within[part] = rest[2 * index + 1] ?? '';
      return rest[2 * index] === `${part}s`;
    });
    const [collection, name, action, more] = rest.slice(2 * names.length);
    const isAction = action === undefined || [...kind.actions, 'progress', 'content'].includes(action);
    if (!fits || collection !== kind.collection || !isAction || more !== undefined) continue;
    return { kind, within, address: name === undefined ? undefined : { ...within, name }, action };
  }
  throw new Problem('not-found', `there is no /${parts.join('/')}`);
}
