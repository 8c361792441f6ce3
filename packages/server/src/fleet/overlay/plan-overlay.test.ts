import { createHash } from 'node:crypto';
import { DesiredOverlay, networkMtu, type OverlayFacts } from '@virt8ra/contract';
import fc from 'fast-check';
import { Compile } from 'typebox/compile';
import { describe, expect, it } from 'vitest';
import { pairsOf } from './overlay-reach.js';
import { carriersOf, type NetworkOnHost, type OverlayHost, planOverlay, segmentOf } from './plan-overlay.js';
import { tunnelAddress } from './tunnel-address.js';

const ca = 'a'.repeat(64);
const keyOf = (text: string): string => createHash('sha256').update(text).digest('base64');

function hostOf(name: string, facts: Partial<OverlayFacts> | undefined, rest: Partial<OverlayHost> = {}): OverlayHost {
  const whole: OverlayFacts = {
    mode: 'kernel',
    reason: 'it has WireGuard',
    segment: `segment-${name}`,
    publicKey: keyOf(name),
    endpoints: ['192.0.2.1:8482'],
    rotation: 0,
  };
  const own = facts === undefined ? undefined : { ...whole, ...facts };
  return { host: name, order: 0, facts: own, address: tunnelAddress(ca, name), rotation: 0, report: undefined, ...rest };
}

/** A few machines of one to three hosts, some without overlay, with networks strewn over them. */
const world = fc
  .array(
    fc.record({ machine: fc.nat(5), mode: fc.constantFrom('kernel', 'userspace', 'none', 'silent'), networks: fc.uniqueArray(fc.nat(4)) }),
    {
      minLength: 1,
      maxLength: 12,
    },
  )
  .map((drawn) => {
    const hosts = drawn.map(({ machine, mode }, index) => {
      const facts = mode === 'silent' ? undefined : ({ mode, segment: `m${machine}` } as Partial<OverlayFacts>);
      return hostOf(`h${index}`, facts, { order: (index * 7) % 5 });
    });
    const networks: NetworkOnHost[] = drawn.flatMap(({ networks: vnis }, index) =>
      vnis.map((vni) => ({ host: `h${index}`, vni: 5000 + vni, mtu: networkMtu })),
    );
    return { hosts, networks };
  });
const runs = { numRuns: 300, seed: fc.readConfigureGlobal().seed ?? 20_261 };

describe('a plan of the overlay', () => {
  const shape = Compile(DesiredOverlay);

  it('has for each network a full mesh of the machines that have it and can, one host of each, and nothing else', () => {
    fc.assert(
      fc.property(world, ({ hosts, networks }) => {
        const plan = planOverlay(hosts, networks);
        const carriers = carriersOf(hosts);
        const byName = new Map(hosts.map((host) => [host.host, host]));
        const machinesOf = (vni: number) =>
          new Set(
            networks
              .filter((network) => network.vni === vni)
              .map(({ host }) => segmentOf(byName.get(host) as OverlayHost))
              .filter((segment) => carriers.has(segment)),
          );
        for (const [name, overlay] of plan) {
          const self = byName.get(name) as OverlayHost;
          expect(shape.Check(overlay)).toBe(true);
          expect(carriers.get(segmentOf(self))).toBe(self);
          const needed = new Set<string>();
          for (const network of overlay.networks) {
            const expected = [...machinesOf(network.vni)]
              .filter((segment) => segment !== segmentOf(self))
              .map((segment) => carriers.get(segment)?.address);
            expect([...network.peers].sort()).toEqual(expected.sort());
            for (const peer of network.peers) needed.add(peer);
          }
          expect(new Set(overlay.peers.map(({ address }) => address))).toEqual(needed);
          // Tunnels have two ends.
          for (const peer of overlay.peers) expect(plan.get(peer.host)?.peers.map(({ host }) => host)).toContain(name);
        }
        for (const vni of new Set(networks.map((network) => network.vni))) {
          const machines = machinesOf(vni);
          for (const segment of machines) {
            const planned = plan.get(carriers.get(segment)?.host ?? '')?.networks.some((network) => network.vni === vni) === true;
            expect(planned).toBe(machines.size > 1);
          }
        }
      }),
      runs,
    );
  });

  it('does not depend on the order in which hosts and networks are read', () => {
    fc.assert(
      fc.property(world, ({ hosts, networks }) => {
        const one = planOverlay(hosts, networks);
        const other = planOverlay([...hosts].reverse(), [...networks].reverse());
        const sorted = (plan: typeof one) => [...plan].sort(([a], [b]) => (a < b ? -1 : 1));
        expect(JSON.stringify(sorted(other))).toBe(JSON.stringify(sorted(one)));
      }),
      runs,
    );
  });

  it('leaves everything else alone when a host comes that shares no network', () => {
    fc.assert(
      fc.property(world, ({ hosts, networks }) => {
        const before = planOverlay(hosts, networks);
        const after = planOverlay([...hosts, hostOf('newcomer', {})], [...networks, { host: 'newcomer', vni: 9999, mtu: networkMtu }]);
        expect([...after]).toEqual([...before]);
      }),
      runs,
    );
  });

  it('accepts a new key only once every peer has it, and names both meanwhile', () => {
    const next = keyOf('next');
    const networks = ['a', 'b', 'c'].map((host) => ({ host, vni: 1, mtu: networkMtu }));
    const report = (keys: string[]) => ({ peers: [{ host: 'a', state: 'reachable' as const, since: '', publicKeys: keys }], failed: [] });
    const a = hostOf('a', { nextPublicKey: next });
    const one = planOverlay([a, hostOf('b', {}, { report: report([keyOf('a'), next]) }), hostOf('c', {})], networks);
    expect(one.get('b')?.peers[0]?.publicKeys).toEqual([keyOf('a'), next]);
    expect(one.get('a')).not.toHaveProperty('acceptedKey');
    const both = [hostOf('b', {}, { report: report([keyOf('a'), next]) }), hostOf('c', {}, { report: report([next]) })];
    expect(planOverlay([a, ...both], networks).get('a')?.acceptedKey).toBe(next);
  });
});

