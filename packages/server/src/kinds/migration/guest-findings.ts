import { type InstanceSpec, type MoveFinding, Problem, preflight } from '@virt8ra/contract';
import type { Handle } from '@virt8ra/driver';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { KindContext } from '../context.js';
import { type InstanceStatus, realizationSpecOf } from '../instance/index.js';
import { inspectGuest } from './inspect-guest.js';
import type { Place } from './plan.js';
import { prepareOf } from './prepare-guest.js';

/** What was found in a guest longer ago than this is looked for again. */
const inspectedSeconds = 3600;

/** Looks inside the guest at its source, while it runs on, and says what of it is in the way at the target. What cannot be looked at is a finding, too. */
export async function guestFindings(
  context: KindContext,
  instance: StoredResource<InstanceSpec, InstanceStatus>,
  from: Place,
  handle: Handle,
): Promise<readonly MoveFinding[]> {
  const { streams } = await context.sites.connectionOf(from.site);
  try {
    // The machine is the same at both sites, NICs and addresses included.
    const machine = await realizationSpecOf(context, instance, from, { power: 'off', volumes: [], restarts: 0 });
    const { facts } = await inspectGuest(streams, handle, inspectedSeconds);
    return preflight(facts, prepareOf('none', machine).target);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return [notInspected(instance.address.name, error.message)];
  }
}

/** Of a plan that nobody looked inside of the guest for. */
export function notInspected(name: string, reason?: string): MoveFinding {
  return {
    code: 'guest-not-inspected',
    severity: 'info',
    where: `instance/${name}`,
    what: `nobody looked inside the guest${reason === undefined ? '' : `, because ${reason}`}: its boot, fstab, network configuration and drivers are not judged`,
    mend:
      reason === undefined
        ? 'have it looked into with --inspect'
        : 'see to that and plan again with --inspect, or move it with --guest-changes needed: the copy is looked into then',
  };
}
