import { createHash } from 'node:crypto';
import { networkMtu, type OverlayFacts, type TunnelReport } from '@virt8ra/contract';
import type { TestDatabase } from '@virt8ra/engine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type FleetFixture, startFleetFixture } from '../testing/fleet-fixture.js';
import { plainNetwork } from '../testing/objects.js';
import type { SimulatedAgent } from '../testing/simulated-agent.js';
import { postgresIsThere, useFleetDatabase } from '../testing/test-database.js';

const keyOf = (text: string): string => createHash('sha256').update(text).digest('base64');
const factsOf = (name: string, change: Partial<OverlayFacts> = {}): OverlayFacts => ({
  mode: 'userspace',
  reason: 'simulated',
  segment: `machine-${name}`,
  publicKey: keyOf(name),
  endpoints: [`${name}.example:8482`],
  rotation: 0,
  ...change,
});

describe.skipIf(!(await postgresIsThere()))('the overlay that hosts are told', () => {
  const freshDatabase = useFleetDatabase();
  let database: TestDatabase;
  let fixture: FleetFixture;
  beforeEach(async () => {
    database = await freshDatabase();
    fixture = await startFleetFixture(database, { silenceSeconds: 2 });
  });
  afterEach(async () => await fixture.stop());

  const enrol = async (name: string, change?: Partial<OverlayFacts>): Promise<SimulatedAgent> =>
    await fixture.enrol(name, 'here', { facts: { overlay: factsOf(name, change) } });
  const declare = async (host: string, vni: number): Promise<void> => {
    const key = `net-${vni}-${host}`;
    await fixture.fleet.port.declare(
      'here',
      { host, type: 'network', key, desired: { ...plainNetwork(key), vni, mtu: networkMtu } },
      'keep',
    );
  };
  const withdraw = async (host: string, vni: number) =>
    await fixture.fleet.port.withdraw('here', { host, type: 'network', key: `net-${vni}-${host}` });
  const peersOf = (agent: SimulatedAgent) => agent.overlay?.peers.map(({ host }) => host).join();
  const measured = (host: string, state: TunnelReport['state'], keys = [keyOf(host)]): TunnelReport => ({
    host,
    state,
    since: new Date().toISOString(),
    answeredAt: new Date().toISOString(),
    publicKeys: keys,
    rttMs: 2,
    mtu: 1420,
  });

  it('is a tunnel for two machines while they share a network, and none before and after', async () => {
    const alpha = await enrol('alpha');
    const beta = await enrol('beta');
    const gamma = await enrol('gamma');
    await declare('alpha', 7);
    await declare('gamma', 8);
    await declare('beta', 7);
    await alpha.until('alpha has its peer', () => peersOf(alpha) === 'beta');
    await beta.until('beta has its peer', () => peersOf(beta) === 'alpha');
    expect(alpha.overlay?.peers[0]).toEqual({
      host: 'beta',
      address: beta.overlay?.address,
      publicKeys: [keyOf('beta')],
      endpoints: ['beta.example:8482'],
    });
    expect(alpha.overlay?.networks).toEqual([{ vni: 7, mtu: networkMtu, peers: [beta.overlay?.address] }]);
    expect(gamma.overlay).toBeUndefined();
    await expect(fixture.fleet.rotateTunnelKey('gamma')).rejects.toMatchObject({ kind: 'conflict' });
    const untouched = gamma.generation;
    await withdraw('beta', 7);
    await alpha.until('alpha has none', () => alpha.overlay === undefined);
    await beta.until('beta has none', () => beta.overlay === undefined);
    expect(gamma.generation).toBe(untouched);
  });

  it('is carried by one host of each machine, also for networks of the others there', async () => {
    const alpha = await enrol('alpha', { segment: 'shared' });
    const beta = await enrol('beta', { segment: 'shared' });
    const gamma = await enrol('gamma');
    await declare('beta', 7);
    await declare('gamma', 7);
    await alpha.until('alpha carries', () => peersOf(alpha) === 'gamma');
    await gamma.until('gamma’s peer is alpha', () => peersOf(gamma) === 'alpha');
    expect(beta.overlay).toBeUndefined();
    const pairs = (await fixture.fleet.networkPairs([7])).get(7);
    expect(pairs).toMatchObject([{ hosts: ['beta', 'gamma'], state: 'unknown' }]);
    // The one that carries loses what it needs: the next of the machine takes over.
    const { publicKey: _, ...without } = factsOf('alpha', { segment: 'shared', mode: 'none', reason: 'wg is not installed' });
    alpha.describe({ overlay: without });
    await beta.until('beta carries', () => peersOf(beta) === 'gamma');
    await alpha.until('alpha does not', () => alpha.overlay === undefined);
  });

  it('follows keys and addresses that change, and a host that is removed', async () => {
    const alpha = await enrol('alpha');
    const beta = await enrol('beta');
    await declare('alpha', 7);
    await declare('beta', 7);
    await alpha.until('alpha has its peer', () => peersOf(alpha) === 'beta');
    await beta.until('beta has its peer', () => peersOf(beta) === 'alpha');
    const next = keyOf('beta-2');
    await fixture.fleet.rotateTunnelKey('beta');
    await beta.until('beta is told to make a key', () => beta.overlay?.rotation === 1);
    beta.describe({ overlay: factsOf('beta', { nextPublicKey: next, rotation: 1, endpoints: ['[2001:db8::1]:9'] }) });
    await alpha.until('alpha hears of both keys', () => alpha.overlay?.peers[0]?.publicKeys.length === 2);
    expect(alpha.overlay?.peers[0]).toMatchObject({ publicKeys: [keyOf('beta'), next], endpoints: ['[2001:db8::1]:9'] });
    expect(beta.overlay).not.toHaveProperty('acceptedKey');
    alpha.measure({ peers: [measured('beta', 'reachable', [keyOf('beta'), next])], failed: [] });
    await beta.until('beta may use it', () => beta.overlay?.acceptedKey === next);
    beta.describe({ overlay: factsOf('beta', { publicKey: next, rotation: 1 }) });
    await alpha.until('the old key is gone', () => alpha.overlay?.peers[0]?.publicKeys.join() === next);
    await fixture.fleet.removeHost('beta', { abandon: true });
    await alpha.until('alpha has no peer', () => alpha.overlay === undefined);
  });

  it('is shown as it was measured, with its age, and as unknown when nobody is heard', async () => {
    const alpha = await enrol('alpha');
    const beta = await enrol('beta');
    await declare('alpha', 7);
    await declare('beta', 7);
    await alpha.until('alpha has its peer', () => peersOf(alpha) === 'beta');
    const pair = async () => (await fixture.fleet.networkPairs([7])).get(7)?.[0];
    alpha.measure({ peers: [measured('beta', 'reachable')], failed: [] });
    await fixture.until('it is reachable', async () => (await pair())?.state === 'reachable');
    expect(await pair()).toMatchObject({
      sites: ['here', 'here'],
      rttMs: 2,
      mtu: 1420,
      source: 'agent/alpha',
      observedAt: expect.any(String),
    });
    await fixture.until('the network heard of it', () => fixture.observed.some(({ key }) => key === 'net-7-alpha'));
    beta.measure({ peers: [{ ...measured('alpha', 'unreachable'), reason: 'it does not answer' }], failed: [] });
    await fixture.until('it is not', async () => (await pair())?.state === 'unreachable');
    expect(await pair()).toMatchObject({ source: 'agent/beta', reason: 'it does not answer' });
    alpha.unplug();
    beta.unplug();
    await fixture.until('it is unknown', async () => (await pair())?.state === 'unknown');
  });

  it('leaves out hosts whose agents know nothing of it', async () => {
    const alpha = await enrol('alpha');
    const old = await fixture.enrol('old', 'here');
    await declare('alpha', 7);
    await declare('old', 7);
    await fixture.until('the plan was made', async () => (await database.pool.query('select 1 from fleet.overlay_changed')).rowCount === 0);
    expect([alpha.overlay, old.overlay]).toEqual([undefined, undefined]);
    expect((await fixture.fleet.networkPairs([7])).get(7)).toMatchObject([
      { state: 'unreachable', reason: expect.stringContaining('old is an island') },
    ]);
  });
});
