import type { VolumeSource } from '@virt8ra/contract';
import type { Facet } from '../observation.js';

export interface BlockStorageRealizationSpec {
  readonly sizeBytes: number;
  readonly host?: string;
  readonly source: VolumeSource;
  /** Incoming disks: merge the overlay into the arrived image. */
  readonly settle: boolean;
  /** Ask for the root digest of the frozen image under this name. */
  readonly digestRequest?: string;
}

export interface BlockStorageRealizationStatus {
  readonly state: 'creating' | 'ready' | 'incoming' | 'arrived' | 'settling' | 'failed';
  readonly sizeBytes: number;
  readonly host?: string;
  readonly digest?: { readonly request: string; readonly root: string; readonly chunkBytes: number };
}

export type BlockStoragesFacet = Facet<BlockStorageRealizationSpec, BlockStorageRealizationStatus>;
