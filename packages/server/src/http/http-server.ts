import { randomUUID } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { type Kind, type LoginIssuer, Problem, region as regionKind } from '@virt8ra/contract';
import type { Log } from '@virt8ra/engine';
import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify';
import type { Pool } from 'pg';
import { Histogram, type Registry } from 'prom-client';
import type { KindBehaviour, Subject } from '../kinds/behaviour.js';
import { createFeedHub } from '../resources/feed-hub.js';
import type { Store } from '../resources/store.js';
import { type Access, addAccess } from './access.js';
import { type ConnectionLimits, connectionLimits, guardConnections, nodeServerOptions } from './connection-guard.js';
import { addContentRoutes, type ContentHandler } from './content-routes.js';
import { describeApi } from './describe-api.js';
import { addEventRoutes, type EventRoutesOptions } from './event-routes.js';
import { addFileRoutes, type FileOpener } from './file-routes.js';
import { addIdentityRoutes } from './identity-routes.js';
import { parseJsonBody } from './json-body.js';
import { addKindRoutes } from './kind-routes.js';
import type { ApiDescription } from './open-api-shapes.js';
import { addOperationRoutes } from './operation-routes.js';
import { createPresenter } from './presenter.js';
import { replyProblem } from './problem-reply.js';
import type { ApiProfile } from './profile.js';
import { addRegionRoutes } from './region-routes.js';
import { assertStorableParts, type PathParameters } from './request-address.js';
import { addStreamRoutes, type StreamRoutesOptions } from './stream-routes.js';

/** What a caller shows to be known. */
export interface Credentials {
  /** The `authorization` header. */
  readonly authorization: string | undefined;
  /** Address of the peer, for the audit. */
  readonly remote: string;
}

export interface HttpServerOptions {
  readonly store: Store;
  readonly pool: Pool;
  readonly behaviours: readonly KindBehaviour[];
  /** Raises `unauthorized`. */
  readonly authenticate: (credentials: Credentials) => Promise<Subject>;
  /** Where callers may get a token. */
  readonly logins?: () => readonly LoginIssuer[];
  readonly region: string;
  readonly log: Log;
  readonly metrics: Registry;
  /** By kind: what takes the bytes of `…/NAME/content`. */
  readonly contents?: Readonly<Record<string, ContentHandler>>;
  /** By kind: what opens `…/NAME/files/FILE`. */
  readonly files?: Readonly<Record<string, FileOpener>>;
  /** Base URL as clients reach it. Default: the host of each request. */
  readonly publicUrl?: string;
  /** Default: standard. */
  readonly profile?: ApiProfile;
  readonly tls?: { readonly certificate: string; readonly key: string };
  /** Raises why this server should get no requests. The database is always asked. */
  readonly ready?: () => Promise<void>;
  /** Consoles, screens and ports of instances; undefined: there are none. */
  readonly streams?: Pick<StreamRoutesOptions, 'open' | 'tickets' | 'perSubject' | 'longestSeconds'>;
  readonly extraRoutes?: readonly ((app: FastifyInstance, access: Access) => void)[];
  /** What extra routes are that are no kind's. */
  readonly extraDescriptions?: readonly ApiDescription[];
  /** Kinds that extra routes serve: told by discovery and the description as all others are. */
  readonly extraKinds?: readonly Kind[];
  /** What one connection may take. */
  readonly connections?: Partial<ConnectionLimits>;
  readonly events?: Pick<EventRoutesOptions, 'beatSeconds' | 'longestSeconds' | 'bufferBytes' | 'totalBytes'> & {
    readonly lookMs?: number;
  };
}

export interface HttpServer {
  readonly app: FastifyInstance;
  /** All that it serves. */
  readonly routes: readonly { readonly method: string; readonly path: string }[];
  /** Answers the base URL. Port 0: one the system chooses. */
  listen(address: { readonly host: string; readonly port: number }): Promise<string>;
  /** Says not ready, cuts the streams with their cursors, lets requests end, and closes. */
  stop(): Promise<void>;
}

const bodyLimit = 1024 * 1024;

