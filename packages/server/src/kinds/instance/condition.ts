import type { Difference, InstanceEnd, InstanceSpec } from '@virt8ra/contract';
import type { InstanceRealizationStatus, Observation } from '@virt8ra/driver';
import type { NewCondition } from '../../resources/conditions.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { InstanceStatus } from './status.js';

/** Reason of the condition that says what is in the way. */
export const blocked = 'Blocked';
/** Reasons that are over as soon as the instance is seen as it should be. */
const passing: readonly (string | undefined)[] = ['Unknown', 'Differs', 'SwitchedItselfOff', 'Paused', 'DeviceLost'];

/** The history entry an observation calls for, if any. */
export function conditionFrom(
  seen: Observation<InstanceRealizationStatus>,
  wanted: 'on' | 'off',
  current: StoredResource<InstanceSpec, InstanceStatus>,
  when: 'before' | 'after',
  /** What keeps its guest from having the disks it should have. */
  diskTrouble?: string,
): NewCondition | undefined {
  const newest = current.conditions[0]?.reason;
  if (seen.type === 'broken') return { state: 'error', type: 'Observed', reason: 'Failed', message: seen.problem.message };
  if (seen.type === 'unknown') {
    return newest === 'Unknown' ? undefined : { state: current.state, type: 'Observed', reason: 'Unknown', message: seen.reason };
  }
  const { trouble, activity: doing } = seen.type === 'absent' ? {} : seen.status;
  // How much is free changes all the time, and is no news.
  if (trouble?.code === 'exhausted' && doing === 'paused')
    return newest === 'DiskFull' ? undefined : { state: 'error', type: 'Observed', reason: 'DiskFull', message: trouble.message };
  // What blocks is over when nothing was in the way, not when the guest happens to be seen.
  const wasBlocked = newest === blocked;
  if (wasBlocked && when === 'before') return undefined;
  // What is being changed is not settled by what was seen before its site was told.
  if (when === 'before' && (current.state === 'updating' || current.state === 'creating')) return undefined;
  if (seen.type === 'present') {
    const { activity, differences = [], lastEnd } = seen.status;
    if (!isSettled(activity, wanted)) {
      const down = troubled(seen.status);
      if (down !== undefined) return down;
    } else if (wanted === 'on' && trouble?.code === 'device-lost') {
      return { state: 'error', type: 'Observed', reason: 'DeviceLost', message: trouble.message };
    } else if (wanted === 'on' && differences.length > 0) {
      return { state: 'active', type: 'Observed', reason: 'Differs', message: differencesText(differences) };
    } else if (current.state !== 'active' || passing.includes(newest)) {
      return { state: 'active', type: 'Observed', ...(wanted === 'on' ? { reason: 'Running' } : stopped(lastEnd?.how)) };
    } else return undefined;
  }
  if (wasBlocked) return { state: 'updating', type: 'Reconciled', reason: 'Unblocked', message: 'nothing is in the way any more' };
  if (diskTrouble !== undefined) return { state: 'updating', type: 'Disks', reason: 'Waiting', message: diskTrouble };
  return undefined;
}

export function isSettled(activity: InstanceRealizationStatus['activity'], wanted: 'on' | 'off'): boolean {
  return wanted === 'on' ? activity === 'running' : activity === 'stopped';
}

/** Why it is not as wanted, where its site says so. */
function troubled({ activity, trouble }: InstanceRealizationStatus): NewCondition | undefined {
  if (trouble === undefined) return undefined;
  const { code, message } = trouble;
  if (code === 'guest-shutdown') return { state: 'active', type: 'Observed', reason: 'SwitchedItselfOff', message };
  if (activity === 'crashed' || activity === 'stopped') return { state: 'error', type: 'Observed', reason: 'Crashed', message };
  return activity === 'paused' ? { state: 'active', type: 'Observed', reason: 'Paused', message } : undefined;
}

function stopped(how: InstanceEnd | undefined): Pick<NewCondition, 'reason' | 'message'> {
  if (how === 'shutdown') return { reason: 'Stopped', message: 'the guest shut down when it was asked to' };
  if (how === 'forced') return { reason: 'Stopped', message: 'the guest did not shut down in its time and was switched off' };
  return { reason: 'Stopped' };
}

function differencesText(differences: readonly Difference[]): string {
  const each = differences.map(({ field, actual, desired }) => `${field} is ${actual}, wanted ${desired}`).join('; ');
  return `the guest runs as it was started: ${each}. A restart brings what is wanted.`;
}
