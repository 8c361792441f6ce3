import type { BackupConsistency } from '@virt8ra/contract';

/** Status of a snapshot without its state and history. */
export interface SnapshotStatus {
  readonly phase?: 'waiting' | 'taken' | 'reverting';
  readonly takenAt?: string;
  readonly consistency?: BackupConsistency;
  readonly volumes?: readonly { readonly blockStorageRef: { readonly resource: string }; readonly sizeBytes: number }[];
  readonly revertedAt?: string;
}
