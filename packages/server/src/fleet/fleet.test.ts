import { randomUUID } from 'node:crypto';
import type { DesiredInstance, DesiredVolume } from '@virt8ra/contract';
import { hasPostgres, startTestPostgres, type TestDatabase, type TestPostgres } from '@virt8ra/engine/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { fleetMigrations } from './migrations.js';
import { type FleetFixture, startFleetFixture } from './testing/fleet-fixture.js';

const ready = await hasPostgres('debian');
if (!ready) process.stdout.write('skipped: PostgreSQL is not installed\n');

export function blankVolume(key: string): DesiredVolume {
  return { key, sizeBytes: 1_000_000, source: { type: 'blank' }, settle: false };
}

export function plainInstance(key: string, volumeKey: string, change: Partial<DesiredInstance> = {}): DesiredInstance {
  return {
    key,
    instance: `res_${key}`,
    name: key,
    architecture: 'amd64',
    firmware: 'BIOS',
    vCPU: 1,
    memoryMiB: 128,
    power: 'on',
    restarts: 0,
    volumeKeys: [volumeKey],
    nics: [],
    seed: { instanceId: `i-${key}`, hostname: key, sshKeys: [] },
    exposedPorts: [80],
    permit: { epoch: 1, holder: 'alpha' },
    ...change,
  };
}

describe.skipIf(!ready)('the fleet', () => {
  let postgres: TestPostgres;
  let database: TestDatabase;
  let fixture: FleetFixture;

  beforeAll(async () => {
    postgres = await startTestPostgres();
  });
  afterAll(async () => await postgres.stop());
  beforeEach(async () => {
    database = await postgres.createDatabase(fleetMigrations);
    fixture = await startFleetFixture(database, { silenceSeconds: 1 });
  });
  afterEach(async () => await fixture.stop());

  const look = async (host: string, type: 'volume' | 'instance', key: string) => await fixture.fleet.port.look('here', { host, type, key });

  it('tells a host what is desired and learns what became of it', async () => {
    const alpha = await fixture.enrol('alpha', 'here');
    await fixture.fleet.port.declare('here', { host: 'alpha', type: 'volume', key: 'v1', desired: blankVolume('v1') }, 'keep');
    await fixture.fleet.port.declare('here', { host: 'alpha', type: 'instance', key: 'i1', desired: plainInstance('i1', 'v1') }, 'keep');
    await fixture.until('it runs', async () => (await look('alpha', 'instance', 'i1')).observed?.object);
    await fixture.until('it runs', async () => {
      const observed = (await look('alpha', 'instance', 'i1')).observed?.object;
      return observed !== undefined && 'instance' in observed && observed.state === 'running';
    });
    expect(alpha.hosts.runningOn('res_i1')).toEqual(['alpha']);
    expect(fixture.observed).toContainEqual({ host: 'alpha', type: 'instance', key: 'i1' });
  });

  it('says unknown for what a silent host has, and knows it again when the host is back', async () => {
    const alpha = await fixture.enrol('alpha', 'here');
    await fixture.fleet.port.declare('here', { host: 'alpha', type: 'volume', key: 'v1', desired: blankVolume('v1') }, 'keep');
    await fixture.until('it is ready', async () => (await look('alpha', 'volume', 'v1')).observed?.object.state === 'ready');
    alpha.unplug();
    fixture.observed.length = 0;
    await fixture.until('the nudge comes', () => fixture.observed.some(({ key }) => key === 'v1'));
    const silent = await look('alpha', 'volume', 'v1');
    expect(silent.silence).toMatch(/not connected/);
    expect(silent.observed?.object.state).toBe('ready');
    fixture.observed.length = 0;
    await alpha.plug();
    await fixture.until('the nudge comes', () => fixture.observed.some(({ key }) => key === 'v1'));
    expect((await look('alpha', 'volume', 'v1')).silence).toBeUndefined();
  });

  it('keeps a withdrawn object as going until the host reports a whole state without it', async () => {
    const alpha = await fixture.enrol('alpha', 'here');
    await fixture.fleet.port.declare('here', { host: 'alpha', type: 'volume', key: 'v1', desired: blankVolume('v1') }, 'keep');
    await fixture.until('it is ready', async () => (await look('alpha', 'volume', 'v1')).observed?.object.state === 'ready');
    alpha.hold('volume', 'v1');
    await fixture.fleet.port.withdraw('here', { host: 'alpha', type: 'volume', key: 'v1' });
    await alpha.until('the host knows', () => alpha.generation === 2);
    expect(await look('alpha', 'volume', 'v1')).toMatchObject({ desired: undefined, going: true });
    alpha.release('volume', 'v1');
    await fixture.until('it is gone', async () => !(await look('alpha', 'volume', 'v1')).going);
    expect((await look('alpha', 'volume', 'v1')).observed).toBeUndefined();
    expect(await fixture.fleet.port.find('here', 'volume', 'v1')).toBeUndefined();
  });

  it('lets a newer link of a host replace the older one', async () => {
    const alpha = await fixture.enrol('alpha', 'here');
    const before = await fixture.fleet.hostStatus(['alpha']);
    expect(before[0]).toMatchObject({ connected: true, site: 'here', agentVersion: 'simulated' });
    alpha.cut();
    await alpha.until('it is down', () => !alpha.connected);
    await alpha.until('it is back', () => alpha.connected);
    expect((await fixture.fleet.hostStatus(['alpha']))[0]?.connected).toBe(true);
    const id = randomUUID();
    expect(id).toHaveLength(36);
  });
});
