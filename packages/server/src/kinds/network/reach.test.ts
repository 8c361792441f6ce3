import { describe, expect, it } from 'vitest';
import type { StoredResource } from '../../resources/stored-resource.js';
import { type NetworkPair, reachCondition, shownReach } from './reach.js';

const pair = (state: NetworkPair['state'], reason?: string): NetworkPair => ({
  hosts: ['a', 'b'],
  sites: ['north', 'south'],
  state,
  source: 'agent/a',
  observedAt: state === 'unknown' ? undefined : '2026-01-01T00:00:00.000Z',
  ...(reason === undefined ? {} : { reason }),
});
const fresh = { state: 'active', conditions: [] } as unknown as StoredResource;
const withPast = (condition: object) => ({ state: 'active', conditions: [{ state: 'active', ...condition }] }) as unknown as StoredResource;

describe('the reach of a network', () => {
  it('is written into its history once for each change', () => {
    expect(reachCondition([], fresh)).toBeUndefined();
    const apart = reachCondition([pair('unreachable', 'it does not answer')], fresh);
    expect(apart).toMatchObject({
      type: 'Reach',
      reason: 'Divided',
      message: '1 of 1 pairs of hosts do not reach each other: north/a and south/b: it does not answer',
    });
    expect(reachCondition([pair('unreachable', 'it does not answer')], withPast(apart as object))).toBeUndefined();
    expect(reachCondition([pair('reachable')], withPast(apart as object))).toMatchObject({ reason: 'OneSegment' });
    expect(reachCondition([pair('unknown', 'the tunnel is being made')], fresh)).toMatchObject({ reason: 'Unknown' });
    expect(reachCondition([], withPast(apart as object))).toMatchObject({ reason: 'OneSegment', message: 'it is on one host only' });
  });

  it('is shown with the worst first, and with an age only where something was seen', () => {
    expect(shownReach([])).toEqual({});
    const { reach = [] } = shownReach([pair('reachable'), pair('unknown'), pair('unreachable')]);
    expect(reach.map(({ state }) => state)).toEqual(['unreachable', 'unknown', 'reachable']);
    expect(reach[1]).not.toHaveProperty('observedAt');
  });
});
