import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import {
  carrierFromSocket,
  endedBecause,
  type InstanceSpec,
  instance,
  type OpenedStream,
  Problem,
  relayStreams,
  type StreamCounts,
  type StreamEnded,
  type StreamTarget,
  streamFrameBytes,
  streamSubprotocol,
  streamTicketPrefix,
  toProblem,
  urnFromAddress,
} from '@virt8ra/contract';
import type { StreamCaller } from '@virt8ra/driver';
import type { Log } from '@virt8ra/engine';
import type { FastifyInstance } from 'fastify';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Subject } from '../kinds/behaviour.js';
import type { Store } from '../resources/store.js';
import type { StoredResource } from '../resources/stored-resource.js';
import type { StreamTickets } from '../streams/tickets.js';
import { absentResource } from './absent-resource.js';
import type { Access } from './access.js';
import { problemOfRequest } from './problem-reply.js';
import { writeRawProblem } from './raw-problem.js';
import { addressOfRequest, collectionRoute, type PathParameters } from './request-address.js';
import { type StreamAddress, streamAddressOf, streamPlaces, streamTargetOf } from './stream-request.js';
import { subjectOf } from './subject-of-request.js';
import { replayWithoutUpgrade } from './upgrade-replay.js';

export type OpenStream = (resource: StoredResource<InstanceSpec>, target: StreamTarget, caller: StreamCaller) => Promise<OpenedStream>;

export interface StreamRoutesOptions {
  readonly store: Store;
  /** Raises `unauthorized`. */
  readonly authenticate: (credentials: { readonly authorization: string | undefined; readonly remote: string }) => Promise<Subject>;
  readonly access: Access;
  readonly tickets: StreamTickets;
  readonly open: OpenStream;
  /** As browsers know the API; undefined: by the host they ask. */
  readonly publicUrl: string | undefined;
  readonly log: Log;
  /** Of one subject at this replica. Default 32. */
  readonly perSubject?: number;
  /** Seconds after which a stream ends, so that its token is looked at again. Default 8 h. */
  readonly longestSeconds?: number;
}

export interface StreamRoutes {
  readonly count: number;
  /** Ends every stream, with the reason. */
  stop(): void;
}

/**
 * Under an instance: WebSockets `…/console`, `…/vnc` and `…/ports/PORT`, the same paths by POST for a ticket, and `GET …/console/log`. A
 * WebSocket is accepted when the place in the instance is reached, and refused with a problem document otherwise.
 */
