import type { BootEvidence, BootProbe, Id, MigrationSpec, VolumeSource } from '@virt8ra/contract';
import type { Handle, Seed } from '@virt8ra/driver';
import type { StoreReader } from '../../resources/store.js';

/** What a run is started with. */
export interface MoveInput {
  readonly migration: Id<'resource'>;
  readonly instance: Id<'resource'>;
  /** In place of what the migration asks for: its copy could not be made live, and its owner consented; or how it goes back. */
  readonly mode?: MigrationSpec['mode'];
  /** The way back of the migration, from its target to where its disks are retained. */
  readonly way?: 'back';
}

/** Change-tracked passes where the migration does not say how many. */
export const usualPasses = 2;

export interface Place {
  readonly site: string;
  readonly host: string;
}

/** A realization that stands at the source. */
export interface SourceObject {
  readonly id: Id<'realization'>;
  readonly handle: Handle;
}

/** A realization that is intended at the target. */
export interface TargetObject {
  readonly id: Id<'realization'>;
  readonly key: string;
}

export interface PlannedVolume {
  readonly uid: Id<'resource'>;
  readonly name: string;
  readonly sizeBytes: number;
  /** What the source's disk was made from; every change of it must repeat that. */
  readonly origin: VolumeSource;
  readonly source: SourceObject;
  readonly target: TargetObject;
  /** What the target holds of it already, where that is known beforehand; absent: what is there is looked for. */
  readonly seed?: Seed;
  /** Of its placement after the move. */
  readonly revision: number;
}

/** Everything the steps of one move agree on. It is plain JSON, kept in the ledger with the transfer and in the run's journal. */
export interface MovePlan {
  /** As it is done: a live move may have become a warm one. */
  readonly mode: MigrationSpec['mode'];
  readonly minPasses: number;
  /** Absent: nobody looks inside the guest. */
  readonly guestChanges?: 'none' | 'needed';
  /** It cuts over when its owner says so, and not before. */
  readonly awaitsCutover?: true;
  readonly bootProbe?: { readonly in: BootProbe['in']; readonly timeoutSeconds: number; readonly expects: BootEvidence };
  readonly from: Place;
  readonly to: Place;
  readonly instance: {
    readonly uid: Id<'resource'>;
    readonly name: string;
    readonly source: SourceObject;
    readonly target: TargetObject;
    readonly revision: number;
    readonly power: 'on' | 'off';
    readonly restarts: number;
    readonly machine?: string;
    readonly cpuModel?: string;
  };
  /** Boot volume first. */
  readonly volumes: readonly PlannedVolume[];
  /** Both ends of the transfer are known by one key: the ends tell each other. */
  readonly transfer: TargetObject;
  /** Epoch of the source's permit; the target gets the next. */
  readonly epoch: number;
  /** Hours for which the source's disks are kept once it is proven. */
  readonly keepHours?: number;
  /** It goes back to where its disks are retained. */
  readonly way?: 'back';
}

/** What the target was given before anything was copied, in the order of the plan. */
export interface Prepared {
  readonly volumes: readonly Handle[];
  readonly receiver: Handle;
  /** Live: what receives the memory. */
  readonly instance?: Handle;
}

/** The plan as the ledger keeps it; undefined before it was made and after it was dropped. */
export async function plannedMove(reader: StoreReader, migration: Id<'resource'>): Promise<MovePlan | undefined> {
  const transfer = (await reader.ledger.ofResource(migration)).find(({ facet }) => facet === 'disks');
  return transfer?.facts['plan'] as MovePlan | undefined;
}
