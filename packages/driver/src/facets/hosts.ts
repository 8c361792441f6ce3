import type { HostInventory } from '@virt8ra/contract';

/** A host of a site as placement sees it. */
export interface HostObservation {
  readonly host: string;
  readonly connected: boolean;
  readonly observedAt: string | undefined;
  readonly inventory: HostInventory | undefined;
  /** What its agent can do beyond the protocol's first form. */
  readonly features?: readonly string[];
}

export interface HostsFacet {
  list(): Promise<readonly HostObservation[]>;
}
