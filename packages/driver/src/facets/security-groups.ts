import type { Facet, Handle } from '../observation.js';

/** One thing that passes; where a part is absent, everything of it does. What no rule lets pass is dropped; replies pass by themselves. */
export interface FilterRule {
  readonly direction: 'ingress' | 'egress';
  readonly version?: 'IPv4' | 'IPv6';
  readonly protocol?: 'tcp' | 'udp' | 'tcp+udp' | 'icmp';
  /** Both ends inclusive, in order and apart. TCP and UDP only. */
  readonly ports?: readonly { readonly from: number; readonly to: number }[];
  /** ICMP of IPv4 only. */
  readonly icmp?: { readonly type: number; readonly code: number };
  /** Who is at the other end: any of these ranges, or the members of any of these security groups. Absent: anybody. */
  readonly peers?: {
    /** CIDR notation, in order and apart. */
    readonly ranges: readonly string[];
    /** Realizations at the same place and in the same network; `self` is the very one whose rule it is. */
    readonly groups: readonly (Handle | 'self')[];
  };
}

/**
 * A security group for NICs in one network at one site; at agent sites it is made per host. NICs name it: one that names none is not
 * filtered, one of several has what any of them lets pass.
 */
export interface SecurityGroupRealizationSpec {
  readonly host?: string;
  /** The network's realization at the same place. */
  readonly network: Handle;
  readonly rules: readonly FilterRule[];
  /** Addresses of all its NICs in the network, wherever they are, in order. */
  readonly members: readonly string[];
}

export interface SecurityGroupRealizationStatus {
  readonly state: 'creating' | 'ready' | 'failed';
}

export type SecurityGroupsFacet = Facet<SecurityGroupRealizationSpec, SecurityGroupRealizationStatus>;
