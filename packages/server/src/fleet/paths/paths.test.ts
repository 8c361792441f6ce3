import { agentDnsName, type DesiredSend, type HostPath, type PathProbeOutcome, type ServerPathProbe } from '@virt8ra/contract';
import type { TestDatabase } from '@virt8ra/engine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FleetOptions } from '../fleet.js';
import { type FleetFixture, startFleetFixture } from '../testing/fleet-fixture.js';
import type { SimulatedAgent } from '../testing/simulated-agent.js';
import { postgresIsThere, useFleetDatabase } from '../testing/test-database.js';

type Answer = (request: ServerPathProbe) => PathProbeOutcome | undefined;

describe.skipIf(!(await postgresIsThere()))('paths between hosts', () => {
  const freshDatabase = useFleetDatabase();
  let database: TestDatabase;
  const fixtures: FleetFixture[] = [];
  const orders: { readonly host: string; readonly request: ServerPathProbe }[] = [];

  beforeEach(async () => {
    database = await freshDatabase();
    orders.length = 0;
  });
  afterEach(async () => {
    for (const fixture of fixtures.splice(0).reverse()) await fixture.stop();
  });

  const begin = async (options: Partial<FleetOptions> = {}): Promise<FleetFixture> => {
    const pathProbing = { enabled: true, everySeconds: 0.05 };
    const fixture = await startFleetFixture(database, { silenceSeconds: 2, pathProbing, ...options });
    fixtures.push(fixture);
    return fixture;
  };
  const measures: Answer = ({ dial }) =>
    dial === undefined
      ? { state: 'listening', address: '192.0.2.7', port: 4711 }
      : { state: 'measured', rttMs: 4.5, bytes: 1_000_000, seconds: 0.5 };
  const enrol = async (fixture: FleetFixture, host: string, site: string, answer: Answer = measures): Promise<SimulatedAgent> =>
    await fixture.enrol(host, site, {
      probe: (request) => {
        orders.push({ host, request });
        return answer(request);
      },
    });
  const pathOf = async (fixture: FleetFixture, from: string, to: string): Promise<HostPath | undefined> =>
    (await fixture.fleet.paths(100)).find((path) => path.from.host === from && path.to.host === to);
  const until = async (fixture: FleetFixture, what: string, from: string, to: string, found: (path: HostPath) => boolean) =>
    await fixture.until(what, async () => {
      const path = await pathOf(fixture, from, to);
      return path !== undefined && found(path) && path;
    });
  const countOf = async (): Promise<number> =>
    Number((await database.pool.query<{ count: string }>('select count(*) from fleet.path_sample')).rows[0]?.count);

  it('are measured once between one host of each two sites, by orders for this one peer', async () => {
    const fixture = await begin();
    await enrol(fixture, 'alpha', 'north');
    await enrol(fixture, 'alpha-2', 'north');
    await enrol(fixture, 'beta', 'south');
    const path = await until(fixture, 'it is measured', 'alpha', 'beta', ({ bytesPerSecond }) => bytesPerSecond.value !== 'unknown');
    expect(path).toMatchObject({
      from: { host: 'alpha', site: 'north' },
      to: { host: 'beta', site: 'south' },
      rttMs: { value: 4.5, source: 'probe' },
      bytesPerSecond: { value: 2_000_000, source: 'probe', observedAt: expect.any(String) },
    });
    // Some looks later nothing more was asked of anybody.
    await new Promise((resolve) => setTimeout(resolve, 400));
    const id = orders[0]?.request.id ?? '';
    expect(orders).toEqual([
      { host: 'beta', request: { type: 'path-probe', id, peerName: agentDnsName('alpha') } },
      { host: 'alpha', request: { type: 'path-probe', id, peerName: agentDnsName('beta'), dial: { address: '192.0.2.7', port: 4711 } } },
    ]);
    expect(await fixture.fleet.pathHistory('alpha', 'beta')).toMatchObject([
      { source: 'probe', bytes: 1_000_000, seconds: 0.5, bytesPerSecond: 2_000_000, rttMs: 4.5 },
    ]);
  });

  it('are unknown with the reason when measuring failed, and are not tried again soon', async () => {
    const fixture = await begin();
    await enrol(fixture, 'alpha', 'north', ({ dial }) =>
      dial === undefined ? undefined : { state: 'failed', reason: 'the connection was lost\0' },
    );
    await enrol(fixture, 'beta', 'south');
    const path = await until(fixture, 'it failed', 'alpha', 'beta', () => true);
    expect(path.bytesPerSecond).toMatchObject({
      value: 'unknown',
      reason: 'host alpha: the connection was lost',
      observedAt: expect.any(String),
    });
    expect(path.rttMs).toMatchObject({ value: 'unknown', reason: 'host alpha: the connection was lost' });
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(await countOf()).toBe(1);
    // Silence is given up, and what nobody asked for any more is not believed.
    await database.pool.query(`delete from fleet.path_sample`);
    await fixture.until('it is asked again', async () => (await countOf()) > 0);
    await fixture.until('it failed', async () => (await pathOf(fixture, 'alpha', 'beta')) !== undefined);
    await database.pool.query(`update fleet.path_sample set state = 'listening', reason = null, at = now() - interval '1 minute'`);
    const late = await until(fixture, 'it is given up', 'alpha', 'beta', ({ bytesPerSecond }) => 'reason' in bytesPerSecond);
    expect(late.bytesPerSecond).toMatchObject({ reason: 'host alpha did not tell what it measured within 30 s' });
  });

  it('are left alone beside transfers, and told by them', async () => {
    const fixture = await begin();
    const alpha = await enrol(fixture, 'alpha', 'north');
    const send: DesiredSend = {
      id: 't1',
      role: 'send',
      instanceKey: 'i1',
      disks: [{ volumeKey: 'v1', sizeBytes: 4_000_000 }],
      peer: { name: agentDnsName('beta'), address: '192.0.2.7', port: 1 },
      goal: 'copy',
      epoch: 1,
      mode: 'cold',
      minPasses: 0,
    };
    alpha.hold('transfer', 't1');
    await fixture.fleet.port.declare('north', { host: 'alpha', type: 'transfer', key: 't1', desired: send }, 'keep');
    await enrol(fixture, 'beta', 'south');
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(await countOf()).toBe(0);
    const counters = { passes: 1, bytes: 4_000_000, resentBytes: 0, chunkBytes: 1, streams: 1 };
    const told = (bytes: number) =>
      alpha.post('transfer', 't1', { id: 't1', role: 'send', state: 'copying', ...counters, carried: { bytes, seconds: 2 } });
    told(4_000_000);
    await until(fixture, 'it is told', 'alpha', 'beta', ({ bytesPerSecond }) => bytesPerSecond.value === 2_000_000);
    told(8_000_000);
    const path = await until(fixture, 'it grows', 'alpha', 'beta', ({ bytesPerSecond }) => bytesPerSecond.value === 4_000_000);
    expect(path).toMatchObject({ bytesPerSecond: { source: 'transfer' }, rttMs: { value: 'unknown', reason: 'it was not measured' } });
    expect(await fixture.fleet.pathHistory('alpha', 'beta')).toHaveLength(1);
    expect(orders).toEqual([]);
  });

  it('are put off by a busy host, asked of by any replica, and forgotten bit by bit', async () => {
    const fixture = await begin();
    await begin({ stateDirectory: fixture.stateDirectory });
    let busy = true;
    await enrol(fixture, 'alpha', 'north');
    await enrol(fixture, 'beta', 'south', (request) =>
      busy ? { state: 'busy', reason: 'a move is under way on this host' } : measures(request),
    );
    await fixture.until('it is put off', async () => {
      const found = await database.pool.query(`select from fleet.path_sample where state = 'busy'`);
      return found.rowCount === 1;
    });
    expect(await fixture.fleet.paths(100)).toEqual([]);
    busy = false;
    await database.pool.query(`update fleet.path_sample set at = now() - interval '11 minutes'`);
    await until(fixture, 'it is measured', 'alpha', 'beta', ({ rttMs }) => rttMs.value === 4.5);
    await database.pool.query(
      `insert into fleet.path_sample (id, from_host, to_host, at, source, state, bytes, seconds)
       select 'old-' || n, 'alpha', 'beta', now() - make_interval(hours => n), 'transfer', 'measured', 1, 1 from generate_series(1, 200) as n`,
    );
    await fixture.until('few are left', async () => (await countOf()) === 32);
  });

  it('are measured at once for somebody who asks, however young their figures are, and the answer says why not', async () => {
    const fixture = await begin({ pathProbing: { enabled: true, everySeconds: 3600 } });
    await enrol(fixture, 'alpha', 'north');
    await enrol(fixture, 'beta', 'south');
    await enrol(fixture, 'gamma', 'south', () => ({ state: 'busy', reason: 'a move is under way on this host' }));
    expect(await fixture.fleet.mostCarried('alpha')).toBeUndefined();
    for (const times of [1, 2]) {
      expect(await fixture.fleet.measurePath('alpha', 'beta')).toBeUndefined();
      expect(await fixture.fleet.pathHistory('alpha', 'beta')).toHaveLength(times);
    }
    expect(await fixture.fleet.measurePath('alpha', 'gamma')).toBe('host gamma: a move is under way on this host');
    expect(await fixture.fleet.measurePath('alpha', 'nobody')).toContain('away');
    // Two askers at once: one is served, the other told.
    const both = await Promise.all([fixture.fleet.measurePath('alpha', 'beta'), fixture.fleet.measurePath('alpha', 'beta')]);
    expect(both.filter((each) => each === undefined).length).toBeGreaterThan(0);
    expect(await countOf()).toBe(2 + 1 + both.filter((each) => each === undefined).length);
  });

  it('are not measured for anybody where that is switched off', async () => {
    const fixture = await begin({ pathProbing: { enabled: false } });
    expect(await fixture.fleet.measurePath('alpha', 'beta')).toContain('switched off');
  });
});
