import type { HostInventory } from '@virt8ra/contract';

/** What a NIC may need of its host, and not every host can do. */
export const hostNetworkings = ['security-groups', 'routes', 'ipv6-routes', 'public-addresses'] as const;
export type HostNetworking = (typeof hostNetworkings)[number];

/** A host of a site as placement sees it. */
export interface HostObservation {
  readonly host: string;
  readonly connected: boolean;
  readonly observedAt: string | undefined;
  readonly inventory: HostInventory | undefined;
  readonly networking: readonly HostNetworking[];
  /** What its agent can do beyond the protocol's first form. */
  readonly features?: readonly string[];
}

export interface HostsFacet {
  list(): Promise<readonly HostObservation[]>;
}
