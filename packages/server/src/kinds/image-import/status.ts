import type { Id } from '@virt8ra/contract';
import type { Artifact } from '../../artifacts/artifact.js';
import type { ArtifactStore } from '../../artifacts/artifact-store.js';

/** Status of an image import, without state and conditions. */
export interface ImageImportStatus {
  phase?: 'waiting-for-content' | 'receiving' | 'inspecting' | 'done' | 'refused';
  receivedBytes?: number;
  totalBytes?: number;
  imageRef?: { readonly resource: string };
  /** What the content turned out to be; present when done. */
  artifact?: Artifact;
}

/** Status of an image, without state and conditions. */
export interface ImageStatus {
  sizeMB?: number;
  sha256?: string;
  virtualSizeBytes?: number;
  fileBytes?: number;
  format?: Artifact['format'];
}

export function imageStatus({ sha256, format, virtualSizeBytes, fileBytes }: Artifact): ImageStatus {
  return { sizeMB: Math.max(1, Math.ceil(fileBytes / 1_000_000)), sha256, format, virtualSizeBytes, fileBytes };
}

/** What has come of an import's content until now, and the phase that this means; nothing of one that is not expected any more. */
export async function receivedSoFar(
  artifacts: Pick<ArtifactStore, 'received'>,
  uid: Id<'resource'>,
  { phase, totalBytes }: { readonly phase?: string; readonly totalBytes?: number },
): Promise<{ receivedBytes?: number; totalBytes?: number; phase?: 'receiving' }> {
  const received = await artifacts.received(uid);
  if (received === undefined) return {};
  const total = received.sizeBytes ?? totalBytes;
  return {
    receivedBytes: received.offset,
    ...(total === undefined ? {} : { totalBytes: total }),
    ...(phase === 'waiting-for-content' && received.offset > 0 ? { phase: 'receiving' } : {}),
  };
}
