import type { Placement, Reference } from '@virt8ra/contract';

/** The stored part of a block storage's status; `attachedTo` is found at read time. */
export interface BlockStorageStatus {
  sizeGB?: number;
  /** Without a host while it is only bound to a site. */
  placement?: Placement | undefined;
  attachedTo?: Reference;
}

/** What a disk needs to know of the image it starts from. */
export interface ImageFacts {
  sha256?: string;
  /** Size of the artifact. */
  fileBytes?: number;
  format?: 'qcow2' | 'raw';
  virtualSizeBytes?: number;
}

export const imagePointer = '/spec/sourceImageRef';
