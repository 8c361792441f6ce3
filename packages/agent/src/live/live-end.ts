import type { ObservedTransfer } from '@virt8ra/contract';
import type { HostContext } from '../host-context.js';
import type { InstanceReconciler } from '../instances/instance-reconciler.js';
import type { Identity } from '../link/identity.js';
import type { Progress } from '../link/outbox.js';
import type { VolumeStore } from '../storage/volume-store.js';

/** What an end of a live move needs of the host's guests. */
export type LiveGuests = Pick<
  InstanceReconciler,
  'guest' | 'guestWith' | 'isPlugged' | 'exclusive' | 'release' | 'discard' | 'resumeArrived'
>;

/** How an end says where it is. */
export interface LiveReport {
  observe(change: Partial<ObservedTransfer>): void;
  progress(progress: Omit<Progress, 'transferId'>, bytes: number): void;
  /** Which attempt counts now, durable when it returns; undefined: none. */
  remember(attempt: string | undefined): Promise<void>;
  remembered(): string | undefined;
  /** Durable when it returns; nothing comes after it. */
  end(change: Partial<ObservedTransfer> & { readonly state: 'finished' | 'aborted' }): Promise<void>;
}

/** What both ends work with. */
export interface LiveParts {
  readonly context: HostContext;
  readonly identity: () => Identity;
  readonly instances: LiveGuests;
  readonly volumes: VolumeStore;
  readonly report: LiveReport;
  /** Resource id of an instance of this host. */
  instanceOf(instanceKey: string): string | undefined;
  /** The running guest that has a volume, and as which of its disks. */
  volumeAt(volumeKey: string): { readonly key: string; readonly index: number } | undefined;
}

/** One end of one live move, at work until it has ended or is stopped. */
export interface LiveEnd {
  /** Sender: no pass may let the guest go on. */
  readonly holding: boolean;
  stop(): Promise<void>;
}