export function createHttpServer(options: HttpServerOptions): HttpServer {
  const { store, pool, behaviours, authenticate, region, log, metrics } = options;
  const app = createApp(options);
  let stopping = false;
  const configuredUrl = options.publicUrl?.replace(/\/+$/, '');
  // Without one, the name under which this client has just reached us is the best we know.
  const publicUrl = (request: FastifyRequest): string => configuredUrl ?? `${request.protocol}://${request.host || addressOf(request)}`;
  const kinds: readonly Kind[] = [
    regionKind,
    ...behaviours.map((behaviour) => behaviour.kind).filter((kind) => kind.kind !== regionKind.kind),
    ...(options.extraKinds ?? []),
  ];
  const byKind = new Map(behaviours.map((behaviour) => [behaviour.kind.kind, behaviour]));
  const present = createPresenter(store, region, options.profile ?? 'standard');
  const hub = createFeedHub({ pool, log, ...(options.events?.lookMs === undefined ? {} : { lookMs: options.events.lookMs }) });

  app.decorateRequest('subject', undefined);
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id);
    if (request.routeOptions.config.open === true) return;
    request.subject = await authenticate({ authorization: request.headers.authorization, remote: request.ip });
  });
  const access = addAccess(app, { pool, kinds, region });
  app.addHook('preHandler', async (request) => {
    // Whatever writes says more of a name that it does not take.
    if (request.method === 'GET' || request.method === 'HEAD') assertStorableParts(request.params as PathParameters);
  });
  measure(app, metrics);

  addOperationRoutes(app, {
    kinds,
    description: describeApi({
      kinds,
      withContent: Object.keys(options.contents ?? {}),
      withFiles: Object.keys(options.files ?? {}),
      streams: options.streams !== undefined,
      others: options.extraDescriptions ?? [],
    }),
    metrics,
    publicUrl,
    ready: async () => {
      if (stopping) throw new Problem('unavailable', 'this server is stopping', { retryAfterSeconds: 1 });
      await pool.query('select 1');
      await options.ready?.();
    },
  });
  addIdentityRoutes(app, { issuers: options.logins ?? (() => []) });
  addRegionRoutes(app, { store, region, kinds, publicUrl });
  const events = addEventRoutes(app, { hub, access, behaviours: byKind, present, ...options.events });
  for (const behaviour of behaviours) {
    if (behaviour.kind.kind === regionKind.kind) continue;
    addKindRoutes(app, behaviour, { store, region, profile: options.profile ?? 'standard', present, access });
    const handler = options.contents?.[behaviour.kind.kind];
    if (handler !== undefined) addContentRoutes(app, behaviour, handler, store);
    const opener = options.files?.[behaviour.kind.kind];
    if (opener !== undefined) addFileRoutes(app, behaviour, opener, store);
  }
  const streams =
    options.streams === undefined
      ? undefined
      : addStreamRoutes(app, { store, authenticate, access, publicUrl: configuredUrl, log, ...options.streams });
  for (const add of options.extraRoutes ?? []) add(app, access);

  return {
    app,
    routes: access.routes,
    async listen(address) {
      await app.listen(address);
      const { port } = app.server.address() as AddressInfo;
      const host = address.host.includes(':') ? `[${address.host}]` : address.host;
      return `${options.tls === undefined ? 'http' : 'https'}://${host}:${port}`;
    },
    async stop() {
      stopping = true;
      events.stop();
      streams?.stop();
      await app.close();
    },
  };
}

/** For a client of HTTP/1.0 that names no host. */
function addressOf({ raw: { socket } }: FastifyRequest): string {
  const { localAddress = 'localhost', localPort } = socket;
  return `${localAddress.includes(':') ? `[${localAddress}]` : localAddress}:${localPort}`;
}

function createApp({ log, tls, profile = 'standard', connections }: HttpServerOptions): FastifyInstance {
  const limits = connectionLimits(connections);
  const ofNode = nodeServerOptions(limits);
  const app = fastify({
    logger: false,
    bodyLimit,
    keepAliveTimeout: Math.ceil(limits.idleSeconds * 1000),
    connectionTimeout: Math.ceil(limits.stallSeconds * 1000),
    clientErrorHandler: (error, socket) => guard.refuse(error, socket),
    genReqId: () => randomUUID(),
    // Longer names reach the handlers, which say what is wrong with them.
    routerOptions: { maxParamLength: 4096 },
    frameworkErrors: (error, request, reply) => replyProblem(log, error, request, reply, profile),
    ...(tls === undefined ? { http: ofNode } : { https: { ...ofNode, cert: tls.certificate, key: tls.key } }),
  }) as unknown as FastifyInstance;
  const guard = guardConnections(app, limits, tls !== undefined);
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, async (_request: unknown, body: Buffer) =>
    // Some clients name a type although they send nothing, as with actions.
    body.length === 0 ? undefined : parseJsonBody(body),
  );
  app.setErrorHandler((error, request, reply) => replyProblem(log, error, request, reply, profile));
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?', 1)[0]?.slice(0, 300) ?? '';
    replyProblem(log, new Problem('not-found', `there is no ${request.method} ${path}`), request, reply, profile);
  });
  return app;
}

function measure(app: FastifyInstance, metrics: Registry): void {
  const seconds = new Histogram({
    name: 'virt8ra_http_request_seconds',
    help: 'Time from request to reply; streams until they end',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10],
    registers: [metrics],
  });
  app.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'unknown';
    seconds.observe({ method: request.method, route, status: String(reply.statusCode) }, reply.elapsedTime / 1000);
  });
}
