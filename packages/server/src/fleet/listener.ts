import { constants, X509Certificate } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import { type AddressInfo, isIP } from 'node:net';
import { hostname } from 'node:os';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import {
  agentFrameBytes,
  documentFromProblem,
  EnrolRequest,
  Problem,
  RenewRequest,
  streamFrameBytes,
  streamSubprotocol,
  toProblem,
} from '@virt8ra/contract';
import type { Log } from '@virt8ra/engine';
import type { Static, TSchema } from 'typebox';
import { Compile, type Validator } from 'typebox/compile';
import { WebSocketServer } from 'ws';
import type { createArtifactRoute } from './artifact-route.js';
import type { Authority } from './authority.js';
import type { createBackupRoute } from './backup-route.js';
import type { Enrolments } from './enrolments.js';
import { createFailureLimit } from './failure-limit.js';
import type { LinkPeer } from './link-session.js';
import type { Links } from './links.js';
import type { FleetStreams } from './streams.js';

export interface AgentListenerOptions {
  readonly listen: { readonly host: string; readonly port: number };
  /** How agents reach it; undefined: the listen address itself. */
  readonly publicUrl: string | undefined;
  /** Another name of it, of this replica alone. */
  readonly replicaUrl?: string | undefined;
  readonly authority: Authority;
  readonly enrolments: Enrolments;
  readonly links: Links;
  readonly streams: FleetStreams;
  readonly artifact: ReturnType<typeof createArtifactRoute>;
  readonly backup: ReturnType<typeof createBackupRoute>;
  readonly log: Log;
}

/** The HTTPS listener that agents dial. Everything but enrolment needs a certificate of our CA. */
export interface AgentListener {
  /** Where agents reach it; with port 0 only true after `listen`. */
  url(): string;
  /** Raises `unavailable` when the address is taken. */
  listen(): Promise<void>;
  stop(): Promise<void>;
}

const enrolShape = Compile(EnrolRequest);
const renewShape = Compile(RenewRequest);
const bodyBytes = 32 * 1024;
const connectionsMost = 20_000;
/** Listen addresses that are no address to dial. */
const everywhere = ['0.0.0.0', '::'];
const renewalCheckMs = 3_600_000;

