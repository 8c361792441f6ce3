import type { HostDrain, HostFinding, HostInventory, Observed } from '@virt8ra/contract';

/** Status of a host without its state and history. `cordoned` to `drain` are stored, the others read when they are shown. */
export interface HostResourceStatus {
  cordoned?: boolean;
  cordonReason?: string;
  drain?: HostDrain;
  connected?: Observed<boolean>;
  maintenance?: Observed<boolean>;
  agentVersion?: string;
  inventory?: HostInventory;
  findings?: readonly HostFinding[];
  instances?: number;
}
