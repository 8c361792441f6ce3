import type { Facet } from '../observation.js';

/** A network at one site. At agent sites it is made per host, on the host its first NIC arrives at. */
export interface NetworkRealizationSpec {
  readonly host?: string;
  readonly vni: number;
  readonly mtu: number;
  /** The gateway's address of each subnet, CIDR notation. */
  readonly gateways: readonly string[];
  /** What may leave the network, by the subnet it comes from; the longest matching destination decides. Absent or empty: nothing leaves. */
  readonly routes?: readonly NetworkRoute[];
  /** What its guests can ask for by name, where the site can answer them. */
  readonly names?: NetworkNames;
  /** Of all its instances, wherever they are: what goes from one subnet to another finds them by these. Absent: there is one subnet. */
  readonly neighbours?: readonly NetworkNeighbour[];
}

export interface NetworkNeighbour {
  readonly address: string;
  readonly mac: string;
}

/** Ranges are in CIDR notation. */
export interface NetworkRoute {
  readonly source: string;
  readonly destination: string;
  /** `internet`: out through the site, behind an address of its own or the NIC's public one. `address`: to a guest of this network that forwards. */
  readonly via: { readonly type: 'internet' } | { readonly type: 'address'; readonly address: string };
}

export interface NetworkNames {
  /** Suffix of the names. */
  readonly domain: string;
  /** Labels, each with addresses in this network, in order. */
  readonly hosts: readonly { readonly name: string; readonly addresses: readonly string[] }[];
}

export interface NetworkRealizationStatus {
  readonly state: 'creating' | 'ready' | 'failed';
  /** `segment`: one layer 2 with the other sites. `island`: alone at this site; ports are reached through access endpoints. */
  readonly reach: 'segment' | 'island';
}

export type NetworksFacet = Facet<NetworkRealizationSpec, NetworkRealizationStatus>;
