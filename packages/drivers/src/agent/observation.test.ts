import type { DesiredVolume, ObservedVolume } from '@virt8ra/contract';
import { describe, expect, it } from 'vitest';
import type { HostObjectView } from './fleet-port.js';
import { handleFromObject, objectFromHandle } from './handle.js';
import { observationFromView, type Reader } from './observation.js';

const volume = { host: 'alpha', type: 'volume', key: 'v1' } as const;
const desired: DesiredVolume = { key: 'v1', sizeBytes: 1, source: { type: 'blank' }, settle: false };
const reader: Reader<'volume', string> = {
  awaited: () => 'awaited',
  read: ({ state }) => ({
    status: state,
    changing: state === 'creating',
    ...(state === 'failed' ? { problem: { code: 'exhausted', message: 'the disk is full' } } : {}),
  }),
};

function seen(state: ObservedVolume['state']): HostObjectView<'volume'>['observed'] {
  return { object: { key: 'v1', state, sizeBytes: 1 }, at: '2026-01-02T03:04:05Z' };
}

function view(change: Partial<HostObjectView<'volume'>>): HostObjectView<'volume'> {
  return {
    desired,
    going: false,
    observed: seen('ready'),
    current: true,
    reportedAt: '2026-01-02T03:04:06Z',
    silence: undefined,
    ...change,
  };
}

const cases: readonly {
  readonly title: string;
  readonly given: Partial<HostObjectView<'volume'>>;
  readonly type: string;
  readonly more?: object;
}[] = [
  {
    title: 'desired and seen as it should be',
    given: {},
    type: 'present',
    more: { at: '2026-01-02T03:04:05Z', status: 'ready', source: 'agent/alpha' },
  },
  { title: 'desired and still at work', given: { observed: seen('creating') }, type: 'changing' },
  { title: 'desired and not yet reported', given: { observed: undefined }, type: 'changing', more: { status: 'awaited' } },
  { title: 'seen before the newest declaration', given: { current: false }, type: 'changing', more: { status: 'ready' } },
  {
    title: 'failed',
    given: { observed: seen('failed') },
    type: 'broken',
    more: { problem: expect.objectContaining({ kind: 'exhausted' }) },
  },
  { title: 'going and still seen', given: { desired: undefined, going: true }, type: 'changing' },
  { title: 'going and neither seen nor confirmed', given: { desired: undefined, going: true, observed: undefined }, type: 'unknown' },
  {
    title: 'gone, as the host confirmed',
    given: { desired: undefined, observed: undefined },
    type: 'absent',
    more: { at: '2026-01-02T03:04:06Z' },
  },
  { title: 'an orphan', given: { desired: undefined }, type: 'present' },
  {
    title: 'on a silent host and seen before',
    given: { silence: 'away' },
    type: 'unknown',
    more: { reason: 'away', lastSeen: { at: '2026-01-02T03:04:05Z', status: 'ready' } },
  },
  { title: 'on a silent host and never seen', given: { silence: 'away', observed: undefined }, type: 'unknown', more: { reason: 'away' } },
  { title: 'going on a silent host', given: { silence: 'away', desired: undefined, going: true, observed: undefined }, type: 'unknown' },
  { title: 'gone before the host fell silent', given: { silence: 'away', desired: undefined, observed: undefined }, type: 'absent' },
  {
    title: 'unheard of on a host that never reported',
    given: { silence: 'away', desired: undefined, observed: undefined, reportedAt: undefined },
    type: 'unknown',
  },
];

describe('an observation of an agent site', () => {
  it.each(cases)('is $type of what is $title', ({ given, type, more = {} }) => {
    const observation = observationFromView(volume, view(given), reader);
    expect(observation).toMatchObject({ type, ...more });
    if (type === 'unknown' && !('lastSeen' in more)) expect(observation).not.toHaveProperty('lastSeen');
  });
});

describe('a handle of an agent site', () => {
  it('leads back to its object', () => {
    expect(objectFromHandle(handleFromObject(volume), 'volume')).toEqual(volume);
  });

  it.each([
    { title: 'another driver', handle: { ...handleFromObject(volume), driver: 'other' } },
    { title: 'another version', handle: { ...handleFromObject(volume), version: 2 } },
    { title: 'another type', handle: handleFromObject({ ...volume, type: 'network' }) },
    { title: 'no JSON', handle: { ...handleFromObject(volume), value: '{' } },
    { title: 'no object', handle: { ...handleFromObject(volume), value: 'null' } },
    { title: 'no host', handle: { ...handleFromObject(volume), value: '{"type":"volume","key":"v1"}' } },
  ])('of $title is refused', ({ handle }) => {
    expect(() => objectFromHandle(handle, 'volume')).toThrow(expect.objectContaining({ kind: 'internal' }));
  });
});
