import type { ImportFinding, InstanceImportPhase, InstanceImportPlan } from '@virt8ra/contract';

/** Status of an instance import, without state and conditions. */
export interface InstanceImportStatus {
  phase?: InstanceImportPhase;
  receivedBytes?: number;
  totalBytes?: number;
  plan?: InstanceImportPlan;
  findings?: readonly ImportFinding[];
  instanceRef?: { readonly resource: string };
  /** Who asked last: what is made is made in their name. */
  askedBy?: string;
}
