import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type FleetFixture, startFleetFixture } from './testing/fleet-fixture.js';
import { plainInstance } from './testing/objects.js';
import { postgresIsThere, useFleetDatabase } from './testing/test-database.js';

describe.skipIf(!(await postgresIsThere()))('what an agent can do', () => {
  const freshDatabase = useFleetDatabase();
  let fixture: FleetFixture;
  beforeEach(async () => {
    fixture = await startFleetFixture(await freshDatabase());
  });
  afterEach(async () => await fixture.stop());

  const declare = async (host: string, change: object) => {
    const desired = { ...plainInstance(`i-${host}`, host, `v-${host}`), ...change };
    await fixture.fleet.port.declare('here', { host, type: 'instance', key: desired.key, desired }, 'replace');
  };
  const desired = async (host: string) => (await fixture.fleet.port.look('here', { host, type: 'instance', key: `i-${host}` })).desired;

  it('is not asked of one that has not said so: refused by name, and nothing changes', async () => {
    const old = await fixture.enrol('old', 'here', { features: [] });
    await fixture.enrol('new', 'here');
    const care = { restart: { policy: 'always', limit: 5 }, stopSeconds: 60 };
    await declare('new', care);
    expect(await desired('new')).toMatchObject(care);
    await declare('old', {});
    const { generation } = old;
    await expect(declare('old', care)).rejects.toMatchObject({
      kind: 'unsupported',
      message: expect.stringContaining('its agent does not offer restart-policy, stop-time'),
    });
    expect(await desired('old')).not.toHaveProperty('restart');
    expect(old.generation).toBeGreaterThanOrEqual(generation);
    expect(old.refused).toBeUndefined();
  });
});
