import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findingsOf } from '../kinds/topology/host-findings.js';
import { smallInventory } from '../testing/site-facts.js';
import { type FleetFixture, startFleetFixture } from './testing/fleet-fixture.js';
import { openRawLink } from './testing/raw-link.js';
import { createKey, enrolHost } from './testing/simulated-identity.js';
import { postgresIsThere, useFleetDatabase } from './testing/test-database.js';

const hour = 3_600_000;

describe.skipIf(!(await postgresIsThere()))('the clock of a host', () => {
  const freshDatabase = useFleetDatabase();
  let fixture: FleetFixture;
  beforeEach(async () => {
    fixture = await startFleetFixture(await freshDatabase());
  });
  afterEach(async () => await fixture.stop());

  it('is compared with ours each time the host tells of itself, and shown when it is wrong until it is right', async () => {
    const { url } = fixture.fleet;
    const identity = await enrolHost(url, await fixture.fleet.createEnrolment('alpha', 'here'), await createKey());
    const link = await openRawLink(url, identity);
    await link.next('welcome');
    const status = async () => (await fixture.fleet.hostStatus(['alpha']))[0];
    const tell = async (offsetMs: number, model: string) => {
      const inventory = smallInventory('alpha', { cpu: { model, cores: 8, threads: 8, numaCells: 1 } });
      link.send({ type: 'inventory', at: new Date(Date.now() + offsetMs).toISOString(), inventory });
      return await fixture.until('it is stored', async () => {
        const seen = await status();
        return seen?.inventory?.cpu.model === model && seen;
      });
    };
    expect(findingsOf(await tell(0, 'first'))).toEqual([]);
    const behind = await tell(-hour, 'second');
    expect(behind.clockOffsetSeconds).toBeCloseTo(-3600, -2);
    expect(findingsOf(behind)).toMatchObject([{ code: 'clock', message: expect.stringMatching(/36\d\d s behind/) }]);
    expect(findingsOf(await tell(hour, 'third'))).toMatchObject([{ message: expect.stringMatching(/3[56]\d\d s ahead of/) }]);
    expect(findingsOf(await tell(0, 'fourth'))).toEqual([]);
    link.close();
  });
});
