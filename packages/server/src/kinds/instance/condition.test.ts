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

  it('tells how a stop went', () => {
    const stop = (how: 'shutdown' | 'forced') =>
      conditionFrom(seen({ activity: 'stopped', lastEnd: { at, how } }), 'off', instance('updating'), 'after')?.message;
    expect(stop('shutdown')).toContain('shut down when it was asked');
    expect(stop('forced')).toContain('was switched off');
  });
});
