import { internetGateway, nic, publicIp, routeTable, type SiteSpec, site, workspace } from '@virt8ra/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { StoredResource } from '../../resources/stored-resource.js';
import { type KindWorld, putNetwork, putNic, putSubnet, startKindWorld, within } from '../../testing/kind-world.js';
import { nicsForInstance } from '../nic/index.js';
import type { PublicIpStatus } from './index.js';

let world: KindWorld;
beforeAll(async () => {
  world = await startKindWorld();
}, 60_000);
afterAll(async () => await world?.stop());

const at = (name: string) => ({ ...within, name });
async function putSite(name: string, publicAddresses: readonly string[]): Promise<StoredResource> {
  const spec: SiteSpec = { accountRef: 'accounts/a', country: 'PL', tier: 'edge', publicAddresses: [...publicAddresses] };
  return await world.store.transaction(
    async (tx) => await tx.put({ kind: site, address: { name }, spec, state: 'active', conditions: [{ state: 'active' }] }),
  );
}
const take = async (name: string, spec: object = {}, where?: string): Promise<StoredResource<unknown, PublicIpStatus>> =>
  (await world.put(
    publicIp,
    at(name),
    { version: 'IPv4', ...spec },
    where === undefined ? undefined : { 'virt8ra.site': where },
  )) as StoredResource<unknown, PublicIpStatus>;

describe('a public IP', () => {
  it('is refused while no site has addresses to give, with who can mend it', async () => {
    await expect(take('none')).rejects.toMatchObject({ kind: 'validation', message: expect.stringContaining('publicAddresses') });
  });

  it('is of the only site that has addresses, and else says how to name one', async () => {
    await putSite('edge', ['203.0.113.8/30', '2001:db8::1']);
    expect((await take('first')).status).toMatchObject({ site: 'edge', ipAddress: '203.0.113.8' });
    await putSite('core', ['198.51.100.0/29']);
    await expect(take('second')).rejects.toMatchObject({
      kind: 'validation',
      message: expect.stringMatching(/extension virt8ra\.site, here or at the workspace: core, edge/),
    });
    expect((await take('second', {}, 'core')).status).toMatchObject({ site: 'core', ipAddress: '198.51.100.0' });
    expect((await take('named', { address: '198.51.100.5' })).status).toMatchObject({ site: 'core', ipAddress: '198.51.100.5' });
    expect((await take('six', { version: 'IPv6' })).status).toMatchObject({ site: 'edge', ipAddress: '2001:db8::1' });
    await world.put(workspace, { tenant: 'acme', name: 'prod' }, {}, { 'virt8ra.site': 'core' });
    expect((await take('third')).status).toMatchObject({ site: 'core', ipAddress: '198.51.100.1' });
    await world.put(workspace, { tenant: 'acme', name: 'prod' }, {});
    // What was given stays where it is.
    expect((await take('third', { address: '' })).status).toMatchObject({ site: 'core', ipAddress: '198.51.100.1' });
  });

  it.each([
    ['203.0.113.99', 'IPv4', 'validation', /its own are 203\.0\.113\.8\/30/],
    ['203.0.113.8', 'IPv4', 'conflict', /held by another public IP/],
    ['fd00::1', 'IPv4', 'validation', /not an IPv4 address/],
    ['nonsense', 'IPv6', 'validation', /not an IPv6 address/],
  ])('refuses %s (%s)', async (address, version, kind, message) => {
    await expect(take('refused', { address, version }, 'edge')).rejects.toMatchObject({
      kind,
      message: expect.stringMatching(message),
      sources: [{ pointer: '/spec/address' }],
    });
    expect(await world.store.get(publicIp, at('refused'))).toBeUndefined();
  });

  it('is given once, also when many ask at the same moment, until none is left', async () => {
    await putSite('busy', ['192.0.2.64/28']);
    const asked = await Promise.allSettled(Array.from({ length: 20 }, async (_, index) => await take(`busy-${index}`, {}, 'busy')));
    const given = asked.flatMap((each) => (each.status === 'fulfilled' ? [each.value.status.ipAddress] : []));
    expect(new Set(given).size).toBe(16);
    for (const each of asked) if (each.status === 'rejected') expect(each.reason).toMatchObject({ kind: 'exhausted' });
    const freed = asked.findIndex(({ status }) => status === 'fulfilled');
    await world.remove(publicIp, at(`busy-${freed}`));
    expect((await take('busy-again', {}, 'busy')).status.ipAddress).toBe(given[0]);
  });

  it('may be another address until a NIC has it', async () => {
    expect((await take('first', { address: '203.0.113.10' }, 'edge')).status).toMatchObject({ ipAddress: '203.0.113.10' });
    expect((await take('first', { address: '203.0.113.9' }, 'edge')).status).toMatchObject({ ipAddress: '203.0.113.9' });
    const { rows } = await world.pool.query(`select 1 from public_address where site = 'edge'`);
    expect(rows).toHaveLength(2);
  });
});

