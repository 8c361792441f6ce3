import type { InstanceRealizationStatus, Observation } from '@virt8ra/driver';
import { expect, it } from 'vitest';
import { statusFromObservation } from './status.js';

const at = '2026-11-27T18:00:00.000Z';
const said = { at: '2026-11-27T17:59:00.000Z', facts: { hostName: 'web' } };
const seen = (activity: 'running' | 'stopped', guest?: typeof said): Observation<InstanceRealizationStatus> => ({
  type: 'present',
  source: 'agent/host-1',
  at,
  status: { activity, access: [], ...(guest === undefined ? {} : { guest }) },
});

it('a guest’s word is shown as its own and of its time, stays while its host is not heard, and goes with the guest', () => {
  const running = statusFromObservation(seen('running', said), {}, at);
  expect(running.guest).toEqual({ value: { hostName: 'web' }, source: 'agent/host-1/guest', observedAt: said.at });
  const unheard = statusFromObservation({ type: 'unknown', source: 'fleet', reason: 'it is away' }, running, at);
  expect('guest' in unheard).toBe(false);
  const stopped = statusFromObservation(seen('stopped'), running, at);
  expect('guest' in stopped && stopped.guest === undefined).toBe(true);
  expect('guest' in statusFromObservation(seen('running'), {}, at)).toBe(false);
});
