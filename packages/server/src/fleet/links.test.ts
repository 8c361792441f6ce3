import type { AgentMessage } from '@virt8ra/contract';
import type { TestDatabase } from '@virt8ra/engine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FleetOptions } from './fleet.js';
import { type FleetFixture, startFleetFixture } from './testing/fleet-fixture.js';
import { blankVolume, plainInstance } from './testing/objects.js';
import { openRawLink } from './testing/raw-link.js';
import { startSimulatedAgent } from './testing/simulated-agent.js';
import { createKey, enrolHost, type SimulatedIdentity } from './testing/simulated-identity.js';
import { postgresIsThere, useFleetDatabase } from './testing/test-database.js';

describe.skipIf(!(await postgresIsThere()))('links', () => {
  const freshDatabase = useFleetDatabase();
  let database: TestDatabase;
  let fixture: FleetFixture;
  const others: FleetFixture[] = [];

  beforeEach(async () => {
    database = await freshDatabase();
    fixture = await startFleetFixture(database, { silenceSeconds: 1 });
  });
  afterEach(async () => {
    for (const other of others.splice(0)) await other.stop();
    await fixture.stop();
  });

  /** A second server on the same database and keys. */
  const anotherReplica = async (options: Partial<FleetOptions> = {}): Promise<FleetFixture> => {
    const other = await startFleetFixture(database, { silenceSeconds: 1, stateDirectory: fixture.stateDirectory, ...options });
    others.push(other);
    return other;
  };
  const declareVolume = async (key: string, from = fixture): Promise<void> =>
    await from.fleet.port.declare('here', { host: 'alpha', type: 'volume', key, desired: blankVolume(key) }, 'keep');
  const look = async (key: string, from = fixture) => await from.fleet.port.look('here', { host: 'alpha', type: 'volume', key });
  const readyAt = async (key: string, from = fixture): Promise<string> =>
    await from.until(`${key} is ready`, async () => {
      const { observed, silence } = await look(key, from);
      return silence === undefined && observed?.object.state === 'ready' && observed.at;
    });

  it('tell a host what is desired and learn what became of it', async () => {
    const alpha = await fixture.enrol('alpha', 'here');
    await declareVolume('v1');
    const desired = plainInstance('i1', 'alpha', 'v1');
    await fixture.fleet.port.declare('here', { host: 'alpha', type: 'instance', key: 'i1', desired }, 'keep');
    await fixture.until('it runs', async () => {
      const { observed } = await fixture.fleet.port.look('here', { host: 'alpha', type: 'instance', key: 'i1' });
      return observed?.object.state === 'running';
    });
    expect(alpha.hosts.runningOn('res_i1')).toEqual(['alpha']);
    expect(fixture.observed).toContainEqual({ host: 'alpha', type: 'instance', key: 'i1' });
    expect(await fixture.fleet.hostStatus(['alpha'])).toMatchObject([
      { host: 'alpha', site: 'here', connected: true, agentVersion: 'simulated', inventory: { hostname: 'alpha' } },
    ]);
    expect(await fixture.fleet.siteCapacity('here')).toEqual({
      hosts: 1,
      connected: 1,
      vCPU: 8,
      memoryMiB: 12_288,
      storageBytes: 80e9,
      architectures: ['amd64'],
    });
  });

  it('say nothing again when nothing changed', async () => {
    const alpha = await fixture.enrol('alpha', 'here');
    await declareVolume('v1');
    await readyAt('v1');
    await declareVolume('v1');
    await fixture.fleet.port.declare('here', { host: 'alpha', type: 'volume', key: 'v1', desired: blankVolume('v1') }, 'replace');
    await fixture.fleet.port.withdraw('here', { host: 'alpha', type: 'volume', key: 'v2' });
    await declareVolume('v3');
    await readyAt('v3');
    expect(alpha.generation).toBe(2);
  });

  it('turn what a silent host has unknown, and known again when it is back', async () => {
    const alpha = await fixture.enrol('alpha', 'here');
    await declareVolume('v1');
    const seen = await readyAt('v1');
    fixture.observed.length = 0;
    alpha.unplug();
    await fixture.until('the nudge comes', () => fixture.observed.some(({ key }) => key === 'v1'), 3000);
    expect(await look('v1')).toMatchObject({
      silence: expect.stringContaining('not connected'),
      observed: { at: seen, object: { state: 'ready' } },
    });
    expect(await fixture.fleet.hostStatus(['alpha'])).toMatchObject([{ connected: false }]);
    fixture.observed.length = 0;
    await alpha.plug();
    await fixture.until('the nudge comes', () => fixture.observed.some(({ key }) => key === 'v1'), 1000);
    expect((await look('v1')).silence).toBeUndefined();
  });

  it('do not forget a host over a short break', async () => {
    const alpha = await fixture.enrol('alpha', 'here');
    await declareVolume('v1');
    await readyAt('v1');
    for (let count = 0; count < 5; count += 1) {
      alpha.cut();
      await alpha.until('it is down', () => !alpha.connected);
      expect((await look('v1')).silence).toBeUndefined();
      await alpha.until('it is up', () => alpha.connected);
    }
    expect(fixture.log.lines.filter(({ message }) => message === 'a host fell silent')).toEqual([]);
  });

  it('keep a withdrawn object as going until the host reports a whole state without it', async () => {
    const alpha = await fixture.enrol('alpha', 'here');
    await declareVolume('v1');
    await readyAt('v1');
    alpha.hold('volume', 'v1');
    await fixture.fleet.port.withdraw('here', { host: 'alpha', type: 'volume', key: 'v1' });
    await alpha.until('the host knows', () => alpha.generation === 2);
    expect(await look('v1')).toMatchObject({ desired: undefined, going: true });
    expect(await fixture.fleet.port.find('here', 'volume', 'v1')).toEqual({ host: 'alpha', type: 'volume', key: 'v1' });
    alpha.release('volume', 'v1');
    await fixture.until('it is gone', async () => !(await look('v1')).going);
    expect(await look('v1')).toMatchObject({ desired: undefined, observed: undefined });
    expect(await fixture.fleet.port.find('here', 'volume', 'v1')).toBeUndefined();
  });

  it('do not take an object for gone that a whole report of an older generation lacks', async () => {
    const identity = await enrolAlpha(fixture);
    const link = await openRawLink(fixture.fleet.url, identity);
    await link.next('desired');
    await declareVolume('v1');
    await fixture.fleet.port.withdraw('here', { host: 'alpha', type: 'volume', key: 'v1' });
    link.send(report(1));
    await fixture.until('the report is stored', async () => (await look('v1')).reportedAt);
    expect((await look('v1')).going).toBe(true);
    // A generation that was never given out, as of a database that was restored since, acknowledges nothing.
    link.send(report(99));
    link.send({ ...report(2), full: false, networks: [ready('mark')], removed: [{ type: 'volume', key: 'other' }] });
    await fixture.until('both are stored', async () => {
      const { observed } = await fixture.fleet.port.look('here', { host: 'alpha', type: 'network', key: 'mark' });
      return observed;
    });
    expect((await look('v1')).going).toBe(true);
    link.send(report(2));
    await fixture.until('it is gone', async () => !(await look('v1')).going);
    link.close();
  });

  it('send the newest state only, when many changes come at once', async () => {
    const identity = await enrolAlpha(fixture);
    const link = await openRawLink(fixture.fleet.url, identity);
    await link.next('desired');
    await Promise.all(Array.from({ length: 40 }, async (_, index) => await declareVolume(`v${index}`)));
    await fixture.until('the last is sent', () => link.last('desired')?.state.generation === 40);
    const generations = link.all('desired').map(({ state }) => state.generation);
    expect(generations).toEqual([...new Set(generations)].sort((a, b) => a - b));
    expect(link.last('desired')?.state.volumes).toHaveLength(40);
    link.close();
  });

  it('hold one link of a host among all replicas: the newest', async () => {
    const other = await anotherReplica();
    const identity = await enrolAlpha(fixture);
    const older = await openRawLink(fixture.fleet.url, identity);
    await older.next('welcome');
    const newer = await openRawLink(other.fleet.url, identity);
    await newer.next('welcome');
    await older.closed;
    older.send(report(0));
    expect(newer.isOpen()).toBe(true);
    await declareVolume('v1');
    await other.until('the newer link hears of it', () => newer.last('desired')?.state.volumes.length === 1);
    newer.close();
  });

  it('let any replica declare and look, wherever the link is', async () => {
    const other = await anotherReplica();
    await fixture.enrol('alpha', 'here');
    await declareVolume('v1', other);
    await readyAt('v1', other);
    expect(await other.fleet.hostStatus(['alpha'])).toMatchObject([{ connected: true }]);
  });

  it('are taken over by another replica when one is stopped, without silence', async () => {
    const enrolment = await fixture.fleet.createEnrolment('alpha', 'here');
    const port = Number(new URL(fixture.fleet.url).port);
    const alpha = await startSimulatedAgent({ enrolment });
    try {
      await declareVolume('v1');
      await readyAt('v1');
      await fixture.fleet.stop();
      const other = await anotherReplica({ listen: { host: '127.0.0.1', port } });
      await alpha.until('it is back', () => alpha.connected);
      expect((await look('v1', other)).silence).toBeUndefined();
      expect(other.log.lines.filter(({ message }) => message === 'a host fell silent')).toEqual([]);
    } finally {
      await alpha.stop();
    }
  });

  it('notice what a lost notification would have told', async () => {
    const alpha = await fixture.enrol('alpha', 'here');
    // As a writer that died between commit and notification.
    await database.pool.query(`update fleet.host set generation = generation + 1`);
    await database.pool.query(`insert into fleet.desired (host, type, key, object, generation) values ('alpha', 'volume', 'v1', $1, 1)`, [
      JSON.stringify(blankVolume('v1')),
    ]);
    await alpha.until('it hears of it by the next beat', () => alpha.observed('volume', 'v1'), 3000);
  });

  it('go on when the database breaks every connection', async () => {
    const alpha = await fixture.enrol('alpha', 'here');
    await database.pool.query(
      'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
    );
    await declareVolume('v1').catch(async () => await declareVolume('v1'));
    await alpha.until('it hears of it', () => alpha.observed('volume', 'v1'));
    await readyAt('v1');
  });

  it('forget what a host that was booted anew has said, until it has reported', async () => {
    const identity = await enrolAlpha(fixture);
    const first = await openRawLink(fixture.fleet.url, identity);
    await first.next('welcome');
    first.send(report(0));
    await fixture.until('it is heard', async () => (await look('v1')).silence === undefined);
    first.close();
    const second = await openRawLink(fixture.fleet.url, identity, { bootId: 'another-boot' });
    await second.next('welcome');
    expect((await look('v1')).silence).toBeDefined();
    second.send(report(0));
    await fixture.until('it is heard', async () => (await look('v1')).silence === undefined);
    second.close();
  });

  it('deny nothing after a restore before the host has reported', async () => {
    const alpha = await fixture.enrol('alpha', 'here');
    await fixture.until('it has reported', async () => (await look('v1')).reportedAt);
    expect(await fixture.fleet.port.find('here', 'volume', 'v1')).toBeUndefined();
    alpha.unplug();
    const restored = await anotherReplica({ epoch: 'epoch-2' });
    await expect(restored.fleet.port.find('here', 'volume', 'v1')).rejects.toMatchObject({ kind: 'unavailable' });
    expect((await look('v1', restored)).silence).toMatch(/restored/);
  });

  it('pass on progress at most once a second', async () => {
    const identity = await enrolAlpha(fixture);
    const link = await openRawLink(fixture.fleet.url, identity);
    await link.next('welcome');
    for (let bytes = 1; bytes <= 20; bytes += 1) {
      link.send({ type: 'progress', transferId: 't1', phase: 'copy', pass: 1, bytes, totalBytes: 20, bytesPerSecond: 1, etaSeconds: null });
    }
    await fixture.until('the newest came', () => fixture.progress.some(({ bytes }) => bytes === 20));
    expect(fixture.progress.map(({ bytes }) => bytes)).toEqual([1, 20]);
    expect(fixture.progress[0]).toMatchObject({ host: 'alpha', transferId: 't1', phase: 'copy' });
    link.close();
  });

  it.each([
    { title: 'no JSON', frame: '{', code: 'malformed' },
    { title: 'a frame of no known type', frame: JSON.stringify({ type: 'command', run: 'x' }), code: 'malformed' },
    { title: 'a frame with more than is agreed', frame: JSON.stringify({ ...report(0), more: 1 }), code: 'malformed' },
    {
      title: 'a report of an impossible key',
      frame: JSON.stringify({ ...report(0), networks: [{ key: '../x', state: 'ready', mode: 'bridge' }] }),
      code: 'malformed',
    },
    {
      title: 'a report that names an object twice',
      frame: JSON.stringify({ ...report(0), networks: [ready('n'), ready('n')] }),
      code: 'malformed',
    },
    { title: 'a report of no time', frame: JSON.stringify({ ...report(0), at: 'yesterday' }), code: 'malformed' },
    { title: 'a second hello', frame: JSON.stringify(hello({})), code: 'unexpected' },
  ])('end when they carry $title', async ({ frame, code }) => {
    const link = await openRawLink(fixture.fleet.url, await enrolAlpha(fixture));
    await link.next('welcome');
    link.sendText(frame);
    expect(await link.next('refused')).toMatchObject({ code });
    await link.closed;
  });

  it.each([
    { title: 'another host', change: { host: 'beta' }, code: 'wrong-host' },
    { title: 'no protocol of ours', change: { protocols: [99] }, code: 'protocol' },
  ])('refuse an agent that says hello as $title', async ({ change, code }) => {
    const link = await openRawLink(fixture.fleet.url, await enrolAlpha(fixture), change);
    expect(await link.next('refused')).toMatchObject({ code });
    await link.closed;
    expect(await fixture.fleet.hostStatus(['alpha'])).toMatchObject([{ connected: false }]);
  });

  it('refuse what comes before hello, and frames beyond the limit', async () => {
    const identity = await enrolAlpha(fixture);
    const early = await openRawLink(fixture.fleet.url, identity, 'silent');
    early.send(report(0));
    expect(await early.next('refused')).toMatchObject({ code: 'unexpected' });
    const large = await openRawLink(fixture.fleet.url, identity);
    await large.next('welcome');
    large.sendText('x'.repeat(9 * 1024 * 1024));
    expect(await large.closed).toBe(1009);
  });

  it('end at an agent that does not answer pings', async () => {
    const link = await openRawLink(fixture.fleet.url, await enrolAlpha(fixture));
    await link.next('welcome');
    link.freeze();
    await fixture.until('it is given up', async () => (await fixture.fleet.hostStatus(['alpha']))[0]?.connected === false, 4000);
    link.close();
  });

  it('store whatever text an agent reports', async () => {
    const link = await openRawLink(fixture.fleet.url, await enrolAlpha(fixture));
    await link.next('welcome');
    const problem = { code: 'internal', message: 'NUL \0, half a pair \ud800, a whole one \u{1f600}, escaped \\u0000' };
    link.send({ ...report(0), networks: [{ ...ready('n1'), state: 'failed', problem }] });
    const stored = await fixture.until('it is stored', async () => {
      const { observed } = await fixture.fleet.port.look('here', { host: 'alpha', type: 'network', key: 'n1' });
      return observed?.object.problem?.message;
    });
    expect(stored).toBe('NUL \ufffd, half a pair \ufffd, a whole one \u{1f600}, escaped \\u0000');
    link.close();
    const desired = { ...blankVolume('v1'), digestRequest: 'NUL \0' };
    await expect(fixture.fleet.port.declare('here', { host: 'alpha', type: 'volume', key: 'v1', desired }, 'keep')).rejects.toMatchObject({
      kind: 'unsupported',
    });
  });

  it('take a time ahead of ours for now', async () => {
    const link = await openRawLink(fixture.fleet.url, await enrolAlpha(fixture));
    await link.next('welcome');
    link.send({ ...report(0), at: new Date(Date.now() + 3_600_000).toISOString(), networks: [ready('n1')] });
    const seen = await fixture.until('it is stored', async () => {
      const { observed } = await fixture.fleet.port.look('here', { host: 'alpha', type: 'network', key: 'n1' });
      return observed?.at;
    });
    expect(Date.parse(seen)).toBeLessThanOrEqual(Date.now());
    link.close();
  });
});

async function enrolAlpha(fixture: FleetFixture): Promise<SimulatedIdentity> {
  return await enrolHost(fixture.fleet.url, await fixture.fleet.createEnrolment('alpha', 'here'), await createKey());
}

function hello(change: object): object {
  return { type: 'hello', protocols: [1], agentVersion: 'raw', host: 'alpha', bootId: 'boot', generation: 0, features: [], ...change };
}

function report(generation: number): Extract<AgentMessage, { type: 'observed' }> {
  return {
    type: 'observed',
    at: new Date().toISOString(),
    generation,
    full: true,
    networks: [],
    volumes: [],
    instances: [],
    transfers: [],
    removed: [],
  };
}

function ready(key: string) {
  return { key, state: 'ready', mode: 'bridge' } as const;
}
