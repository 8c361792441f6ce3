import type { DesiredByType, DesiredState, HostObjectType, ObservedByType, Surrender } from '@virt8ra/contract';
import type { SimulatedHosts } from './simulated-hosts.js';
import type { SimulatedIdentity } from './simulated-identity.js';

/** How long things take on a simulated host, in milliseconds. */
export interface SimulatedDelays {
  readonly network: number;
  readonly volume: number;
  readonly boot: number;
  readonly stop: number;
  readonly settle: number;
  readonly remove: number;
  /** One pass of a transfer. */
  readonly pass: number;
}

export const shortDelays: SimulatedDelays = { network: 5, volume: 5, boot: 10, stop: 5, settle: 5, remove: 5, pass: 20 };

/** What of a host's objects its parts share. */
export interface Machine {
  readonly identity: SimulatedIdentity;
  readonly hosts: SimulatedHosts;
  readonly delays: SimulatedDelays;
  desired(): DesiredState;
  wanted<Type extends HostObjectType>(type: Type, key: string): DesiredByType[Type] | undefined;
  get<Type extends HostObjectType>(type: Type, key: string): ObservedByType[Type] | undefined;
  post<Type extends HostObjectType>(type: Type, key: string, observed: ObservedByType[Type]): void;
  drop(type: HostObjectType, key: string): void;
  /** Runs `work` after a while, unless something of this object is under way already; then everything is looked at again. */
  after(type: HostObjectType, key: string, ms: number, work: () => void | Promise<void>): void;
  /** Digest of what a volume holds. */
  readonly contents: Map<string, string>;
  /** What running guests were started with, by key. */
  readonly sizes: Map<string, { readonly vCPU: number; readonly memoryMiB: number }>;
  /** Volumes that guests do not let go of. */
  readonly clinging: Set<string>;
  /** Instances that a transfer keeps from running, by key. */
  readonly frozen: Set<string>;
  /** Releases that other hosts handed over in live moves, by instance. */
  readonly handed: Map<string, Surrender>;
  /** Highest epoch given up, by instance. */
  readonly surrendered: Map<string, number>;
  /** Instances a transfer gave up, with the epoch: what `surrender` is to sign. */
  surrender(instanceKey: string, epoch: number): void;
  progress(progress: {
    transferId: string;
    phase: string;
    pass: number;
    bytes: number;
    totalBytes: number;
    bytesPerSecond: number;
    etaSeconds: number | null;
  }): void;
  /** The agent's process lives: transfers only go on then. */
  isAlive(): boolean;
  /** Receivers spoil what they get, for tests of verification. */
  isCorrupting(transferId: string): boolean;
  accessPort(instanceKey: string, port: number): number;
  fetchImage: ((sha256: string) => Promise<void>) | undefined;
  /** Sends the content of one volume of a backup. */
  sendBackup(key: string, position: number, content: Buffer): Promise<void>;
}
