import type { Placement, Reference } from '@virt8ra/contract';

/** The content of a backup that a block storage started from. */
export interface RestoredFrom {
  readonly backup: string;
  readonly takenAt: string;
  readonly sha256: string;
  readonly fileBytes: number;
  readonly sizeBytes: number;
  readonly cpuArchitecture?: 'amd64' | 'arm64';
  readonly boot?: 'UEFI' | 'BIOS';
}

/** The stored part of a block storage's status; `attachedTo` is found at read time. */
export interface BlockStorageStatus {
  sizeGB?: number;
  /** Without a host while it is only bound to a site. */
  placement?: Placement | undefined;
  attachedTo?: Reference;
  allocatedBytes?: number;
  restoredFrom?: RestoredFrom;
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