export function addStreamRoutes(app: FastifyInstance, options: StreamRoutesOptions): StreamRoutes {
  const { store, access, tickets, open, log, perSubject = 32, longestSeconds = 8 * 3600 } = options;
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: streamFrameBytes,
    perMessageDeflate: false,
    handleProtocols: (offered) => offered.has(streamSubprotocol) && streamSubprotocol,
  });
  const live = new Map<(ended: StreamEnded) => void, string>();
  const opening = new Map<object, string>();
  let stopped = false;

  const find = async (parameters: PathParameters): Promise<StoredResource<InstanceSpec>> => {
    const address = addressOfRequest(instance, parameters);
    const resource = await store.get<InstanceSpec>(instance, address);
    if (resource === undefined) throw absentResource(instance, address.name);
    return resource;
  };
  const audit = async (subject: Subject, resource: StoredResource, verb: string, code: number, after?: object): Promise<void> => {
    await store.transaction(async (tx) => {
      await tx.audit({
        subject: subject.name,
        remote: subject.remote,
        verb,
        resource: urnFromAddress(instance, resource.address),
        code,
        ...(after === undefined ? {} : { after: JSON.stringify(after) }),
      });
    });
  };
  /** A place among the subject's streams; answers how to give it back. */
  const admit = (subject: Subject): (() => void) => {
    if (stopped) throw new Problem('unavailable', 'this server is stopping', { retryAfterSeconds: 1 });
    const own = [...live.values(), ...opening.values()].filter((name) => name === subject.name).length;
    if (own >= perSubject)
      throw new Problem('throttled', `${subject.name} has ${own} streams open; end one first`, { retryAfterSeconds: 5 });
    const place = {};
    opening.set(place, subject.name);
    return () => opening.delete(place);
  };
  /** Opens the far end and writes down who did, or was refused. */
  const openFar = async (
    subject: Subject,
    resource: StoredResource<InstanceSpec>,
    place: string,
    target: StreamTarget,
    signal: AbortSignal,
  ) => {
    try {
      const far = await open(resource, target, { by: subject.name, signal });
      await audit(subject, resource, `open.${place}`, 101);
      return far;
    } catch (error) {
      await audit(subject, resource, `open.${place}`, toProblem(error).status);
      throw error;
    }
  };

  const accept = async (request: IncomingMessage, socket: Duplex, head: Buffer, signal: AbortSignal): Promise<void> => {
    const address = streamAddressOf(request.url ?? '');
    assertOrigin(request, options.publicUrl);
    const subject = await subjectOfUpgrade(request, address, options);
    const { name, ...within } = addressOfRequest(instance, address.parameters);
    const question = { kind: instance, verb: verbOfPlace(address.place), place: within, name };
    await access.assert(subject, question);
    const resource = await find(address.parameters);
    const target = streamTargetOf(address);
    const leave = admit(subject);
    try {
      const { carrier, opened } = await openFar(subject, resource, address.place, target, signal);
      if (signal.aborted || stopped) return carrier.end(endedBecause('closed', 'the caller left'));
      sockets.handleUpgrade(request, socket, head, (near) =>
        relay(near, { carrier, opened }, subject, resource, address.place, () => access.assert(subject, question)),
      );
    } finally {
      leave();
    }
  };
  const relay = (
    socket: WebSocket,
    far: OpenedStream,
    subject: Subject,
    resource: StoredResource,
    place: string,
    assertStill: () => Promise<unknown>,
  ): void => {
    const begun = performance.now();
    const near = carrierFromSocket(socket);
    near.send(far.opened);
    const close = (ended: StreamEnded, { forth, back }: StreamCounts): void => {
      live.delete(end);
      clearTimeout(longest);
      clearInterval(watch);
      const seconds = Math.round((performance.now() - begun) / 100) / 10;
      const told = { seconds, toInstance: forth, fromInstance: back, ended: ended.code };
      log.info('a stream ended', { instance: resource.uid, place, subject: subject.name, ...told, reason: ended.message });
      audit(subject, resource, `close.${place}`, 200, told).catch((error: unknown) =>
        log.error('the end of a stream could not be written down', { instance: resource.uid, problem: toProblem(error).message }),
      );
    };
    const longest = setTimeout(() => end(endedBecause('old', `a stream lasts ${longestSeconds} s at most`)), longestSeconds * 1000);
    longest.unref();
    // What was opened is not for longer than what allowed it.
    const watch = setInterval(() => {
      assertStill().catch((error: unknown) => {
        const { kind, message } = toProblem(error);
        if (kind === 'forbidden' || kind === 'not-found') end(endedBecause('closed', message));
      });
    }, 1000);
    watch.unref();
    const end = relayStreams(near, far.carrier, {
      nearMaySay: (note) => note.type === 'end',
      onEnd: (ended, counts) => close(ended, counts),
    });
    live.set(end, subject.name);
    log.info('a stream was opened', { instance: resource.uid, place, subject: subject.name });
  };

  app.server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    if (request.headers.upgrade?.toLowerCase() !== 'websocket') return replayWithoutUpgrade(app.server as Server, request, socket, head);
    const gone = new AbortController();
    socket.on('error', () => socket.destroy());
    socket.once('close', () => gone.abort());
    accept(request, socket, head, gone.signal).catch((error: unknown) => refuse(log, request, socket, error));
  });

  for (const place of streamPlaces) {
    const config = { access: { kind: instance, verb: verbOfPlace(place) } };
    app.post<{ Params: PathParameters }>(`${collectionRoute(instance)}/:name/${place}`, { config }, async (request) => {
      const subject = subjectOf(request);
      await find(request.params);
      const address = streamAddressOf(request.url);
      streamTargetOf(address);
      const { ticket, expiresAt } = await tickets.issue(subject, address.path);
      return { protocols: [streamSubprotocol, `${streamTicketPrefix}${ticket}`], expiresAt };
    });
  }

  const logAccess = { config: { access: { kind: instance, verb: verbOfPlace('console') } } };
  app.get<{ Params: PathParameters }>(`${collectionRoute(instance)}/:name/console/log`, logAccess, async (request, reply) => {
    const subject = subjectOf(request);
    const resource = await find(request.params);
    const leave = admit(subject);
    try {
      const gone = new AbortController();
      request.raw.socket.once('close', () => gone.abort());
      const { carrier } = await openFar(subject, resource, 'console/log', { type: 'console-log' }, gone.signal);
      const pieces: Uint8Array[] = [];
      const ended = await new Promise<StreamEnded>((resolve) => {
        carrier.listen({ frame: (frame) => void (!('type' in frame) && pieces.push(frame)), ended: resolve });
      });
      if (ended.code !== 'done')
        throw new Problem('unavailable', `the log did not arrive whole: ${ended.message}`, { retryAfterSeconds: 1 });
      return await reply.type('application/octet-stream').header('cache-control', 'no-store').send(Buffer.concat(pieces));
    } finally {
      leave();
    }
  });

  return {
    get count() {
      return live.size;
    },
    stop() {
      stopped = true;
      for (const end of [...live.keys()]) end(endedBecause('stopping', 'the server stops'));
    },
  };
}

