import type { BackupConsistency } from '@virt8ra/contract';
import type { Facet, Handle } from '../observation.js';

/** Volumes whose content at one point in time is to be kept where they are. They are all those of one guest, or of none. */
export interface SnapshotRealizationSpec {
  readonly host?: string;
  readonly volumes: readonly Handle[];
  /** How often the volumes shall have become what they were. */
  readonly reverts: number;
}

export interface SnapshotRealizationStatus {
  readonly state: 'waiting' | 'taken' | 'reverting';
  readonly waitingFor?: string;
  /** The point in time. */
  readonly takenAt?: string;
  readonly consistency?: BackupConsistency;
  /** In the order of the spec. */
  readonly volumes: readonly { readonly sizeBytes: number }[];
  readonly reverted: number;
  /** What is in the way of it. */
  readonly problem?: { readonly code: string; readonly message: string };
}

export type SnapshotsFacet = Facet<SnapshotRealizationSpec, SnapshotRealizationStatus>;
