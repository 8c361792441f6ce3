import type { Difference, GuestFacts, InstanceActivity, InstanceEnd, Observed, Placement } from '@virt8ra/contract';
import type { InstanceRealizationStatus, Observation } from '@virt8ra/driver';

/** A block storage as a guest has it. */
export interface AttachedVolume {
  readonly deviceRef: { readonly resource: string };
  readonly state: 'attached' | 'attaching' | 'detaching';
  readonly reason?: string;
  readonly iops?: number;
  readonly bytesPerSecond?: number;
}

/** What it boots from instead of its boot volume, and how far that is. */
export interface Rescue {
  readonly imageRef: { readonly resource: string };
  readonly phase: 'preparing' | 'starting' | 'running' | 'ending';
  readonly since: string;
}

/** The stored part of an instance's status. */
export interface InstanceStatus {
  powerState?: 'on' | 'off';
  powerStateSince?: string;
  activity?: Observed<InstanceActivity>;
  placement?: Placement;
  addresses?: string[];
  accelerator?: string;
  /** Ids of PCI devices of its host that the running guest has. Undefined in a patch: taken out. */
  pciDevices?: readonly string[] | undefined;
  /** Undefined in a patch: taken out. */
  guest?: Observed<GuestFacts> | undefined;
  rescue?: Rescue | undefined;
  lastEnd?: { at: string; how: InstanceEnd };
  differences?: readonly Difference[];
  volumes?: readonly AttachedVolume[];
}

/**
 * Status facts of an observation. SECA's `powerState` says on or off only when that was seen; what is unknown keeps its last value there,
 * and `activity` says so with the time of the last real observation.
 */
export function statusFromObservation(
  observation: Observation<InstanceRealizationStatus>,
  previous: InstanceStatus,
  now: string,
): Omit<InstanceStatus, 'placement' | 'addresses'> {
  if (observation.type === 'unknown') {
    const observedAt = observation.lastSeen?.at ?? previous.activity?.observedAt ?? now;
    return { activity: { value: 'unknown', source: observation.source, observedAt } };
  }
  if (observation.type === 'absent') {
    return {
      ...power('off', previous, observation.at),
      ...guestWord(undefined, previous),
      activity: { value: 'stopped', source: observation.source, observedAt: observation.at },
    };
  }
  const { activity, accelerator, lastEnd, differences, guest, pciDevices } = observation.status;
  const on = activity === 'running' || activity === 'paused' || activity === 'stopping';
  return {
    ...power(on ? 'on' : 'off', previous, observation.status.since ?? observation.at),
    activity: { value: activity, source: observation.source, observedAt: observation.at },
    ...guestWord(
      guest === undefined ? undefined : { value: guest.facts, source: `${observation.source}/guest`, observedAt: guest.at },
      previous,
    ),
    ...(accelerator === undefined ? {} : { accelerator }),
    ...(pciDevices === undefined && previous.pciDevices === undefined ? {} : { pciDevices }),
    ...(lastEnd === undefined ? {} : { lastEnd }),
    ...(differences === undefined && previous.differences === undefined ? {} : { differences: differences ?? [] }),
  };
}

/** What a guest said goes with the guest. */
function guestWord(said: Observed<GuestFacts> | undefined, previous: InstanceStatus): { guest?: Observed<GuestFacts> | undefined } {
  return said === undefined && previous.guest === undefined ? {} : { guest: said };
}

function power(value: 'on' | 'off', previous: InstanceStatus, since: string): Pick<InstanceStatus, 'powerState' | 'powerStateSince'> {
  if (previous.powerState === value && previous.powerStateSince !== undefined)
    return { powerState: value, powerStateSince: previous.powerStateSince };
  return { powerState: value, powerStateSince: since };
}
