import { instance, internetGateway, network, nic, routeTable, subnet } from '@virt8ra/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { StoredResource } from '../../resources/stored-resource.js';
import { type KindWorld, putNetwork, putNic, putSubnet, startKindWorld, within } from '../../testing/kind-world.js';
import { ensureNetworkOnHost } from '../network/index.js';
import { createRouteTableBehaviour } from './index.js';

let world: KindWorld;
let lan: StoredResource;
beforeAll(async () => {
  world = await startKindWorld();
  lan = await putNetwork(world, 'lan', { ipv4: '10.0.0.0/16', ipv6: 'fd00::/48' });
  await world.put(internetGateway, at('out'), {});
}, 60_000);
afterAll(async () => await world?.stop());

const at = (name: string) => ({ ...within, name });
const inLan = (name: string) => ({ ...within, network: 'lan', name });
const putTable = async (name: string, routes: readonly (readonly [string, string])[]): Promise<StoredResource> =>
  await world.put(routeTable, inLan(name), {
    routes: routes.map(([destinationCidrBlock, targetRef]) => ({ destinationCidrBlock, targetRef })),
  });

describe('a route table', () => {
  it.each([
    ['0.0.0.0', 'internet-gateways/out', 'validation', 'destinationCidrBlock', /is not a range/],
    ['10.1.2.3/8', 'internet-gateways/out', 'validation', 'destinationCidrBlock', /begins inside/],
    ['10.0.4.0/24', 'internet-gateways/out', 'validation', 'destinationCidrBlock', /needs no route/],
    ['0.0.0.0/0', 'internet-gateways/none', 'validation', 'targetRef', /does not exist/],
    ['0.0.0.0/0', 'block-storages/x', 'unsupported', 'targetRef', /its target is internet-gateways/],
    ['0.0.0.0/0', '10.0.0.9', 'unsupported', 'targetRef', /its target is internet-gateways/],
  ])('is refused with a route from %s to %s', async (destination, target, kind, part, message) => {
    await expect(putTable('refused', [[destination, target]])).rejects.toMatchObject({
      kind,
      message: expect.stringMatching(message),
      sources: [{ pointer: `/spec/routes/0/${part}` }],
    });
    expect(await world.store.get(routeTable, inLan('refused'))).toBeUndefined();
  });

  it('has one route to each destination', async () => {
    await expect(
      putTable('refused', [
        ['::/0', 'internet-gateways/out'],
        ['0::0/0', 'internet-gateways/out'],
      ]),
    ).rejects.toMatchObject({ sources: [{ pointer: '/spec/routes/1/destinationCidrBlock' }] });
  });

  it('is made on the hosts of its network for the subnets that name it, and follows every change', async () => {
    await putTable('ways', [
      ['0.0.0.0/0', 'internet-gateways/out'],
      ['::/0', 'internet-gateways/out'],
    ]);
    await putSubnet(world, 'lan', 'open', { ipv4: '10.0.1.0/24', ipv6: 'fd00:0:0:1::/64' }, { routeTableRef: 'route-tables/ways' });
    await putSubnet(world, 'lan', 'closed', { ipv4: '10.0.2.0/24' });
    const router = await putNic(world, 'router-0', 'networks/lan/subnets/closed', ['0.0.0.0']);
    const occupant = await world.occupy('router', 'h1', [router.uid]);
    await ensureNetworkOnHost(world.context, lan, 'edge', 'h1');
    const told = () => [...world.site.networks.values()].find(({ host }) => host === 'h1');
    expect(told()?.routes).toEqual([
      { source: '10.0.1.0/24', destination: '0.0.0.0/0', via: { type: 'internet' } },
      { source: 'fd00:0:0:1::/64', destination: '::/0', via: { type: 'internet' } },
    ]);
    expect(told()?.names).toEqual({ domain: 'lan.internal', hosts: [{ name: 'router', addresses: router.status.addresses }] });

    await putTable('ways', [
      ['192.0.2.0/24', 'instances/router'],
      ['198.51.100.0/24', 'nics/router-0'],
    ]);
    await world.reconcile(lan);
    const via = { type: 'address', address: router.status.addresses[0] };
    expect(told()?.routes).toEqual([
      { source: '10.0.1.0/24', destination: '192.0.2.0/24', via },
      { source: '10.0.1.0/24', destination: '198.51.100.0/24', via },
    ]);
    await putSubnet(world, 'lan', 'open', { ipv4: '10.0.1.0/24', ipv6: 'fd00:0:0:1::/64' });
    await world.reconcile(lan);
    expect(told()?.routes).toEqual([]);
    await putTable('ways', [['0.0.0.0/0', 'internet-gateways/out']]);
    await world.vacate(occupant);
    await world.reconcile(lan);
  });

  it('refuses a target without an address of that version in the network, and shows one that lost it', async () => {
    await putNetwork(world, 'far', { ipv4: '10.9.0.0/16' });
    await putSubnet(world, 'far', 'a', { ipv4: '10.9.1.0/24' });
    await putNic(world, 'far-0', 'networks/far/subnets/a', ['0.0.0.0']);
    await expect(putTable('hop', [['0.0.0.0/0', 'nics/far-0']])).rejects.toThrow(/has no IPv4 address in network lan/);
    await putSubnet(world, 'lan', 'dual', { ipv4: '10.0.8.0/24', ipv6: 'fd00:0:0:8::/64' });
    const hop = await putNic(world, 'hop-0', 'networks/lan/subnets/dual', ['0.0.0.0']);
    await expect(putTable('hop', [['::/0', 'nics/hop-0']])).rejects.toThrow(/has no IPv6 address in network lan/);
    const table = await putTable('hop', [['0.0.0.0/0', 'nics/hop-0']]);
    const shown = async () =>
      (await createRouteTableBehaviour(world.context).present?.(world.store, [table as never]))?.[0]?.routes?.map(({ state }) => state);
    expect(await shown()).toEqual(['active']);
    await putNic(world, 'hop-0', 'networks/lan/subnets/dual', ['::']);
    expect(await shown()).toEqual(['error']);
    await expect(world.remove(nic, at('hop-0'))).rejects.toThrow(/used by routing-table hop; take it out of their routes/);
    expect(hop.uid).toBeDefined();
    await world.remove(routeTable, inLan('hop'));
    await world.remove(nic, at('hop-0'));
  });

  it('stays while a subnet names it, as its gateway and its network do while it stands', async () => {
    await putTable('kept', [['0.0.0.0/0', 'internet-gateways/out']]);
    await putSubnet(world, 'lan', 'kept', { ipv4: '10.0.16.0/24' }, { routeTableRef: 'networks/lan/route-tables/kept' });
    expect((await world.read<{ routeTableRef?: object }>(subnet, inLan('kept'))).status.routeTableRef).toEqual({
      resource: 'seca.network/v1/tenants/acme/workspaces/prod/networks/lan/route-tables/kept',
    });
    await expect(world.remove(routeTable, inLan('kept'))).rejects.toThrow(/used by subnet kept; give them another one/);
    await world.remove(subnet, inLan('kept'));
    await expect(world.remove(internetGateway, at('out'))).rejects.toThrow(/used by routing-table kept/);
    await putNetwork(world, 'small', { ipv4: '10.20.0.0/16' });
    await world.put(
      routeTable,
      { ...within, network: 'small', name: 't' },
      { routes: [{ destinationCidrBlock: '0.0.0.0/0', targetRef: 'internet-gateways/out' }] },
    );
    await expect(world.remove(network, at('small'))).rejects.toThrow(/still has 1 route table; delete them first/);
  });

  it('is of one network only', async () => {
    await putNetwork(world, 'next', { ipv4: '10.30.0.0/16' });
    await putTable('foreign', [['0.0.0.0/0', 'internet-gateways/out']]);
    await expect(
      putSubnet(world, 'next', 'a', { ipv4: '10.30.1.0/24' }, { routeTableRef: 'networks/lan/route-tables/foreign' }),
    ).rejects.toMatchObject({
      kind: 'validation',
      message: expect.stringContaining('of another network'),
    });
    expect(await world.store.get(instance, at('none'))).toBeUndefined();
  });
});
