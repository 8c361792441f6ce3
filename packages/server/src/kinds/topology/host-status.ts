import type { AgentReleaseFacts, HostDrain, HostFinding, HostInventory, HostUpdate, Observed } from '@virt8ra/contract';

/** Status of a host without its state and history. `cordoned` to `drain` are stored, the others read when they are shown. */
export interface HostResourceStatus {
  cordoned?: boolean;
  cordonReason?: string;
  drain?: HostDrain;
  connected?: Observed<boolean>;
  maintenance?: Observed<boolean>;
  agentVersion?: string;
  previousAgentVersion?: string;
  agentSince?: string;
  update?: HostUpdate;
  lastFailedUpdate?: NonNullable<AgentReleaseFacts['lastFailed']>;
  inventory?: HostInventory;
  findings?: readonly HostFinding[];
  instances?: number;
}
