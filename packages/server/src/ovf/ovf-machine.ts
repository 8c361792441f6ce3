import type { diskBuses, ImportFinding } from '@virt8ra/contract';

export type DiskBus = (typeof diskBuses)[number];

/** A machine as an OVF descriptor tells of it. */
export interface OvfMachine {
  readonly name: string;
  /** Of its operating system, in the package's words. */
  readonly os?: string;
  readonly vCPU: number;
  readonly memoryBytes: number;
  /** Absent: the package says nothing. */
  readonly boot?: 'UEFI' | 'BIOS';
  /** In the order in which the machine has them. */
  readonly disks: readonly OvfDisk[];
  readonly nics: readonly OvfNic[];
  /** What cannot be carried over as it is. */
  readonly findings: readonly ImportFinding[];
}

export interface OvfDisk {
  readonly id: string;
  /** Its file in the package; absent: it is empty. */
  readonly file?: string;
  /** Bytes that the descriptor says its file has. */
  readonly fileBytes?: number;
  /** Whether the descriptor says that the file is a raw disk. */
  readonly isRaw: boolean;
  readonly capacityBytes: number;
  readonly bus: DiskBus;
}

export interface OvfNic {
  readonly network: string;
  readonly macAddress?: string;
}