export function createAgentListener(options: AgentListenerOptions): AgentListener {
  const { authority, enrolments, links, log } = options;
  const failures = createFailureLimit();
  const sockets = new WebSocketServer({ noServer: true, maxPayload: agentFrameBytes, perMessageDeflate: false });
  const streamSockets = new WebSocketServer({
    noServer: true,
    maxPayload: streamFrameBytes,
    perMessageDeflate: false,
    handleProtocols: (offered) => offered.has(streamSubprotocol) && streamSubprotocol,
  });
  let server: Server | undefined;
  let port = options.listen.port;
  let leaf: { readonly renewAt: Date } | undefined;
  let renewalTimer: NodeJS.Timeout | undefined;

  const fail = (response: ServerResponse, thrown: unknown): void => {
    const problem = toProblem(thrown);
    if (problem.status >= 500) log.warn('a request of an agent failed', { problem: problem.message });
    if (response.headersSent) {
      response.destroy();
      return;
    }
    const retry = problem.retryAfterSeconds === undefined ? {} : { 'retry-after': String(problem.retryAfterSeconds) };
    // What is internal is for the log alone.
    const shown = problem.kind === 'internal' ? new Problem('internal', 'the server failed; its log says why') : problem;
    response
      .writeHead(problem.status, { 'content-type': 'application/problem+json', connection: 'close', ...retry })
      .end(JSON.stringify(documentFromProblem(shown)));
  };
  const answer = (response: ServerResponse, body: unknown): void => {
    response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store' }).end(JSON.stringify(body));
  };

  const peerOf = async (socket: Duplex): Promise<LinkPeer> => {
    const certificate = certificateOf(socket, authority, 'valid');
    const fingerprint = fingerprintOf(certificate);
    const holder = await holderOf(fingerprint, certificate);
    if (holder === undefined) throw new Problem('forbidden', 'this certificate is revoked; enrol the host anew');
    return { ...holder, fingerprint, expiresAt: new Date(certificate.validTo) };
  };
  const holderOf = async (fingerprint: string, certificate: X509Certificate) => {
    const known = await enrolments.hostOf(fingerprint);
    if (known !== undefined) return known;
    await enrolments.adopt(fingerprint, certificate);
    return await enrolments.hostOf(fingerprint);
  };
  const enrol = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const address = request.socket.remoteAddress ?? '';
    const wait = failures.waitSeconds(address);
    if (wait > 0) throw new Problem('throttled', 'too many failed enrolments; try again later', { retryAfterSeconds: wait });
    const body = await readBody(request, enrolShape);
    try {
      const enrolled = await enrolments.enrol(body);
      log.info('a host was enrolled', { host: enrolled.host, site: enrolled.site, address, agentVersion: body.agentVersion });
      answer(response, enrolled);
    } catch (error) {
      if (toProblem(error).kind === 'unauthorized') {
        failures.fail(address);
        log.warn('an enrolment was refused', { address, problem: toProblem(error).message });
      }
      throw error;
    }
  };
  const route = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const path = (request.url ?? '').split('?', 1)[0] ?? '';
    const artifact = /^\/agent\/v1\/artifacts\/([0-9a-f]{64})$/.exec(path)?.[1];
    if (request.method === 'POST' && path === '/agent/v1/enrol') return await enrol(request, response);
    if (request.method === 'POST' && path === '/agent/v1/renew') {
      const certificate = certificateOf(request.socket, authority, 'expired too');
      const fingerprint = fingerprintOf(certificate);
      await holderOf(fingerprint, certificate);
      return answer(response, await enrolments.renew(fingerprint, (await readBody(request, renewShape)).csr));
    }
    if (request.method === 'GET' && artifact !== undefined) {
      const { host } = await peerOf(request.socket);
      return await options.artifact(request, response, host, artifact);
    }
    const [, key, position] = /^\/agent\/v1\/backups\/([a-z0-9][a-z0-9_.-]{0,95})\/(\d{1,2})$/.exec(path) ?? [];
    if ((request.method === 'HEAD' || request.method === 'PATCH') && key !== undefined) {
      const { host } = await peerOf(request.socket);
      return await options.backup(request, response, host, key, Number(position));
    }
    throw new Problem('not-found', `agents have no ${request.method} ${path.slice(0, 200)} here`);
  };
  const upgrade = async (request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> => {
    const ticket = /^\/agent\/v1\/streams\/([A-Za-z0-9_-]{43})$/.exec(request.url ?? '')?.[1];
    if (ticket === undefined && request.url !== '/agent/v1/link') throw new Problem('not-found', 'agents link at /agent/v1/link');
    const peer = await peerOf(socket);
    if (ticket !== undefined) {
      streamSockets.handleUpgrade(request, socket, head, options.streams.claim(ticket, peer));
      return;
    }
    sockets.handleUpgrade(request, socket, head, (link) => links.accept(link, peer));
  };

  const serverNames = (): string[] => {
    const hostOf = (url: string): string => new URL(url).hostname.replace(/^\[|\]$/g, '');
    const named = options.publicUrl === undefined ? hostname() : hostOf(options.publicUrl);
    const own = options.replicaUrl === undefined ? [] : [hostOf(options.replicaUrl)];
    return [...new Set([named, ...own, options.listen.host, 'localhost', '127.0.0.1', '::1'])].filter((name) => !everywhere.includes(name));
  };
  const secureContext = async () => {
    const issued = await authority.issueServer(serverNames());
    leaf = issued;
    return {
      // With the CA, so that an enrolling agent finds it by its digest.
      cert: `${issued.certificate}${authority.certificate}`,
      key: issued.privateKey,
      ca: authority.certificate,
      minVersion: 'TLSv1.3' as const,
      // Each connection shows its certificate anew: none is let in by an old session.
      secureOptions: constants.SSL_OP_NO_TICKET,
    };
  };
  const renewLeaf = async (): Promise<void> => {
    if (leaf === undefined || leaf.renewAt.getTime() > Date.now()) return;
    server?.setSecureContext(await secureContext());
    log.info('the certificate of the agents’ listener was renewed');
  };

  return {
    url() {
      const { host } = options.listen;
      if (options.publicUrl !== undefined) return options.publicUrl;
      const name = everywhere.includes(host) ? hostname() : host;
      return `https://${isIP(name) === 6 ? `[${name}]` : name}:${port}`;
    },
    async listen() {
      const made = createServer({
        ...(await secureContext()),
        requestCert: true,
        // Enrolment comes without a certificate and renewal with an expired one; every other path checks `authorized`.
        rejectUnauthorized: false,
        handshakeTimeout: 10_000,
        headersTimeout: 10_000,
        requestTimeout: 30_000,
        maxHeaderSize: 16 * 1024,
      });
      made.on('request', (request, response) => {
        route(request, response).catch((error: unknown) => fail(response, error));
      });
      made.on('upgrade', (request, socket, head) => {
        // Kept for good: whoever is refused may break the connection while it is told.
        socket.on('error', () => socket.destroy());
        upgrade(request, socket, head).catch((error: unknown) => refuseUpgrade(socket, toProblem(error)));
      });
      made.on('tlsClientError', (error) => log.debug('a TLS handshake failed', { problem: error.message }));
      made.maxConnections = connectionsMost;
      server = made;
      await new Promise<void>((resolve, reject) => {
        made.once('error', (cause: Error) => {
          const { host, port: asked } = options.listen;
          reject(new Problem('unavailable', `the agents’ listener cannot listen on ${host}:${asked}: ${cause.message}`, { cause }));
        });
        made.listen(options.listen.port, options.listen.host, resolve);
      });
      port = (made.address() as AddressInfo).port;
      renewalTimer = setInterval(() => {
        renewLeaf().catch((error: unknown) =>
          log.error('the certificate of the agents’ listener could not be renewed', { problem: toProblem(error).message }),
        );
      }, renewalCheckMs);
      renewalTimer.unref();
    },
    async stop() {
      clearInterval(renewalTimer);
      const open = server;
      if (open === undefined) return;
      const closed = new Promise<void>((resolve) => open.close(() => resolve()));
      open.closeAllConnections();
      await closed;
    },
  };
}

