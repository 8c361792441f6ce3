import type { DesiredBackup, DesiredNetwork, DesiredSnapshot, DesiredVolume, HostObjectType } from './desired.js';
import type { DesiredFilter, ObservedFilter } from './filter.js';
import type { DesiredInstance } from './instance.js';
import type { ObservedBackup, ObservedInstance, ObservedNetwork, ObservedSnapshot, ObservedTransfer, ObservedVolume } from './observed.js';
import type { DesiredTransfer } from './transfer.js';

/** The desired shape of each type of object on a host. */
export interface DesiredByType {
  readonly network: DesiredNetwork;
  readonly volume: DesiredVolume;
  readonly instance: DesiredInstance;
  readonly transfer: DesiredTransfer;
  readonly filter: DesiredFilter;
  readonly backup: DesiredBackup;
  readonly snapshot: DesiredSnapshot;
}

/** What an agent reports of each type of object. */
export interface ObservedByType {
  readonly network: ObservedNetwork;
  readonly volume: ObservedVolume;
  readonly instance: ObservedInstance;
  readonly transfer: ObservedTransfer;
  readonly filter: ObservedFilter;
  readonly backup: ObservedBackup;
  readonly snapshot: ObservedSnapshot;
}

/** One object on one host. */
export interface HostObject {
  readonly host: string;
  readonly type: HostObjectType;
  readonly key: string;
}
