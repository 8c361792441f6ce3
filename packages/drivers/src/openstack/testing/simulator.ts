import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Refusal } from './refusal.js';
import { createSimulatedCompute } from './simulated-compute.js';
import { createSimulatedImages } from './simulated-images.js';
import { createSimulatedNetworks } from './simulated-networks.js';
import { createSimulatedVolumes } from './simulated-volumes.js';
import type { Answered, Asked, Faults } from './wire.js';

/** An OpenStack cloud in this process, spoken to over HTTP: slow, full, throttling, losing replies when told to. */
export interface Simulator {
  /** Of Keystone, with its version. */
  readonly authUrl: string;
  readonly project: string;
  readonly application: { readonly id: string; readonly secret: string };
  readonly user: { readonly name: string; readonly password: string };
  readonly faults: Faults;
  /** Requests so far, such as `POST /compute/v2.1/servers`. */
  readonly asked: string[];
  /** Tokens given so far. */
  readonly tokens: string[];
  readonly compute: ReturnType<typeof createSimulatedCompute>;
  readonly images: ReturnType<typeof createSimulatedImages>;
  readonly networks: ReturnType<typeof createSimulatedNetworks>;
  /** Of every token that is out. */
  revokeTokens(): void;
  close(): Promise<void>;
}

export interface SimulatorOptions {
  readonly cinder?: boolean;
  /** Seconds that tokens live. Default 3600. */
  readonly tokenSeconds?: number;
  /** Milliseconds that things take to become what they are to be. Default 2. */
  readonly slowMs?: number;
  readonly servers?: number;
  readonly regions?: readonly string[];
}

export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const { tokenSeconds = 3600, slowMs = 2, regions = ['north'] } = options;
  const project = randomUUID().replaceAll('-', '');
  const application = { id: randomUUID().replaceAll('-', ''), secret: 'the-application-secret' };
  const user = { name: 'ops', password: 'the-user-password' };
  const faults: Faults = { away: false, loseReply: undefined, refuse: undefined, breakDownloadsAt: [], damageDownloads: false };
  const asked: string[] = [];
  const tokens: string[] = [];
  const valid = new Map<string, number>();
  const images = createSimulatedImages({ faults, slowMs, project });
  const networks = createSimulatedNetworks({ project });
  const compute = createSimulatedCompute({ slowMs, images, networks, servers: options.servers ?? 1000 });
  const volumes = createSimulatedVolumes({ slowMs });
  const services = { compute, image: images, network: networks, ...(options.cinder === true ? { volume: volumes } : {}) };

  const server = createServer((raw, response) => {
    void answer(raw, response).catch((error: unknown) => response.destroy(error as Error));
  });

  async function answer(raw: IncomingMessage, response: ServerResponse): Promise<void> {
    if (faults.away) return void raw.socket.destroy();
    const url = new URL(raw.url ?? '/', base());
    const method = raw.method ?? 'GET';
    asked.push(`${method} ${url.pathname}`);
    const { refuse, loseReply } = faults;
    const isFile = url.pathname.endsWith('/file');
    const text = isFile ? '' : await readAll(raw);
    if (refuse !== undefined && refuse.times > 0 && refuse.path.test(`${method} ${url.pathname}`)) {
      refuse.times -= 1;
      return send(response, {
        status: refuse.status,
        headers: refuse.headers ?? {},
        body: { overLimit: { code: refuse.status, message: 'slow down' } },
      });
    }
    const body = text === '' ? undefined : (JSON.parse(text) as Record<string, unknown>);
    let answered: Answered;
    try {
      answered = await route({ method, path: url.pathname, query: url.searchParams, headers: raw.headers, body, raw });
    } catch (thrown) {
      if (!(thrown instanceof Refusal)) throw thrown;
      answered = thrown.answered;
    }
    if (loseReply !== undefined && loseReply.method === method && loseReply.path.test(url.pathname)) {
      faults.loseReply = undefined;
      return void raw.socket.destroy();
    }
    send(response, answered);
  }

  async function route(request: Asked): Promise<Answered> {
    if (request.path === '/identity/v3/auth/tokens') return authenticate(request);
    const [, name = '', ...rest] = request.path.split('/');
    const service = (Object.entries(services) as [string, (typeof services)['compute' | 'image' | 'network']][]).find(
      ([known]) => known === name,
    )?.[1];
    if (service === undefined) throw new Refusal(404, 'nothing is here');
    const below = `/${rest.join('/')}`;
    if (below === '/' || below === `${service.version}/`)
      return { status: below === '/' ? 300 : 200, body: service.versions(`${base()}/${name}`) };
    const token = request.headers['x-auth-token'];
    const until = typeof token === 'string' ? valid.get(token) : undefined;
    if (until === undefined || until < performance.now()) throw new Refusal(401, 'The request you have made requires authentication.');
    if (!below.startsWith(`${service.version}/`)) throw new Refusal(404, 'no such version');
    return await service.answer({ ...request, path: below.slice(service.version.length) });
  }

  function authenticate({ body }: Asked): Answered {
    const auth = (body as { auth?: { identity?: Record<string, Record<string, unknown>>; scope?: unknown } }).auth;
    const given = auth?.identity?.['application_credential'];
    const person = auth?.identity?.['password']?.['user'] as { name?: string; password?: string; domain?: unknown } | undefined;
    const byApplication =
      given !== undefined && given['id'] === application.id && given['secret'] === application.secret && auth?.scope === undefined;
    const byPassword =
      person?.name === user.name && person.password === user.password && person.domain !== undefined && auth?.scope !== undefined;
    if (!byApplication && !byPassword) throw new Refusal(401, 'The request you have made requires authentication.', 'error');
    const value = `gAAAA-${randomUUID()}`;
    tokens.push(value);
    valid.set(value, performance.now() + tokenSeconds * 1000);
    const issued = Date.now();
    const endpoint = (name: string, path: string) =>
      regions.flatMap((region) =>
        ['public', 'internal'].map((which) => ({
          id: randomUUID(),
          interface: which,
          region,
          region_id: region,
          url: `${base()}/${name}${path}`,
        })),
      );
    return {
      status: 201,
      headers: { 'x-subject-token': value },
      body: {
        token: {
          methods: ['password'],
          issued_at: new Date(issued).toISOString(),
          expires_at: new Date(issued + tokenSeconds * 1000).toISOString(),
          project: { id: project, name: 'ours' },
          catalog: [
            { type: 'identity', name: 'keystone', endpoints: endpoint('identity', '/v3') },
            { type: 'compute', name: 'nova', endpoints: endpoint('compute', '/v2.1') },
            { type: 'image', name: 'glance', endpoints: endpoint('image', '') },
            { type: 'network', name: 'neutron', endpoints: endpoint('network', '') },
            ...(options.cinder === true ? [{ type: 'volumev3', name: 'cinder', endpoints: endpoint('volume', '/v3') }] : []),
          ],
        },
      },
    };
  }

  const base = (): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    authUrl: `${base()}/identity/v3`,
    project,
    application,
    user,
    faults,
    asked,
    tokens,
    compute,
    images,
    networks,
    revokeTokens: () => valid.clear(),
    async close() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function send(response: ServerResponse, { status, body, headers, stream }: Answered): void {
  response.writeHead(status, { 'x-openstack-request-id': `req-${randomUUID()}`, 'content-type': 'application/json', ...headers });
  if (stream !== undefined) stream(response);
  else response.end(body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body));
}

async function readAll(raw: IncomingMessage): Promise<string> {
  let text = '';
  for await (const piece of raw as AsyncIterable<Buffer>) text += piece.toString('utf8');
  return text;
}