/** The peer's certificate, of our CA. Raises `unauthorized`. Revocation is asked elsewhere. */
function certificateOf(socket: Duplex, authority: Authority, which: 'valid' | 'expired too'): X509Certificate {
  if (!(socket instanceof TLSSocket)) throw new Problem('unauthorized', 'a client certificate is needed');
  const { raw } = socket.getPeerCertificate() as { readonly raw?: Buffer };
  if (raw === undefined) throw new Problem('unauthorized', 'a client certificate is needed');
  const certificate = new X509Certificate(raw);
  // The handshake has proven that the peer holds the key; whose certificate it is, is proven here.
  if (!authority.signed(certificate)) throw new Problem('unauthorized', 'the client certificate is not of this control plane');
  if (which === 'valid' && !socket.authorized) {
    throw new Problem(
      'unauthorized',
      `the client certificate is refused: ${String(socket.authorizationError)}; an expired one can be renewed`,
    );
  }
  return certificate;
}

function fingerprintOf(certificate: X509Certificate): string {
  return certificate.fingerprint256.replaceAll(':', '').toLowerCase();
}

async function readBody<Shape extends TSchema>(
  request: IncomingMessage,
  shape: Validator<Record<never, never>, Shape>,
): Promise<Static<Shape>> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bodyBytes) throw new Problem('too-large', `the body is larger than ${bodyBytes} bytes`);
    chunks.push(chunk);
  }
  let body: unknown;
  try {
    body = JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    throw new Problem('invalid-request', 'the body is not JSON');
  }
  if (shape.Check(body)) return body as Static<Shape>;
  const first = shape.Errors(body)[0];
  throw new Problem('validation', `the body has not the agreed form: ${first?.message ?? ''}`, {
    sources: [{ pointer: first?.instancePath ?? '' }],
  });
}

function refuseUpgrade(socket: Duplex, problem: Problem): void {
  if (socket.destroyed) return;
  const body = JSON.stringify(documentFromProblem(problem));
  socket.end(
    `HTTP/1.1 ${problem.status} Refused\r\nconnection: close\r\ncontent-type: application/problem+json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}
