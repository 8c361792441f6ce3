import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type FleetFixture, startFleetFixture } from './testing/fleet-fixture.js';
import { askListener, createKey, enrolHost, type SimulatedIdentity } from './testing/simulated-identity.js';
import { postgresIsThere, useFleetDatabase } from './testing/test-database.js';

const content = Buffer.from('0123456789');
const sha256 = createHash('sha256').update(content).digest('hex');
const volumes = [{ volumeKey: 'v1' }, { volumeKey: 'v2' }];

describe.skipIf(!(await postgresIsThere()))('the content of backups', () => {
  const freshDatabase = useFleetDatabase();
  let fixture: FleetFixture;
  let alpha: SimulatedIdentity;

  beforeEach(async () => {
    fixture = await startFleetFixture(await freshDatabase());
    const agent = await fixture.enrol('alpha', 'here');
    alpha = agent.identity;
    await fixture.fleet.port.declare('here', { host: 'alpha', type: 'backup', key: 'b1', desired: { key: 'b1', volumes } }, 'keep');
  });
  afterEach(async () => await fixture.stop());

  const send = async (offset: number, piece: Buffer, change: { path?: string; identity?: SimulatedIdentity; sha256?: string } = {}) =>
    await askListener(fixture.fleet.url, {
      method: 'PATCH',
      path: change.path ?? '/agent/v1/backups/b1/0',
      identity: change.identity ?? alpha,
      body: piece,
      headers: { 'upload-offset': String(offset), 'upload-length': '10', 'upload-sha256': change.sha256 ?? sha256 },
    });
  const head = async () => await askListener(fixture.fleet.url, { method: 'HEAD', path: '/agent/v1/backups/b1/0', identity: alpha });

  it('comes in pieces, each where the last one ended', async () => {
    expect((await head()).status).toBe(404);
    expect(await send(0, content.subarray(0, 4))).toMatchObject({ status: 204, headers: { 'upload-offset': '4' } });
    expect(await head()).toMatchObject({ status: 204, headers: { 'upload-offset': '4', 'upload-length': '10' } });
    expect(await send(7, content.subarray(7))).toMatchObject({ status: 409, headers: { 'upload-offset': '4' } });
    expect((await send(4, content.subarray(4))).status).toBe(204);
    expect(fixture.contents.get('b1-v0')).toMatchObject({ sha256, content });
  });

  it('begins anew when it is another one', async () => {
    await send(0, content);
    expect(await send(10, Buffer.alloc(0), { sha256: 'a'.repeat(64) })).toMatchObject({ status: 409, headers: { 'upload-offset': '0' } });
  });

  it('is taken of the host that has been told to send it alone', async () => {
    const beta = await enrolHost(fixture.fleet.url, await fixture.fleet.createEnrolment('beta', 'here'), await createKey());
    expect((await send(0, content, { identity: beta })).status).toBe(404);
    expect((await send(0, content, { path: '/agent/v1/backups/b1/2' })).status).toBe(404);
    expect((await send(0, content, { path: '/agent/v1/backups/b9/0' })).status).toBe(404);
    expect((await send(0, content, { sha256: 'none' })).status).toBe(400);
    expect(fixture.contents.size).toBe(0);
  });

  it('is not asked of an agent that does not say it can', async () => {
    await fixture.enrol('old', 'here', { features: [] });
    const asked = fixture.fleet.port.declare('here', { host: 'old', type: 'backup', key: 'b2', desired: { key: 'b2', volumes } }, 'keep');
    await expect(asked).rejects.toMatchObject({ kind: 'unsupported', message: expect.stringContaining('does not offer backup') });
  });
});
