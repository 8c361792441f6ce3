import { network, nic, subnet } from '@virt8ra/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type KindWorld, putNetwork, putNic, putSubnet, startKindWorld, within } from '../../testing/kind-world.js';
import { formatAddress, parseAddress } from './cidr.js';
import { ensureNetworkOnHost, releaseNetworkOnHost } from './index.js';

let world: KindWorld;
beforeAll(async () => {
  world = await startKindWorld();
}, 60_000);
afterAll(async () => await world?.stop());

describe('an address', () => {
  it.each([
    ['10.0.0.1', '10.0.0.1'],
    ['FD00:0:0::1', 'fd00::1'],
    ['::', '::'],
    ['::ffff:10.0.0.1', '::ffff:a00:1'],
  ])('%s is written %s', (given, canonical) => {
    const address = parseAddress(given);
    expect(address && formatAddress(address)).toBe(canonical);
  });

  it.each(['010.0.0.1', 'fe80::1%eth0', '10.0.0', ''])('refuses %j', (given) => {
    expect(parseAddress(given)).toBeUndefined();
  });
});

describe('a network', () => {
  it.each([
    [{ ipv4: '10.0.0.0/30' }, /\/29 or larger/],
    [{ ipv4: '10.0.0.5/24' }, /10\.0\.0\.0\/24/],
    [{ ipv4: 'fd00::/64' }, /not an IPv4 range/],
    [{}, /ipv4, ipv6 or both/],
  ])('refuses %j', async (cidr, message) => {
    await expect(putNetwork(world, 'refused', cidr)).rejects.toMatchObject({ kind: 'validation', message: expect.stringMatching(message) });
  });

  it('keeps its range and itself while it has subnets', async () => {
    await putNetwork(world, 'kept', { ipv4: '10.1.0.0/16' });
    await putSubnet(world, 'kept', 'a', { ipv4: '10.1.1.0/24' });
    await expect(putNetwork(world, 'kept', { ipv4: '10.0.0.0/8' })).rejects.toMatchObject({ kind: 'conflict' });
    await expect(world.remove(network, { ...within, name: 'kept' })).rejects.toThrow(/still has 1 subnet;/);
    await world.remove(subnet, { ...within, network: 'kept', name: 'a' });
    const moved = await putNetwork(world, 'kept', { ipv4: '10.0.0.0/8' });
    expect(moved.status).toMatchObject({ cidr: { ipv4: '10.0.0.0/8' } });
  });

  it('is made on a host once, with the gateways of its subnets, and leaves with its last instance', async () => {
    const made = await putNetwork(world, 'lan', { ipv4: '10.2.0.0/16', ipv6: 'fd00:2::/48' });
    await putSubnet(world, 'lan', 'a', { ipv4: '10.2.1.0/24' });
    const card = await putNic(world, 'lan-0', 'networks/lan/subnets/a', ['0.0.0.0']);
    const occupant = await world.occupy('lan-vm', 'h1', [card.uid]);
    const first = await ensureNetworkOnHost(world.context, made, 'edge', 'h1');
    expect(first).toMatchObject({ ready: true, reach: 'island' });
    await putSubnet(world, 'lan', 'b', { ipv6: 'fd00:2:0:1::/64' });
    expect(await ensureNetworkOnHost(world.context, made, 'edge', 'h1')).toEqual(first);
    await ensureNetworkOnHost(world.context, made, 'edge', 'h2');
    const specs = [...world.site.networks.values()];
    expect(specs).toHaveLength(2);
    expect(specs[0]).toMatchObject({ host: 'h1', mtu: 1350, gateways: ['10.2.1.1/24', 'fd00:2:0:1::1/64'] });
    expect(specs[1]?.vni).toBe(specs[0]?.vni);

    await releaseNetworkOnHost(world.context, made.uid, 'h1');
    expect(world.site.networks.size).toBe(2);
    await world.vacate(occupant);
    await releaseNetworkOnHost(world.context, made.uid, 'h1');
    await releaseNetworkOnHost(world.context, made.uid, 'h1');
    expect([...world.site.networks.values()].map(({ host }) => host)).toEqual(['h2']);
  });

  it('lets go of a host by itself when nothing there uses it and nobody said so', async () => {
    const made = await putNetwork(world, 'swept', { ipv4: '10.7.0.0/16' });
    await putSubnet(world, 'swept', 'a', { ipv4: '10.7.1.0/24' });
    const card = await putNic(world, 'swept-0', 'networks/swept/subnets/a', ['0.0.0.0']);
    const occupant = await world.occupy('swept-vm', 'h1', [card.uid]);
    await ensureNetworkOnHost(world.context, made, 'edge', 'h1');
    expect(await world.reconcile(made)).toMatchObject({ reason: 'in use' });
    await world.vacate(occupant);
    world.site.reachable = false;
    expect(await world.reconcile(made)).toMatchObject({ reason: expect.stringContaining('does not answer') });
    world.site.reachable = true;
    await world.reconcile(made);
    expect(await world.reconcile(made)).toEqual({ done: true });
    expect(await world.store.ledger.ofResource(made.uid)).toEqual([]);
  });

  it('is made again on a host that lost it', async () => {
    const made = await putNetwork(world, 'wiped', { ipv4: '10.8.0.0/16' });
    const first = await ensureNetworkOnHost(world.context, made, 'edge', 'h1');
    if ('waiting' in first) throw new Error(first.waiting);
    await (await world.site.sites.connectionOf('edge')).networks?.remove(first.handle);
    expect(await ensureNetworkOnHost(world.context, made, 'edge', 'h1')).toHaveProperty('waiting');
    expect(await ensureNetworkOnHost(world.context, made, 'edge', 'h1')).toEqual(first);
  });

  it('finds what a lost reply left behind', async () => {
    const made = await putNetwork(world, 'lost', { ipv4: '10.3.0.0/16' });
    const before = world.site.networks.size;
    world.site.loseReply = true;
    await expect(ensureNetworkOnHost(world.context, made, 'edge', 'h1')).rejects.toMatchObject({ kind: 'unknown-outcome' });
    expect(await ensureNetworkOnHost(world.context, made, 'edge', 'h1')).toMatchObject({ ready: true });
    expect(world.site.networks.size).toBe(before + 1);
  });

  it('is deleting, and says for whom it waits, until its hosts let it go', async () => {
    const made = await putNetwork(world, 'going', { ipv4: '10.4.0.0/16' });
    await ensureNetworkOnHost(world.context, made, 'edge', 'h1');
    await world.remove(network, { ...within, name: 'going' });
    world.site.reachable = false;
    expect(await world.reconcile(made)).toMatchObject({ waitSeconds: 15 });
    const waiting = await world.read(network, { ...within, name: 'going' });
    expect(waiting.conditions[0]).toMatchObject({ state: 'deleting', message: expect.stringContaining('edge') });
    world.site.reachable = true;
    expect(await world.reconcile(made)).toEqual({ gone: true });
    expect(await world.store.get(network, { ...within, name: 'going' })).toBeUndefined();
  });
});

