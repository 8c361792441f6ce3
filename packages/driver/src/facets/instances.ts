import type {
  CpuPolicy,
  DesiredInstance,
  DesiredPciDevice,
  DesiredRestart,
  Difference,
  HugePageSize,
  InstanceActivity,
  ObservedInstance,
  Permit,
  Surrender,
  VolumeLimits,
} from '@virt8ra/contract';
import type { Facet, Handle } from '../observation.js';

/** An instance as a site is asked for it. Networks and volumes are named by the handles of their realizations at the same site. */
export interface InstanceRealizationSpec {
  readonly instance: string;
  readonly name: string;
  readonly host?: string;
  readonly architecture: 'amd64' | 'arm64';
  readonly firmware: 'BIOS' | 'UEFI';
  readonly vCPU: number;
  readonly memoryMiB: number;
  /** Absent: its processors are shared. */
  readonly cpuPolicy?: CpuPolicy;
  /** Absent: its memory is in whatever pages the host has. */
  readonly hugePages?: HugePageSize;
  /** PCI devices of its host, which it has for itself, each id once. A site that cannot give them refuses. Absent: none. */
  readonly pciDevices?: readonly DesiredPciDevice[];
  /** Recorded at the first start; carried along by moves. */
  readonly machine?: string;
  readonly cpuModel?: string;
  readonly power: 'on' | 'off';
  readonly restarts: number;
  readonly volumes: readonly Handle[];
  /** A block storage to boot from instead, at every start from now on. */
  readonly rescue?: Handle;
  readonly nics: readonly NicRealizationSpec[];
  readonly seed: DesiredInstance['seed'];
  readonly exposedPorts: readonly number[];
  readonly permit?: Permit;
  readonly surrenderEpoch?: number;
  /** Absent: `defaultRestart`. */
  readonly restart?: DesiredRestart;
  /** Seconds it has to shut down by itself; absent: the site's own. */
  readonly stopSeconds?: number;
}

/** A NIC as a site is asked for it. */
export interface NicRealizationSpec {
  readonly key: string;
  readonly network: Handle;
  readonly mac: string;
  /** CIDR notation, such as 10.1.0.5/24. */
  readonly addresses: readonly string[];
  readonly gateway4?: string;
  readonly gateway6?: string;
  readonly nameservers: readonly string[];
  /** Realizations of its security groups in that network. Absent or empty: nothing is filtered. */
  readonly securityGroups?: readonly Handle[];
  /** Public addresses of the site that are its outside, one to one; `to` is one of its own, of the same version. */
  readonly publicAddresses?: readonly { readonly address: string; readonly to: string }[];
  /** It forwards what is not for itself, so that it may use other addresses than its own. */
  readonly forwards?: boolean;
  /** Most that may pass in each direction. */
  readonly rate?: { readonly megabitsPerSecond: number; readonly packetsPerSecond: number };
}

export interface InstanceRealizationStatus {
  readonly activity: InstanceActivity;
  readonly since?: string;
  readonly host?: string;
  readonly waitingFor?: string;
  readonly permitEpoch?: number;
  readonly surrender?: Surrender;
  readonly machine?: string;
  readonly cpuModel?: string;
  readonly accelerator?: string;
  /** Ids of the PCI devices of its host that the running guest has, one for each. */
  readonly pciDevices?: readonly string[];
  readonly startedAt?: string;
  readonly restarts?: number;
  /** Why it is not as it should be, where the site can tell; `exhausted`: its guest waits for room on its host’s disk. */
  readonly trouble?: { readonly code: string; readonly message: string };
  readonly lastEnd?: ObservedInstance['lastEnd'];
  readonly differences?: readonly Difference[];
  /** Signs that the guest really came up, when the site can tell. */
  readonly boot?: ObservedInstance['boot'];
  /** The running guest has booted from what rescues it. */
  readonly rescued?: boolean;
  /** What the running guest told of itself, and when. */
  readonly guest?: ObservedInstance['guest'];
  /** Disks of a guest that runs, by the keys of their realizations; absent when the site does not tell. */
  readonly disks?: readonly {
    readonly key: string;
    readonly state: 'attached' | 'attaching' | 'detaching';
    readonly reason?: string;
    readonly limits?: VolumeLimits;
  }[];
  readonly access: readonly { readonly port: number; readonly address: string; readonly hostPort: number }[];
}

export type InstancesFacet = Facet<InstanceRealizationSpec, InstanceRealizationStatus>;
