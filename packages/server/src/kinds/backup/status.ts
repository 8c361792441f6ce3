import type { BackupConsistency, BackupPhase } from '@virt8ra/contract';

/** One volume of a backup; with digest and length once it is in the artifact store. */
export interface BackedUpVolume {
  readonly blockStorageRef: { readonly resource: string };
  readonly sizeBytes: number;
  readonly sha256?: string;
  readonly fileBytes?: number;
  /** What a guest needs to boot from it, when that is known. */
  readonly cpuArchitecture?: 'amd64' | 'arm64';
  readonly boot?: 'UEFI' | 'BIOS';
}

/** Status of a backup without its state and history. */
export interface BackupStatus {
  readonly phase?: BackupPhase;
  readonly takenAt?: string;
  readonly consistency?: BackupConsistency;
  readonly volumes?: readonly BackedUpVolume[];
  readonly problem?: string;
  readonly problemCode?: string;
}

export function isOver({ phase }: BackupStatus): boolean {
  return phase === 'done' || phase === 'failed';
}
