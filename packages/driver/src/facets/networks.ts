import type { Facet } from '../observation.js';

/** A network at one site. At agent sites it is made per host, on the host its first NIC arrives at. */
export interface NetworkRealizationSpec {
  readonly host?: string;
  readonly vni: number;
  readonly mtu: number;
  /** The gateway's address of each subnet, CIDR notation. */
  readonly gateways: readonly string[];
}

export interface NetworkRealizationStatus {
  readonly state: 'creating' | 'ready' | 'failed';
  /** `segment`: one layer 2 with the other sites. `island`: alone at this site; ports are reached through access endpoints. */
  readonly reach: 'segment' | 'island';
}

export type NetworksFacet = Facet<NetworkRealizationSpec, NetworkRealizationStatus>;