/** Whatever of a guest is seen or reached is an action, also where nothing is written: a console may show secrets. */
function verbOfPlace(place: string): string {
  return `post.${place.split('/', 1)[0]}`;
}

/** By token, or by the ticket that stands among the subprotocols. Raises `unauthorized`. */
async function subjectOfUpgrade(
  request: IncomingMessage,
  { path }: StreamAddress,
  { authenticate, tickets }: Pick<StreamRoutesOptions, 'authenticate' | 'tickets'>,
): Promise<Subject> {
  const remote = request.socket.remoteAddress ?? '';
  const { authorization } = request.headers;
  const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((each) => each.trim());
  const ticket = offered.find((each) => each.startsWith(streamTicketPrefix))?.slice(streamTicketPrefix.length);
  if (authorization === undefined && ticket !== undefined) return await tickets.redeem(ticket, path, remote);
  return await authenticate({ authorization, remote });
}

/** A page of another origin must not open streams with what a browser has of ours. */
function assertOrigin(request: IncomingMessage, publicUrl: string | undefined): void {
  const { origin, host } = request.headers;
  if (origin === undefined) return;
  const own = publicUrl === undefined ? host : new URL(publicUrl).host;
  if (URL.canParse(origin) && new URL(origin).host === own) return;
  throw new Problem('forbidden', 'pages of other origins may not open streams', { sources: [{ parameter: 'origin' }] });
}

function refuse(log: Log, request: IncomingMessage, socket: Duplex, thrown: unknown): void {
  const problem = problemOfRequest(thrown);
  const path = (request.url ?? '').split('?', 1)[0] ?? '';
  const id = writeRawProblem(socket, problem, path);
  const facts = { request: id, path: path.slice(0, 300), problem: problem.kind };
  if (problem.status === 500)
    log.error('a stream could not be opened', { ...facts, error: thrown instanceof Error ? thrown.stack : String(thrown) });
  else log.debug('a stream was refused', { ...facts, reason: problem.message });
}
