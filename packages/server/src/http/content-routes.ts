import { type Readable, Transform } from 'node:stream';
import { Problem } from '@virt8ra/contract';
import type { FastifyInstance } from 'fastify';
import type { KindBehaviour } from '../kinds/behaviour.js';
import type { Store } from '../resources/store.js';
import type { StoredResource } from '../resources/stored-resource.js';
import { absentResource } from './absent-resource.js';
import { notJson } from './problem-reply.js';
import { addressOfRequest, collectionRoute, type PathParameters } from './request-address.js';

/** How far the content of a resource came, in bytes. */
export interface ContentPosition {
  readonly offset: number;
  /** Size declared by the owner. */
  readonly sizeBytes: number;
}

/** Takes the bytes that belong to a resource, such as the disk of an image import. */
export interface ContentHandler {
  /** Raises `conflict` when the resource takes no content (any more). */
  head(resource: StoredResource): Promise<ContentPosition>;
  /**
   * Appends at `offset` and answers where it stands then. Raises `conflict` when it stands elsewhere. What arrived before the stream broke
   * is kept. The stream never carries more than was declared.
   */
  append(resource: StoredResource, offset: number, octets: Readable): Promise<ContentPosition>;
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Takes its body as a stream. */
    readonly octets?: boolean;
  }
}

const contentType = 'application/offset+octet-stream';

/** HEAD and PATCH `…/NAME/content`: resumable upload. The body is a stream without a limit of its own; the declared size is the limit. */
export function addContentRoutes(app: FastifyInstance, behaviour: KindBehaviour, handler: ContentHandler, store: Store): void {
  const { kind } = behaviour;
  const path = `${collectionRoute(kind)}/:name/content`;
  if (!app.hasContentTypeParser(contentType))
    app.addContentTypeParser(contentType, (request, payload, done) =>
      request.routeOptions.config.octets === true ? done(null, payload) : done(notJson()),
    );

  const find = async (parameters: PathParameters): Promise<StoredResource> => {
    const address = addressOfRequest(kind, parameters);
    const resource = await store.get(kind, address);
    if (resource === undefined) throw absentResource(kind, address.name);
    return resource;
  };

  app.head<{ Params: PathParameters }>(path, { config: { access: { kind, verb: 'get' } } }, async (request, reply) => {
    const { offset, sizeBytes } = await handler.head(await find(request.params));
    return await reply
      .code(204)
      .headers({ 'upload-offset': String(offset), 'upload-length': String(sizeBytes), 'cache-control': 'no-store' })
      .send();
  });

  app.patch<{ Params: PathParameters }>(path, { config: { access: { kind, verb: 'put' }, octets: true } }, async (request, reply) => {
    const offset = offsetOfHeader(request.headers['upload-offset']);
    const resource = await find(request.params);
    if (resource.deletedAt !== undefined) throw new Problem('conflict', `${kind.kind} ${resource.address.name} is being deleted`);
    const before = await handler.head(resource);
    if (offset !== before.offset) {
      throw new Problem('conflict', `the content stands at ${before.offset}; go on from there`, { facts: { offset: before.offset } });
    }
    const room = before.sizeBytes - offset;
    const length = Number(request.headers['content-length'] ?? 0);
    if (length > room) throw tooMuch(before.sizeBytes);
    if (!isStream(request.body)) {
      throw new Problem('invalid-request', `the content must be sent as ${contentType}`, { sources: [{ parameter: 'content-type' }] });
    }
    const { offset: reached } = await handler.append(resource, offset, limited(request.body, room, before.sizeBytes));
    return await reply.code(204).header('upload-offset', String(reached)).send();
  });
}

function offsetOfHeader(value: string | string[] | undefined): number {
  if (typeof value === 'string' && /^\d{1,15}$/.test(value)) return Number(value);
  throw new Problem('invalid-request', 'upload-offset must say where this content begins, in bytes', {
    sources: [{ parameter: 'upload-offset' }],
  });
}

function isStream(body: unknown): body is Readable {
  return typeof body === 'object' && body !== null && 'pipe' in body;
}

function tooMuch(sizeBytes: number): Problem {
  return new Problem('too-large', `more content than the ${sizeBytes} bytes that were declared`);
}

/** A body without a length may lie about it: the stream itself stops at what was declared. */
function limited(octets: Readable, room: number, sizeBytes: number): Readable {
  let left = room;
  const limit = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      left -= chunk.length;
      if (left < 0) done(tooMuch(sizeBytes));
      else done(null, chunk);
    },
  });
  octets.once('error', (error) => limit.destroy(error));
  octets.once('close', () => {
    if (!octets.readableEnded) limit.destroy(new Problem('invalid-request', 'the connection was cut while content was sent'));
  });
  return octets.pipe(limit);
}
