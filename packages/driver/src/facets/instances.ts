import type { DesiredInstance, InstanceActivity, ObservedInstance, Permit, Surrender } from '@virt8ra/contract';
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
  /** Recorded at the first start; carried along by moves. */
  readonly machine?: string;
  readonly cpuModel?: string;
  readonly power: 'on' | 'off';
  readonly restarts: number;
  readonly volumes: readonly Handle[];
  readonly nics: readonly (Omit<DesiredInstance['nics'][number], 'networkKey'> & { readonly network: Handle })[];
  readonly seed: DesiredInstance['seed'];
  readonly exposedPorts: readonly number[];
  readonly permit?: Permit;
  readonly surrenderEpoch?: number;
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
  readonly startedAt?: string;
  readonly restarts?: number;
  /** Signs that the guest really came up, when the site can tell. */
  readonly boot?: ObservedInstance['boot'];
  readonly access: readonly { readonly port: number; readonly address: string; readonly hostPort: number }[];
}

export type InstancesFacet = Facet<InstanceRealizationSpec, InstanceRealizationStatus>;
