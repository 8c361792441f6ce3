import type { Readable } from 'node:stream';
import { Problem, urnFromAddress } from '@virt8ra/contract';
import type { FastifyInstance, FastifyReply } from 'fastify';
import type { KindBehaviour } from '../kinds/behaviour.js';
import type { Store } from '../resources/store.js';
import type { StoredResource } from '../resources/stored-resource.js';
import { absentResource } from './absent-resource.js';
import { addressOfRequest, collectionRoute, type PathParameters } from './request-address.js';
import { subjectOf } from './subject-of-request.js';

/** A file that belongs to a resource. */
export interface ServedFile {
  readonly sizeBytes: number;
  readonly sha256: string;
  /** Octets from `start` to `end`, both included. */
  read(start: number, end: number): Promise<Readable>;
}

/** Raises `not-found` for a file that the resource does not have, `conflict` while there are none. */
export type FileOpener = (resource: StoredResource, file: string) => Promise<ServedFile>;

/** Of one replica at the same time; beyond it callers are asked to come again. */
const readersMost = 32;
const stallMs = 120_000;

/**
 * GET and HEAD `…/NAME/files/FILE`, with one range (RFC 9110): whoever is cut goes on where they were. What a guest wrote is not for everyone who may see the
 * resource: reading it is an action, and is written down.
 */
export function addFileRoutes(app: FastifyInstance, behaviour: KindBehaviour, open: FileOpener, store: Store): void {
  const { kind } = behaviour;
  const path = `${collectionRoute(kind)}/:name/files/:file`;
  const config = { access: { kind, verb: 'post.read' } };
  let readers = 0;

  const find = async (parameters: PathParameters): Promise<{ readonly resource: StoredResource; readonly file: ServedFile }> => {
    const { file: name = '', ...place } = parameters;
    const address = addressOfRequest(kind, place);
    const resource = await store.get(kind, address);
    if (resource === undefined) throw absentResource(kind, address.name);
    return { resource, file: await open(resource, name) };
  };
  const describe = (reply: FastifyReply, { sha256 }: ServedFile, length: number): FastifyReply =>
    reply.type('application/octet-stream').headers({
      'content-length': String(length),
      'accept-ranges': 'bytes',
      etag: `"${sha256}"`,
      'repr-digest': `sha-256=:${Buffer.from(sha256, 'hex').toString('base64')}:`,
      'cache-control': 'no-store',
    });

  app.head<{ Params: PathParameters }>(path, { config }, async (request, reply) => {
    const { file } = await find(request.params);
    return await describe(reply, file, file.sizeBytes).send();
  });

  app.get<{ Params: PathParameters }>(path, { config }, async (request, reply) => {
    const { resource, file } = await find(request.params);
    const { sizeBytes, sha256 } = file;
    const range = rangeOf(request.headers.range, request.headers['if-range'], file);
    if (range === 'unsatisfiable') {
      reply.header('content-range', `bytes */${sizeBytes}`);
      throw new Problem('invalid-request', `the file has ${sizeBytes} bytes; nothing of it lies there`, {
        sources: [{ parameter: 'range' }],
      });
    }
    if (readers >= readersMost) throw new Problem('unavailable', 'too many files are being read', { retryAfterSeconds: 5 });
    const { start, end } = range ?? { start: 0, end: sizeBytes - 1 };
    const subject = subjectOf(request);
    await store.transaction(async (tx) => {
      await tx.audit({
        subject: subject.name,
        remote: subject.remote,
        verb: 'post.read',
        resource: urnFromAddress(kind, resource.address),
        code: range === undefined ? 200 : 206,
        after: JSON.stringify({ file: request.params['file'], sha256, start }),
      });
    });
    const octets = await file.read(start, end);
    readers += 1;
    octets.once('close', () => {
      readers -= 1;
    });
    // Whoever stops reading gives their place away; they go on by Range.
    reply.raw.setTimeout(stallMs, () => reply.raw.destroy());
    describe(reply, file, end - start + 1);
    if (range !== undefined) reply.code(206).header('content-range', `bytes ${start}-${end}/${sizeBytes}`);
    return await reply.send(octets);
  });
}

/** Undefined: the whole, as for forms that are not understood, and for another version than was asked for. */
function rangeOf(
  header: string | undefined,
  condition: string | string[] | undefined,
  { sizeBytes, sha256 }: ServedFile,
): { readonly start: number; readonly end: number } | 'unsatisfiable' | undefined {
  if (condition !== undefined && condition !== `"${sha256}"`) return undefined;
  const [, first = '', last = ''] = /^bytes=(\d{1,15})-(\d{0,15})$/.exec(header ?? '') ?? [];
  if (first === '') return undefined;
  const start = Number(first);
  if (last !== '' && Number(last) < start) return undefined;
  if (start >= sizeBytes) return 'unsatisfiable';
  return { start, end: last === '' ? sizeBytes - 1 : Math.min(Number(last), sizeBytes - 1) };
}
