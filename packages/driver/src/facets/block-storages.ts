import type { VolumeLimits, VolumeSource } from '@virt8ra/contract';
import type { Facet } from '../observation.js';

export interface BlockStorageRealizationSpec {
  readonly sizeBytes: number;
  readonly host?: string;
  readonly source: VolumeSource;
  /** Incoming disks: merge the overlay into the arrived image. */
  readonly settle: boolean;
  /** What a guest may ask of it in a second; absent: as much as there is. */
  readonly limits?: VolumeLimits;
  /** Ask for the root digest of the frozen image under this name. */
  readonly digestRequest?: string;
}

export interface BlockStorageRealizationStatus {
  readonly state: 'creating' | 'ready' | 'incoming' | 'arrived' | 'settling' | 'failed';
  readonly sizeBytes: number;
  readonly host?: string;
  /** Bytes that it takes at the site now; absent when the site does not tell. */
  readonly allocatedBytes?: number;
  /** What keeps it from becoming what is asked of it, though it can be used as it is. */
  readonly problem?: { readonly code: string; readonly message: string };
  readonly digest?: { readonly request: string; readonly root: string; readonly chunkBytes: number };
}

export type BlockStoragesFacet = Facet<BlockStorageRealizationSpec, BlockStorageRealizationStatus>;