describe('a public IP of a NIC', () => {
  beforeAll(async () => {
    await putNetwork(world, 'lan', { ipv4: '10.0.0.0/16', ipv6: 'fd00::/48' });
    await putSubnet(world, 'lan', 'plain', { ipv4: '10.0.1.0/24' });
  });

  it('is for one NIC, which holds it, and has an address that it leads to', async () => {
    await take('mine', {}, 'edge');
    await putNic(world, 'mine-0', 'networks/lan/subnets/plain', ['0.0.0.0'], { publicIpRefs: ['public-ips/mine'] });
    await expect(
      putNic(world, 'mine-1', 'networks/lan/subnets/plain', ['0.0.0.0'], { publicIpRefs: ['public-ips/mine'] }),
    ).rejects.toMatchObject({ kind: 'conflict', message: expect.stringContaining('attached to NIC mine-0') });
    await expect(world.remove(publicIp, at('mine'))).rejects.toThrow(/used by nic mine-0/);
    await expect(take('mine', { address: '203.0.113.11' }, 'edge')).rejects.toMatchObject({ kind: 'conflict' });
    await expect(
      putNic(world, 'mine-2', 'networks/lan/subnets/plain', ['0.0.0.0'], { publicIpRefs: ['public-ips/six'] }),
    ).rejects.toMatchObject({ kind: 'validation', message: expect.stringContaining('no further IPv6 address') });
    await putNic(world, 'mine-0', 'networks/lan/subnets/plain', ['0.0.0.0']);
    await world.remove(publicIp, at('mine'));
  });

  it('goes to one of many NICs that take it at the same moment', async () => {
    await take('contested', {}, 'core');
    const asked = await Promise.allSettled(
      Array.from(
        { length: 6 },
        async (_, index) =>
          await putNic(world, `contested-${index}`, 'networks/lan/subnets/plain', ['0.0.0.0'], { publicIpRefs: ['public-ips/contested'] }),
      ),
    );
    expect(asked.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const each of asked) if (each.status === 'rejected') expect(each.reason).toMatchObject({ kind: 'conflict' });
  });

  it('leads to it where its subnet has a way in, and not through a gateway for going out only', async () => {
    await world.put(internetGateway, at('out'), {});
    await world.put(
      routeTable,
      { ...within, network: 'lan', name: 'ways' },
      { routes: [{ destinationCidrBlock: '0.0.0.0/0', targetRef: 'internet-gateways/out' }] },
    );
    await putSubnet(world, 'lan', 'open', { ipv4: '10.0.2.0/24' }, { routeTableRef: 'route-tables/ways' });
    await take('open', {}, 'core');
    const card = await putNic(world, 'open-0', 'networks/lan/subnets/open', ['0.0.0.0'], { publicIpRefs: ['public-ips/open'] });
    const [told] = await nicsForInstance(world.store, [card.uid]);
    expect(told).toMatchObject({ publicIps: [{ name: 'open', site: 'core', to: card.status.addresses[0] }], waysIn: new Set(['IPv4']) });
    await world.put(internetGateway, at('out'), { egressOnly: true });
    expect((await nicsForInstance(world.store, [card.uid]))[0]).toMatchObject({ waysIn: new Set() });
    await world.remove(nic, at('open-0'));
  });
});