describe('the address of a tunnel', () => {
  it('is unique local, follows from the host, and another attempt is another address', () => {
    const addresses = Array.from({ length: 2000 }, (_, index) => tunnelAddress(ca, `host-${index}`));
    expect(new Set(addresses).size).toBe(2000);
    for (const address of addresses) expect(address).toMatch(/^fd[0-9a-f:]+$/);
    expect(tunnelAddress(ca, 'host-1')).toBe(addresses[1]);
    expect(tunnelAddress(ca, 'host-1', 1)).not.toBe(addresses[1]);
    expect(tunnelAddress('b'.repeat(64), 'host-1')).not.toBe(addresses[1]);
  });
});

describe('what two hosts of a network are to each other', () => {
  const seen = { site: 's', heard: true, reportedAt: '2026-01-01T00:00:10.000Z' };
  const report = (host: string, state: 'reachable' | 'unreachable' | 'trying', reason?: string) => ({
    peers: [
      {
        host,
        state,
        since: '',
        answeredAt: '2026-01-01T00:00:09.000Z',
        publicKeys: [],
        rttMs: 3,
        mtu: 1420,
        ...(reason === undefined ? {} : { reason }),
      },
    ],
    failed: [],
  });
  const pair = (one: Partial<OverlayHost>, other: Partial<OverlayHost>, heard = true) => {
    const hosts = [
      { ...hostOf('a', {}), ...seen, heard, ...one },
      { ...hostOf('b', {}), ...seen, heard, ...other },
    ];
    return pairsOf(1, hosts, hosts)[0];
  };

  it('is reachable when it was measured, with the age of that', () => {
    expect(pair({ report: report('b', 'reachable') }, { report: report('a', 'reachable') })).toMatchObject({
      hosts: ['a', 'b'],
      state: 'reachable',
      observedAt: '2026-01-01T00:00:09.000Z',
      rttMs: 3,
      mtu: 1420,
      source: 'agent/a',
    });
  });

  it('is unreachable when one of both says so, with its reason', () => {
    const apart = pair({ report: report('b', 'reachable') }, { report: report('a', 'unreachable', 'it does not answer') });
    expect(apart).toMatchObject({ state: 'unreachable', source: 'agent/b', reason: 'it does not answer' });
  });

  it('is unreachable in a network that one of both could not join, though the tunnel stands', () => {
    const without = { ...report('a', 'reachable'), failed: [{ vni: 1, reason: 'no bridge' }] };
    const apart = pair({ report: report('b', 'reachable') }, { report: without });
    expect(apart).toMatchObject({ state: 'unreachable', source: 'agent/b', reason: 'b could not join it to the tunnels: no bridge' });
    const others = { ...without, failed: [{ vni: 2, reason: 'no bridge' }] };
    expect(pair({ report: report('b', 'reachable') }, { report: others })).toMatchObject({ state: 'reachable' });
  });

  it('is unknown, with the reason, while a carrier cannot make its tunnels', () => {
    const stuck = { peers: [], failed: [], problem: 'port 8482 is in use' };
    expect(pair({ report: stuck }, {})).toMatchObject({ state: 'unknown', reason: 'a could not make its tunnels: port 8482 is in use' });
  });

  it('is unknown while the tunnel is being made and while nobody is heard', () => {
    expect(pair({ report: report('b', 'trying') }, {})).toMatchObject({ state: 'unknown', observedAt: undefined });
    expect(pair({ report: report('b', 'reachable') }, { report: report('a', 'reachable') }, false)).toMatchObject({ state: 'unknown' });
  });

  it('is one machine where they share bridges, and an island where a host cannot join', () => {
    const facts = hostOf('x', { segment: 'same' }).facts;
    expect(pair({ facts }, { facts })).toMatchObject({ state: 'reachable', reason: 'one machine' });
    const { publicKey: _, ...without } = hostOf('b', { mode: 'none', reason: 'wg is not installed' }).facts as OverlayFacts;
    expect(pair({}, { facts: without })).toMatchObject({ state: 'unreachable', reason: 'b is an island: wg is not installed' });
    expect(pair({}, { facts: undefined })).toMatchObject({ state: 'unreachable' });
  });
});
