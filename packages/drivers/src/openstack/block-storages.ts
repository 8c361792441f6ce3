import { Problem } from '@virt8ra/contract';
import type { BlockStorageRealizationSpec, BlockStorageRealizationStatus, BlockStoragesFacet, Handle } from '@virt8ra/driver';
import { handleFrom, objectFrom } from './handle.js';
import { keyMark, markedName } from './mark.js';
import type { Image, Volume } from './schema.js';
import { assertOwnWords, createSight, type Seen } from './sight.js';
import type { SiteParts } from './site-parts.js';

const gib = 1024 ** 3;

/** Volumes of Cinder, where the catalogue has it. Sizes are whole GiB there: what is made is never smaller than what is asked for. */
export function createBlockStoragesFacet({ client, source, lock, availabilityZone }: SiteParts): BlockStoragesFacet {
  const sight = createSight<BlockStorageRealizationStatus>(client, source);

  const handleOf = async (id: string, key: string): Promise<Handle> =>
    handleFrom({ type: 'volume', id, key, project: await client.identity.project() });
  const volumes = (): AsyncIterable<Volume> => client.list<Volume>('volume', '/volumes/detail', 'volumes');
  const find = async (key: string): Promise<Handle | undefined> => {
    client.assertOpen();
    // Where there is no such service there is no volume.
    if ((await client.find('volume')) === undefined) return undefined;
    for await (const { id, metadata } of volumes()) if (metadata[keyMark] === key) return await handleOf(id, key);
    return undefined;
  };
  const look = async (id: string): Promise<Volume | undefined> => {
    const { status, body, answer } = await client.call<{ readonly volume: Volume }>('volume', 'GET', `/volumes/${id}`, { also: [404] });
    if (status !== 404) return body.volume;
    assertOwnWords('volume', answer.text);
    return undefined;
  };

  async function make(spec: BlockStorageRealizationSpec, key: string): Promise<Handle> {
    const imageRef = spec.source.type === 'image' ? await imageOf(spec.source.sha256) : undefined;
    const { body } = await client.call<{ readonly volume: Volume }>('volume', 'POST', '/volumes', {
      json: {
        volume: {
          size: sizeOf(spec),
          name: markedName(key),
          metadata: { [keyMark]: key },
          ...(imageRef === undefined ? {} : { imageRef }),
          ...(availabilityZone === undefined ? {} : { availability_zone: availabilityZone }),
        },
      },
    });
    return await handleOf(body.volume.id, key);
  }

  /** An image that was brought there by its digest. */
  async function imageOf(sha256: string): Promise<string> {
    for await (const { id, status } of client.list<Image>('image', '/images', 'images', { virt8ra_sha256: sha256 }))
      if (status === 'active') return id;
    throw new Problem('unsupported', `the image with the digest ${sha256.slice(0, 12)}… is not at the cloud, and is not brought there yet`);
  }

  return {
    async create(spec, key) {
      client.assertOpen();
      await assertVolume(spec);
      return await lock.within(`volume ${key}`, async () => (await find(key)) ?? (await make(spec, key)));
    },
    find,
    async observe(handle) {
      const object = objectFrom(handle, 'volume');
      return await sight.observe(object, async () => {
        const volume = await look(object.id);
        return volume === undefined ? { type: 'absent' } : readVolume(volume);
      });
    },
    async update(handle, spec) {
      const { id } = objectFrom(handle, 'volume');
      client.assertOpen();
      const volume = await look(id);
      if (volume === undefined) throw new Problem('not-found', `the volume ${id} is gone`);
      await assertVolume(spec);
      if (sizeOf(spec) < volume.size) throw new Problem('unsupported', 'a block storage cannot shrink');
      if (sizeOf(spec) === volume.size || volume.status === 'extending') return;
      await client.call('volume', 'POST', `/volumes/${id}/action`, { json: { 'os-extend': { new_size: sizeOf(spec) } }, again: 'always' });
    },
    async remove(handle) {
      const { id } = objectFrom(handle, 'volume');
      client.assertOpen();
      const { status } = await client.call('volume', 'DELETE', `/volumes/${id}`, { also: [400, 404, 409] });
      if (status !== 400 && status !== 409) return;
      // Attached, or being worked on: the one says 400, the other 409. What is going already is neither's fault.
      const left = await look(id);
      if (left !== undefined && left.status !== 'deleting')
        throw new Problem('unavailable', 'the volume is still used at the cloud', { retryAfterSeconds: 3 });
    },
    async *list() {
      if ((await client.find('volume')) === undefined) return;
      for await (const { id, metadata } of volumes()) {
        const key = metadata[keyMark];
        if (key !== undefined) yield { handle: await handleOf(id, key), key };
      }
    },
  };

  async function assertVolume({
    host,
    sizeBytes,
    source: from,
    settle,
    digestRequest,
    limits,
  }: BlockStorageRealizationSpec): Promise<void> {
    if ((await client.find('volume')) === undefined)
      throw new Problem(
        'unsupported',
        'the cloud has no block storage service (Cinder) in its catalogue; its servers start from images onto disks of their own',
      );
    if (host !== undefined) throw new Problem('unsupported', 'a block storage at an OpenStack site is on no host of ours');
    if (sizeBytes < 1) throw new Problem('unsupported', 'a block storage has at least one byte');
    if (from.type === 'incoming' || settle || digestRequest !== undefined)
      throw new Problem('unsupported', 'no agent of ours is at an OpenStack site: its block storages receive no transfers');
    if (limits !== undefined)
      throw new Problem('unsupported', 'limits of a block storage come with volume types that this driver does not choose');
  }
}

function sizeOf({ sizeBytes }: BlockStorageRealizationSpec): number {
  return Math.ceil(sizeBytes / gib);
}

function readVolume({ status, size }: Volume): Seen<BlockStorageRealizationStatus> {
  const sizeBytes = size * gib;
  if (status.startsWith('error'))
    return {
      type: 'broken',
      status: { state: 'failed', sizeBytes },
      problem: new Problem('conflict', `the volume is in state ${status} at the cloud`),
    };
  switch (status) {
    case 'creating':
    case 'downloading':
      return { type: 'changing', status: { state: 'creating', sizeBytes } };
    case 'available':
    case 'in-use':
      return { type: 'present', status: { state: 'ready', sizeBytes } };
    default:
      // Attaching, extending, uploading, deleting and the like: there, and something is under way.
      return { type: 'changing', status: { state: 'ready', sizeBytes } };
  }
}
