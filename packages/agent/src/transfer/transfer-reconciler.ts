import { Problem } from '@virt8ra/contract';
import type { NextLook } from '../desired/converger.js';
import type { HostContext } from '../host-context.js';
import type { InstanceReconciler, TransferClaims } from '../instances/instance-reconciler.js';
import type { Identity } from '../link/identity.js';
import type { Progress } from '../link/outbox.js';
import type { RootDigest, VolumeTransfers } from '../storage/volume-reconciler.js';
import type { VolumeStore } from '../storage/volume-store.js';
import type { TransferStore } from './transfer-store.js';

/** Moves disks between this host and others. */
export class TransferReconciler implements TransferClaims, VolumeTransfers {
  readonly #store: TransferStore;

  constructor(
    _context: HostContext,
    store: TransferStore,
    _volumes: VolumeStore,
    _identity: () => Identity,
    _onProgress: (progress: Progress) => void,
  ) {
    this.#store = store;
  }

  useInstances(_instances: InstanceReconciler): void {}

  claimOn(_instanceKey: string): 'paused' | 'stopped' | undefined {
    return undefined;
  }

  moves(volumeKey: string): boolean {
    return this.#store.all().some(({ volumeKeys }) => volumeKeys.includes(volumeKey));
  }

  readonly rootDigest: RootDigest = async () => {
    throw new Problem('unavailable', 'digests need the mover');
  };

  async pass(_key: string): Promise<NextLook> {
    return undefined;
  }

  async stop(): Promise<void> {}
}
