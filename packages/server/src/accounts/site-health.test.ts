import type { Connection } from '@virt8ra/driver';
import { createRecordedLog } from '@virt8ra/engine/testing';
import { describe, expect, it } from 'vitest';
import { createSiteHealths } from './site-health.js';

type Probe = Connection['probe'];
const start = Date.parse('2026-01-01T00:00:00.000Z');

/** Healths on a clock that is moved by hand; `probes` counts the looks. */
function world(probe: Probe, patienceMs = 1000) {
  const state = { at: start, probes: 0, probe };
  const healths = createSiteHealths({
    sites: {
      connectionOf: async () =>
        ({
          probe: async () => {
            state.probes += 1;
            return await state.probe();
          },
        }) as Partial<Connection> as Connection,
    },
    now: () => new Date(state.at),
    log: createRecordedLog(),
    patienceMs,
  });
  return { state, of: async () => (await healths.of(['edge'])).get('edge') };
}

describe('the health of a site', () => {
  it('is looked at once for all who ask within a moment, and anew after it', async () => {
    const { state, of } = world(async () => ({ healthy: true }));
    const first = { healthy: true, observedAt: '2026-01-01T00:00:00.000Z' };
    expect(await Promise.all([of(), of(), of()])).toEqual([first, first, first]);
    state.at += 9_000;
    expect(await of()).toEqual(first);
    expect(state.probes).toBe(1);
    state.at += 2_000;
    expect(await of()).toEqual({ healthy: true, observedAt: '2026-01-01T00:00:11.000Z' });
    expect(state.probes).toBe(2);
  });

  it('says why it is not well, whether the site tells or cannot be asked', async () => {
    const told = world(async () => ({ healthy: false, reason: 'the token has expired' }));
    expect(await told.of()).toMatchObject({ healthy: false, reason: 'the token has expired' });
    const thrown = world(async () => {
      throw new Error('no route');
    });
    expect(await thrown.of()).toMatchObject({ healthy: false, reason: 'no route' });
  });

  it('is what was seen before, with its age, while the site is slow to answer', async () => {
    const { state, of } = world(async () => ({ healthy: true }), 5);
    await of();
    state.at += 60_000;
    let answer = (): void => undefined;
    state.probe = async () =>
      await new Promise((resolve) => {
        answer = () => resolve({ healthy: false, reason: 'slow' });
      });
    expect(await of()).toEqual({ healthy: true, observedAt: '2026-01-01T00:00:00.000Z' });
    expect(await of()).toEqual({ healthy: true, observedAt: '2026-01-01T00:00:00.000Z' });
    expect(state.probes).toBe(2);
    answer();
    await expect.poll(of).toEqual({ healthy: false, reason: 'slow', observedAt: '2026-01-01T00:01:00.000Z' });
  });

  it('is not known of a site that never answered', async () => {
    const { of } = world(async () => await new Promise(() => undefined), 5);
    expect(await of()).toBeUndefined();
  });
});