describe('a subnet', () => {
  beforeAll(async () => void (await putNetwork(world, 'parts', { ipv4: '10.5.0.0/16' })));

  it('lies inside its network', async () => {
    await expect(putSubnet(world, 'parts', 'out', { ipv4: '10.6.0.0/24' })).rejects.toMatchObject({ kind: 'validation' });
  });

  it('never overlaps a sibling, also when both are made at the same moment', async () => {
    const made = await Promise.allSettled(
      Array.from({ length: 6 }, async (_, index) => await putSubnet(world, 'parts', `s${index}`, { ipv4: '10.5.8.0/22' })),
    );
    expect(made.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const each of made) if (each.status === 'rejected') expect(each.reason).toMatchObject({ kind: 'conflict' });
  });

  it('stays while a NIC is in it', async () => {
    await putSubnet(world, 'parts', 'used', { ipv4: '10.5.1.0/24' });
    await putNic(world, 'holder', 'networks/parts/subnets/used', ['0.0.0.0']);
    await expect(world.remove(subnet, { ...within, network: 'parts', name: 'used' })).rejects.toThrow(/used by NIC holder;/);
    await world.remove(nic, { ...within, name: 'holder' });
    await world.remove(subnet, { ...within, network: 'parts', name: 'used' });
  });
});
