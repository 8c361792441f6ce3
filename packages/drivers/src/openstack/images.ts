import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { Problem, toProblem } from '@virt8ra/contract';
import type { Handle, ImageRealizationSpec, ImageRealizationStatus, ImagesFacet } from '@virt8ra/driver';
import { resumable } from '../_http/download.js';
import { problemFrom } from './errors.js';
import { type CloudObject, handleFrom, objectFrom } from './handle.js';
import { idFromKey, keyMark } from './mark.js';
import type { Image } from './schema.js';
import { assertOwnWords, createSight, type Seen } from './sight.js';
import type { SiteParts } from './site-parts.js';

const gib = 1024 ** 3;
/** Without an octet; the service may hash and store for a while after the last one. */
const uploadSilenceMs = 300_000;

export function createImagesFacet({ client, source, lock }: SiteParts): ImagesFacet {
  const sight = createSight<ImageRealizationStatus>(client, source);

  const handleOf = async (id: string, key: string): Promise<Handle> =>
    handleFrom({ type: 'image', id, key, project: await client.identity.project() });
  const look = async (id: string): Promise<Image | undefined> => {
    const { status, body, answer } = await client.call<Image>('image', 'GET', `/images/${id}`, { also: [404] });
    if (status !== 404) return body;
    assertOwnWords('image', answer.text);
    return undefined;
  };
  const need = async (id: string): Promise<Image> => {
    const image = await look(id);
    if (image === undefined) throw new Problem('not-found', `the image ${id} is gone`);
    return image;
  };
  const find = async (key: string): Promise<Handle | undefined> => {
    client.assertOpen();
    const chosen = await look(idFromKey(key));
    if (chosen !== undefined) return await handleOf(chosen.id, key);
    // Those that compute made of a server have an id of its choice.
    for await (const { id } of client.list<Image>('image', '/images', 'images', { [keyMark]: key })) return await handleOf(id, key);
    return undefined;
  };

  async function make(spec: ImageRealizationSpec, key: string): Promise<Handle> {
    assertImage(spec);
    const marks = {
      [keyMark]: key,
      hw_architecture: spec.architecture === 'arm64' ? 'aarch64' : 'x86_64',
      ...(spec.firmware === 'UEFI' ? { hw_firmware_type: 'uefi' } : {}),
    };
    if (spec.source.type === 'instance') {
      const { id } = objectFrom(spec.source.instance, 'server');
      const { body, answer } = await client.call<{ readonly image_id?: string }>('compute', 'POST', `/servers/${id}/action`, {
        json: { createImage: { name: spec.name, metadata: marks } },
      });
      // Before 2.45 it stands in the header.
      const made = body.image_id ?? answer.headers.location?.split('/').at(-1);
      if (made === undefined) throw new Problem('unknown-outcome', 'compute did not say which image it makes');
      return await handleOf(made, key);
    }
    const id = idFromKey(key);
    const { status } = await client.call('image', 'POST', '/images', {
      json: {
        id,
        name: spec.name,
        disk_format: spec.format,
        container_format: 'bare',
        min_disk: Math.ceil(spec.diskBytes / gib),
        visibility: 'private',
        ...marks,
      },
      also: [409],
    });
    if (status === 409 && (await look(id)) === undefined)
      throw new Problem('conflict', `an image of key ${key} was there and has been deleted; its id cannot be used again`);
    return await handleOf(id, key);
  }

  return {
    create: async (spec, key) => await lock.within(`image ${key}`, async () => (await find(key)) ?? (await make(spec, key))),
    find,
    async observe(handle) {
      const object = objectFrom(handle, 'image');
      return await sight.observe(object, async () => {
        const image = await look(object.id);
        return image === undefined ? { type: 'absent' } : readImage(image);
      });
    },
    async update(handle, spec) {
      const { id } = objectFrom(handle, 'image');
      client.assertOpen();
      const image = await need(id);
      assertImage(spec);
      if (image.name === spec.name) return;
      await client.call('image', 'PATCH', `/images/${id}`, patch([{ op: 'replace', path: '/name', value: spec.name }]));
    },
    async remove(handle) {
      const { id } = objectFrom(handle, 'image');
      client.assertOpen();
      const { status } = await client.call('image', 'DELETE', `/images/${id}`, { also: [404, 409] });
      if (status === 409) throw new Problem('unavailable', 'the image is still used at the cloud', { retryAfterSeconds: 5 });
    },
    async *list() {
      for await (const image of client.list<Image>('image', '/images', 'images', { owner: await client.identity.project() })) {
        const key = image.virt8ra_key;
        if (typeof key === 'string') yield { handle: await handleOf(image.id, key), key };
      }
    },
    async write(handle, content, signal) {
      const object = objectFrom(handle, 'image');
      const before = await need(object.id);
      if (before.status === 'active') return assertDigest(before, content);
      // An upload that broke off a moment ago may not be noticed yet.
      if (['saving', 'uploading', 'importing'].includes(before.status))
        throw new Problem('unavailable', `the image is ${before.status}: somebody gives it content, or has just stopped`, {
          retryAfterSeconds: 5,
        });
      if (before.status !== 'queued')
        throw new Problem('conflict', `the image is ${before.status}; it takes content only while it is queued`);
      const hash = createHash('sha512');
      let bytes = 0;
      let fault: unknown;
      async function* counted(): AsyncGenerator<Uint8Array> {
        try {
          for await (const piece of content.open()) {
            bytes += piece.length;
            hash.update(piece);
            yield piece;
          }
          // Before the end is told: an image of wrong content must not become active.
          if (bytes !== content.bytes || hash.digest('hex') !== content.sha512)
            throw new Problem('conflict', `the content is not the ${content.bytes} bytes that were announced`);
        } catch (thrown) {
          fault = thrown;
          throw thrown;
        }
      }
      const answer = await client
        .open('image', {
          method: 'PUT',
          path: `/images/${object.id}/file`,
          // In chunks: an upload that breaks off is told from one that has ended.
          headers: { 'content-type': 'application/octet-stream', 'transfer-encoding': 'chunked' },
          stream: Readable.from(counted(), { objectMode: false }),
          silenceMs: uploadSilenceMs,
          ...(signal === undefined ? {} : { signal }),
        })
        .catch((thrown: unknown) => {
          throw toProblem(fault ?? thrown);
        });
      const text = await textOf(answer.body);
      if (answer.status !== 204) throw problemFrom({ ...answer, text }, 'image', { creates: true });
      assertDigest(await need(object.id), content);
    },
    read: (handle, options = {}) => readContent(objectFrom(handle, 'image'), options),
  };

  async function* readContent(
    { id }: CloudObject,
    { start = 0, signal }: { readonly start?: number; readonly signal?: AbortSignal },
  ): AsyncGenerator<Uint8Array> {
    const image = await need(id);
    const { status, size } = image;
    if (status !== 'active' || size === null) throw new Problem('conflict', `the image is ${status} and has no content to read`);
    const { os_hash_algo: algorithm, os_hash_value: value } = image;
    const hash = start === 0 && typeof algorithm === 'string' && typeof value === 'string' ? createHash(algorithm) : undefined;
    const open = async (from: number) => {
      const answer = await client.open('image', {
        method: 'GET',
        path: `/images/${id}/file`,
        headers: { accept: 'application/octet-stream', ...(from === 0 ? {} : { range: `bytes=${from}-${size - 1}` }) },
        silenceMs: 60_000,
        ...(signal === undefined ? {} : { signal }),
      });
      if (answer.status === (from === 0 ? 200 : 206)) return answer;
      if (answer.status === 200) {
        answer.body.destroy();
        throw new Problem('unsupported', 'the image service gives no part of a content; it has to be read from its beginning');
      }
      throw problemFrom({ ...answer, text: await textOf(answer.body) }, 'image', { creates: false });
    };
    for await (const piece of resumable(open, { start, bytes: size })) {
      hash?.update(piece);
      yield piece;
    }
    if (hash !== undefined && hash.digest('hex') !== value)
      throw new Problem('conflict', `what came is not what the cloud says the image is (${algorithm})`);
  }
}

