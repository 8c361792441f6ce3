import { type AgentReleaseSpec, Problem } from '@virt8ra/contract';
import type { StoredResource } from '../resources/stored-resource.js';
import type { ArtifactStore } from './artifact-store.js';

interface Position {
  readonly offset: number;
  readonly sizeBytes: number;
}

/** Takes the bytes of a release of the agent. `onComplete` is told when all have come. */
export function createReleaseContent(options: {
  readonly artifacts: Pick<ArtifactStore, 'begin' | 'received' | 'append'>;
  readonly onComplete: (resource: StoredResource) => Promise<void>;
}): {
  head(resource: StoredResource): Promise<Position>;
  append(resource: StoredResource, offset: number, octets: AsyncIterable<Uint8Array>): Promise<Position>;
} {
  const { artifacts, onComplete } = options;

  async function head({ uid, address, spec, status, deletedAt }: StoredResource): Promise<Position> {
    const { sizeBytes, sha256 } = (spec as AgentReleaseSpec).upload;
    const { phase } = status as { readonly phase?: string };
    if (phase === 'ready' || phase === 'refused')
      throw new Problem('conflict', `agent release ${address.name} is ${phase}; it takes no more content`);
    if (deletedAt !== undefined) throw new Problem('conflict', `agent release ${address.name} is being deleted`);
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
