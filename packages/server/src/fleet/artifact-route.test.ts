import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type FleetFixture, startFleetFixture } from './testing/fleet-fixture.js';
import { blankVolume } from './testing/objects.js';
import { askListener, createKey, enrolHost, type SimulatedIdentity } from './testing/simulated-identity.js';
import { postgresIsThere, useFleetDatabase } from './testing/test-database.js';

const content = Buffer.from('0123456789');
const sha256 = createHash('sha256').update(content).digest('hex');

describe.skipIf(!(await postgresIsThere()))('artifacts for agents', () => {
  const freshDatabase = useFleetDatabase();
  let fixture: FleetFixture;
  let alpha: SimulatedIdentity;

  beforeEach(async () => {
    fixture = await startFleetFixture(await freshDatabase());
    alpha = await enrolHost(fixture.fleet.url, await fixture.fleet.createEnrolment('alpha', 'here'), await createKey());
    fixture.artifacts.set(sha256, content);
    const source = { type: 'image', sha256, bytes: content.length, format: 'raw' } as const;
    await fixture.fleet.port.declare('here', { host: 'alpha', type: 'volume', key: 'v1', desired: blankVolume('v1', { source }) }, 'keep');
  });
  afterEach(async () => await fixture.stop());

  const get = async (identity: SimulatedIdentity | undefined, digest: string, range?: string) =>
    await askListener(fixture.fleet.url, {
      method: 'GET',
      path: `/agent/v1/artifacts/${digest}`,
      ...(identity === undefined ? {} : { identity }),
      ...(range === undefined ? {} : { headers: { range } }),
    });

  it('are given whole', async () => {
    const answer = await get(alpha, sha256);
    expect(answer.status).toBe(200);
    expect(answer.body.toString()).toBe('0123456789');
    expect(answer.headers).toMatchObject({ 'content-length': '10', 'accept-ranges': 'bytes', etag: `"${sha256}"` });
  });

  it.each([
    { range: 'bytes=3-', body: '3456789', told: 'bytes 3-9/10' },
    { range: 'bytes=3-5', body: '345', told: 'bytes 3-5/10' },
    { range: 'bytes=8-100', body: '89', told: 'bytes 8-9/10' },
    { range: 'bytes=-4', body: '6789', told: 'bytes 6-9/10' },
    { range: 'bytes=-100', body: '0123456789', told: 'bytes 0-9/10' },
  ])('are given in part: $range', async ({ range, body, told }) => {
    const answer = await get(alpha, sha256, range);
    expect(answer.status).toBe(206);
    expect(answer.body.toString()).toBe(body);
    expect(answer.headers['content-range']).toBe(told);
  });

  it.each(['bytes=10-', 'bytes=-0'])('have nothing at %s', async (range) => {
    const answer = await get(alpha, sha256, range);
    expect(answer.status).toBe(416);
    expect(answer.headers['content-range']).toBe('bytes */10');
  });

  it.each(['bytes=5-3', 'bytes=1-2,4-5', 'lines=1-2', 'bytes=-'])('are given whole for %s, which is no range to follow', async (range) => {
    expect((await get(alpha, sha256, range)).status).toBe(200);
  });

  it('are only for the host whose volume is made from them', async () => {
    const beta = await enrolHost(fixture.fleet.url, await fixture.fleet.createEnrolment('beta', 'here'), await createKey());
    expect((await get(beta, sha256)).status).toBe(404);
    expect((await get(undefined, sha256)).status).toBe(401);
    await fixture.fleet.port.withdraw('here', { host: 'alpha', type: 'volume', key: 'v1' });
    expect((await get(alpha, sha256)).status).toBe(404);
  });

  it('answers not-found for what is not stored and for what is no digest', async () => {
    fixture.artifacts.clear();
    expect((await get(alpha, sha256)).status).toBe(404);
    expect((await get(alpha, '../../etc/passwd')).status).toBe(404);
  });
});
