import type { MigrationSpec, PathLook } from '@virt8ra/contract';
import type { EarlierMove, Measured } from '../move-measures.js';

export interface DiskFacts {
  readonly name: string;
  readonly sizeBytes: number;
  readonly allocatedBytes?: Measured;
  readonly changes?: {
    readonly writtenPerSecond?: number;
    readonly distinct?: readonly { readonly seconds: number; readonly bytes: number }[];
    readonly source: string;
    readonly observedAt: string;
  };
}

/** All that a forecast is made from. What is absent was not measured. */
export interface ForecastQuestion {
  readonly at: Date;
  readonly mode: MigrationSpec['mode'];
  readonly minPasses: number;
  readonly isRunning: boolean;
  readonly from: { readonly site: string; readonly host: string };
  readonly to: { readonly site: string; readonly host: string };
  readonly disks: readonly DiskFacts[];
  /** Live. An emulated guest stands still while its memory is carried. */
  readonly memory?: {
    readonly bytes: number;
    readonly bytesFrom?: Measured;
    readonly dirtyPerSecond?: Measured;
    readonly isEmulated: boolean;
  };
  /** What was seen of the path, newest first, and its round trip. */
  readonly path: readonly PathLook[];
  readonly rttMs?: Measured;
  /** The most that the source's host was seen to carry to anywhere. */
  readonly moverPerSecond?: Measured;
  readonly egressPrice?: { readonly perGB: number; readonly currency: string };
  /** Moves of this mode between the same hosts, newest first. */
  readonly earlier: readonly EarlierMove[];
}
