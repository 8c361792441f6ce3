import type { BackupConsistency } from '@virt8ra/contract';
import type { Facet, Handle } from '../observation.js';

/** Volumes whose content at one point in time is to come into the artifact store. They are all those of one guest, or of none. */
export interface BackupRealizationSpec {
  readonly host?: string;
  readonly volumes: readonly Handle[];
}

export interface BackupRealizationStatus {
  /** `sent`: every file is in the control plane's hands, to be accepted by its digest; then the object may go. */
  readonly state: 'waiting' | 'copying' | 'sending' | 'sent' | 'failed';
  readonly waitingFor?: string;
  /** The point in time. */
  readonly takenAt?: string;
  readonly consistency?: BackupConsistency;
  /** In the order of the spec. */
  readonly volumes: readonly { readonly sizeBytes: number; readonly file?: { readonly sha256: string; readonly bytes: number } }[];
}

export type BackupsFacet = Facet<BackupRealizationSpec, BackupRealizationStatus>;

/** Name under which the control plane receives the content of the volume at that position. */
export function backupContentKey(key: string, position: number): string {
  return `${key}-v${position}`;
}
