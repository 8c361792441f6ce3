import { type ImageImportSpec, Problem } from '@virt8ra/contract';
import type { StoredResource } from '../resources/stored-resource.js';
import type { ArtifactStore } from './artifact-store.js';

interface Position {
  readonly offset: number;
  readonly sizeBytes: number;
}

/** Takes the bytes that are sent to an image import. `onComplete` is told when all have come. */
export function createImageContent(options: {
  readonly artifacts: Pick<ArtifactStore, 'begin' | 'received' | 'append'>;
  readonly onComplete: (resource: StoredResource) => Promise<void>;
}): {
  head(resource: StoredResource): Promise<Position>;
  append(resource: StoredResource, offset: number, octets: AsyncIterable<Uint8Array>): Promise<Position>;
} {
  const { artifacts, onComplete } = options;

  async function head(resource: StoredResource): Promise<Position> {
    const { source } = resource.spec as ImageImportSpec;
    const { name } = resource.address;
    if (!('upload' in source)) throw new Problem('conflict', `image import ${name} is fetched from its URL; nothing is sent to it`);
    const { phase } = resource.status as { readonly phase?: string };
    const { sizeBytes, sha256 } = source.upload;
    if (phase === 'done' || phase === 'refused')
      throw new Problem('conflict', `image import ${name} is ${phase}; it takes no more content`);
    if (resource.deletedAt !== undefined) throw new Problem('conflict', `image import ${name} is being deleted`);
    const received = (await artifacts.received(resource.uid)) ?? (await artifacts.begin(resource.uid, { sha256, sizeBytes }));
    return { offset: received.offset, sizeBytes };
  }

  return {
    head,
    async append(resource, offset, octets) {
      const { sizeBytes } = await head(resource);
      const received = await artifacts.append(resource.uid, offset, octets);
      if (received.complete) await onComplete(resource);
      return { offset: received.offset, sizeBytes };
    },
  };
}