function patch(operations: readonly unknown[]): { readonly json: unknown; readonly again: 'always'; readonly contentType: string } {
  return { json: operations, again: 'always', contentType: 'application/openstack-images-v2.1-json-patch' };
}

function readImage(image: Image): Seen<ImageRealizationStatus> {
  const { status, size, disk_format: format, os_hash_algo: algorithm, os_hash_value: value } = image;
  switch (status) {
    case 'queued':
      // Compute fills those that it makes by itself.
      return image['image_type'] === 'snapshot'
        ? { type: 'changing', status: { state: 'saving' } }
        : { type: 'present', status: { state: 'awaiting' } };
    case 'saving':
    case 'uploading':
    case 'importing':
      return { type: 'changing', status: { state: 'saving' } };
    case 'active':
      return {
        type: 'present',
        status: {
          state: 'ready',
          ...(size === null ? {} : { bytes: size }),
          ...(format === null ? {} : { format }),
          ...(typeof algorithm === 'string' && typeof value === 'string' ? { digest: { algorithm, value } } : {}),
        },
      };
    case 'pending_delete':
      return { type: 'changing', status: { state: 'ready' } };
    case 'deleted':
      return { type: 'absent' };
    case 'killed':
    case 'deactivated':
      return { type: 'broken', status: { state: 'failed' }, problem: new Problem('conflict', `the image is ${status} at the cloud`) };
    default:
      return { type: 'unknown', reason: `the cloud told the state ${status}, which this driver does not know` };
  }
}

function assertDigest(image: Image, { bytes, sha512 }: { readonly bytes: number; readonly sha512: string }): void {
  const { size, os_hash_algo: algorithm, os_hash_value: value, status } = image;
  if (status !== 'active') throw new Problem('unavailable', `the image is ${status} after its content was given`, { retryAfterSeconds: 3 });
  if (size !== bytes) throw new Problem('conflict', `the image has ${size} bytes at the cloud, and ${bytes} were to be given`);
  if (algorithm !== 'sha512')
    throw new Problem('unsupported', `the cloud computes ${algorithm ?? 'no digest'} and not sha512: what it has cannot be proven`);
  if (value !== sha512) throw new Problem('conflict', 'the cloud has another content than was to be given: its digest differs');
}

function assertImage({ name, format, diskBytes }: ImageRealizationSpec): void {
  if (name === '' || name.length > 255) throw new Problem('unsupported', 'the name of an image has 1 to 255 characters');
  if (format !== 'raw' && format !== 'qcow2')
    throw new Problem('unsupported', `images of format ${String(format)} are not given to OpenStack`);
  if (diskBytes < 1) throw new Problem('unsupported', 'a disk has at least one byte');
}

async function textOf(body: AsyncIterable<Buffer>): Promise<string> {
  const pieces: Buffer[] = [];
  try {
    for await (const piece of body) pieces.push(piece);
  } catch (thrown) {
    throw new Problem('unknown-outcome', `the answer was cut: ${toProblem(thrown).message}`, { cause: thrown });
  }
  return Buffer.concat(pieces).toString('utf8');
}
