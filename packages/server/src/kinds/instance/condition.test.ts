import type { Condition, InstanceSpec } from '@virt8ra/contract';
import type { InstanceRealizationStatus } from '@virt8ra/driver';
import { describe, expect, it } from 'vitest';
import type { StoredResource } from '../../resources/stored-resource.js';
import { conditionFrom } from './condition.js';
import type { InstanceStatus } from './status.js';

const at = '2026-01-01T00:00:00.000Z';
const instance = (state: Condition['state'], reason?: string) =>
  ({ state, conditions: [{ state, lastTransitionAt: at, ...(reason === undefined ? {} : { reason }) }] }) as unknown as StoredResource<
    InstanceSpec,
    InstanceStatus
  >;
const seen = (status: Partial<InstanceRealizationStatus>) =>
  ({ type: 'present', at, source: 'test', status: { activity: 'running', access: [], ...status } }) as const;

describe('the condition of an instance', () => {
  it('says why a guest is down that should run, and that it runs again', () => {
    const trouble = { code: 'restart-limit', message: 'it ended by itself 6 times' };
    expect(conditionFrom(seen({ activity: 'crashed', trouble }), 'on', instance('active'), 'after')).toMatchObject({
      state: 'error',
      reason: 'Crashed',
      message: trouble.message,
    });
    expect(conditionFrom(seen({}), 'on', instance('error', 'Crashed'), 'after')).toMatchObject({ state: 'active', reason: 'Running' });
    const off = { code: 'guest-shutdown', message: 'it switched itself off' };
    expect(conditionFrom(seen({ activity: 'stopped', trouble: off }), 'on', instance('active'), 'after')).toMatchObject({
      state: 'active',
      reason: 'SwitchedItselfOff',
    });
    expect(conditionFrom(seen({}), 'on', instance('active', 'SwitchedItselfOff'), 'after')).toMatchObject({ reason: 'Running' });
  });

  it('tells field by field what a running guest has that is not wanted any more, until it has it', () => {
    const differences = [{ field: 'memoryMiB', actual: '1024', desired: '2048' }];
    expect(conditionFrom(seen({ differences }), 'on', instance('active', 'Running'), 'after')).toMatchObject({
      state: 'active',
      reason: 'Differs',
      message: expect.stringContaining('memoryMiB is 1024, wanted 2048'),
    });
    expect(conditionFrom(seen({}), 'on', instance('active', 'Differs'), 'after')).toMatchObject({ reason: 'Running' });
    expect(conditionFrom(seen({}), 'on', instance('active', 'Running'), 'after')).toBeUndefined();
  });

  it('tells that a full disk holds a guest up, that it goes on, and what keeps it from its disks', () => {
    const full = { code: 'exhausted', message: '1 MiB of 160 MiB are free' };
    expect(conditionFrom(seen({ activity: 'paused', trouble: full }), 'on', instance('active', 'Running'), 'after')).toMatchObject({
      state: 'error',
      reason: 'DiskFull',
      message: full.message,
    });
    const fuller = { ...full, message: '0 MiB of 160 MiB are free' };
    expect(conditionFrom(seen({ activity: 'paused', trouble: fuller }), 'on', instance('error', 'DiskFull'), 'after')).toBeUndefined();
    expect(conditionFrom(seen({}), 'on', instance('error', 'DiskFull'), 'after')).toMatchObject({ state: 'active', reason: 'Running' });
    const leaving = { type: 'changing', at, source: 'test', status: { activity: 'running', access: [] }, retryAfterSeconds: 1 } as const;
    expect(conditionFrom(leaving, 'on', instance('updating'), 'after', 'data is detaching: it is held')).toMatchObject({
      state: 'updating',
      message: 'data is detaching: it is held',
    });
  });

  it('tells how a stop went', () => {
    const stop = (how: 'shutdown' | 'forced') =>
      conditionFrom(seen({ activity: 'stopped', lastEnd: { at, how } }), 'off', instance('updating'), 'after')?.message;
    expect(stop('shutdown')).toContain('shut down when it was asked');
    expect(stop('forced')).toContain('was switched off');
  });
});
