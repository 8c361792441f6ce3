import type { Artifact } from '../../artifacts/artifact.js';

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
