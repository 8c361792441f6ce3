import { type AgentReleaseSpec, type ImageImportSpec, type InstanceImportSpec, Problem } from '@virt8ra/contract';
import type { StoredResource } from '../resources/stored-resource.js';
import type { ArtifactStore } from './artifact-store.js';

interface Position {
  readonly offset: number;
  readonly sizeBytes: number;
}

/** What a resource awaits, by its spec. Raises `conflict` when nothing is sent to it. */
type Awaited = (resource: StoredResource) => { readonly sizeBytes: number; readonly sha256: string };

/** Phases in which a resource takes no more content. */
const overPhases: readonly (string | undefined)[] = ['done', 'ready', 'refused'];

export const awaitedImage: Awaited = ({ spec, address }) => {
  const { source } = spec as ImageImportSpec;
  if (!('upload' in source)) throw new Problem('conflict', `image import ${address.name} is fetched from its URL; nothing is sent to it`);
  return source.upload;
};

export const awaitedRelease: Awaited = ({ spec }) => (spec as AgentReleaseSpec).upload;

export const awaitedMachine: Awaited = ({ spec, address }) => {
  const { source } = spec as InstanceImportSpec;
  if (!('upload' in source))
    throw new Problem('conflict', `instance import ${address.name} is fetched from its URL; nothing is sent to it`);
  return source.upload;
};

/** Takes the bytes that are sent to a resource. `onComplete` is told when all have come. */
export function createUploadedContent(options: {
  readonly noun: string;
  readonly awaited: Awaited;
  readonly artifacts: Pick<ArtifactStore, 'begin' | 'received' | 'append'>;
  readonly onComplete: (resource: StoredResource) => Promise<void>;
}): {
  head(resource: StoredResource): Promise<Position>;
  append(resource: StoredResource, offset: number, octets: AsyncIterable<Uint8Array>): Promise<Position>;
} {
  const { noun, awaited, artifacts, onComplete } = options;

  async function head(resource: StoredResource): Promise<Position> {
    const { uid, address, status, deletedAt } = resource;
    const { sizeBytes, sha256 } = awaited(resource);
    const { phase } = status as { readonly phase?: string };
    if (overPhases.includes(phase)) throw new Problem('conflict', `${noun} ${address.name} is ${phase}; it takes no more content`);
    if (deletedAt !== undefined) throw new Problem('conflict', `${noun} ${address.name} is being deleted`);
    const received = (await artifacts.received(uid)) ?? (await artifacts.begin(uid, { sha256, sizeBytes }));
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
