import { nic, subnet } from '@virt8ra/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type KindWorld, putNetwork, putNic, putSubnet, startKindWorld, within } from '../../testing/kind-world.js';
import { nicsForInstance } from './index.js';

let world: KindWorld;
beforeAll(async () => {
  world = await startKindWorld();
  await putNetwork(world, 'lan', { ipv4: '10.0.0.0/8', ipv6: 'fd00::/48' });
}, 60_000);
afterAll(async () => await world?.stop());

const removeNic = async (name: string): Promise<void> => await world.remove(nic, { ...within, name });
const freeRanges = async (uid: string): Promise<readonly string[]> => {
  const { rows } = await world.pool.query<{ range: string }>(
    `select host(first) || '-' || host(last) as range from nic_free_range where subnet_uid = $1 order by first`,
    [uid],
  );
  return rows.map(({ range }) => range);
};

describe('addresses of NICs', () => {
  it('are given to many at the same moment, each once, until none is left', async () => {
    await putSubnet(world, 'lan', 'small', { ipv4: '10.1.0.0/28' });
    const asked = await Promise.allSettled(
      Array.from({ length: 16 }, async (_, index) => await putNic(world, `small-${index}`, 'networks/lan/subnets/small', ['0.0.0.0'])),
    );
    const given = asked.flatMap((each) => (each.status === 'fulfilled' ? each.value.status.addresses : []));
    expect(given.toSorted((one, other) => Number(one.split('.')[3]) - Number(other.split('.')[3]))).toEqual(
      Array.from({ length: 13 }, (_, index) => `10.1.0.${index + 2}`),
    );
    for (const each of asked) if (each.status === 'rejected') expect(each.reason).toMatchObject({ kind: 'exhausted' });
  });

  it('go to one of many that name the same', async () => {
    await putSubnet(world, 'lan', 'named', { ipv4: '10.1.1.0/24' });
    const asked = await Promise.allSettled(
      Array.from({ length: 8 }, async (_, index) => await putNic(world, `named-${index}`, 'networks/lan/subnets/named', ['10.1.1.77'])),
    );
    expect(asked.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const each of asked) if (each.status === 'rejected') expect(each.reason).toMatchObject({ kind: 'conflict' });
  });

  it('are free again when their NIC is gone, in one range as before', async () => {
    const { uid } = await putSubnet(world, 'lan', 'freed', { ipv4: '10.1.2.0/24', ipv6: 'fd00:0:0:2::/64' });
    const names = ['freed-0', 'freed-1', 'freed-2', 'freed-3'];
    for (const name of names) await putNic(world, name, 'networks/lan/subnets/freed', ['0.0.0.0', '::']);
    await putNic(world, 'freed-4', 'networks/lan/subnets/freed', ['10.1.2.100']);
    expect(await freeRanges(uid)).toEqual(['10.1.2.6-10.1.2.99', '10.1.2.101-10.1.2.254', 'fd00:0:0:2::6-fd00::2:ffff:ffff:ffff:ffff']);
    for (const name of ['freed-1', 'freed-4', 'freed-3', 'freed-0', 'freed-2']) await removeNic(name);
    expect(await freeRanges(uid)).toEqual(['10.1.2.2-10.1.2.254', 'fd00:0:0:2::2-fd00::2:ffff:ffff:ffff:ffff']);
    await world.remove(subnet, { ...within, network: 'lan', name: 'freed' });
    expect(await freeRanges(uid)).toEqual([]);
  });

  it.each([
    ['10.1.3.0', /reserved/],
    ['10.1.3.1', /reserved/],
    ['10.1.3.255', /reserved/],
    ['10.1.4.9', /not in subnet/],
    ['::', /no IPv6 range/],
    ['ten', /not an IP address/],
  ])('refuse %s', async (address, message) => {
    if ((await world.store.get(subnet, { ...within, network: 'lan', name: 'edges' })) === undefined)
      await putSubnet(world, 'lan', 'edges', { ipv4: '10.1.3.0/24' });
    await expect(putNic(world, 'edges-0', 'networks/lan/subnets/edges', [address])).rejects.toMatchObject({
      kind: 'validation',
      message: expect.stringMatching(message),
      sources: [{ pointer: '/spec/addresses/0' }],
    });
  });

  it('are kept when the NIC changes, with its MAC', async () => {
    await putSubnet(world, 'lan', 'kept', { ipv4: '10.1.5.0/24' });
    const first = await putNic(world, 'kept-0', 'networks/lan/subnets/kept', ['0.0.0.0']);
    const second = await putNic(world, 'kept-0', 'networks/lan/subnets/kept', ['10.1.5.50', '0.0.0.0']);
    expect(second.status).toMatchObject({ addresses: ['10.1.5.50', '10.1.5.2'], macAddress: first.status.macAddress });
    expect(first.status.macAddress).toMatch(/^02(:[0-9a-f]{2}){5}$/);
  });

  it('are found without looking through a full subnet', async () => {
    const { uid } = await putSubnet(world, 'lan', 'wide', { ipv4: '10.16.0.0/12' });
    await putNic(world, 'wide-0', 'networks/lan/subnets/wide', ['10.16.0.2']);
    await world.pool.query(`insert into nic_address select $1, '10.16.0.3'::inet + n, 'filler' from generate_series(0, 199999) as n`, [
      uid,
    ]);
    await world.pool.query(`update nic_free_range set first = '10.16.0.3'::inet + 200000 where subnet_uid = $1`, [uid]);
    await world.pool.query('analyze nic_address; analyze nic_free_range');
    const started = performance.now();
    const made = await putNic(world, 'wide-1', 'networks/lan/subnets/wide', ['0.0.0.0']);
    process.stdout.write(`one address beside 200000 others: ${(performance.now() - started).toFixed(1)} ms\n`);
    expect(made.status.addresses).toEqual(['10.19.13.67']);
  });
});

describe('a NIC', () => {
  it('tells a site all it needs, and keeps itself and its addresses while an instance uses it', async () => {
    await putSubnet(world, 'lan', 'told', { ipv4: '10.1.7.0/24', ipv6: 'fd00:0:0:7::/64' });
    const card = await putNic(world, 'told-0', 'networks/lan/subnets/told', ['0.0.0.0', '::']);
    const occupant = await world.occupy('told-vm', 'h1', [card.uid]);
    const [told] = await nicsForInstance(world.store, [card.uid]);
    expect(told).toEqual({
      key: card.uid,
      mac: card.status.macAddress,
      addresses: ['10.1.7.2/24', 'fd00:0:0:7::2/64'],
      gateway4: '10.1.7.1',
      gateway6: 'fd00:0:0:7::1',
      nameservers: [],
      rate: { megabitsPerSecond: 1000, packetsPerSecond: 1000 },
      networkUid: expect.stringMatching(/^res_/),
      groupUids: [],
      publicIps: [],
      waysIn: new Set(),
    });
    await expect(removeNic('told-0')).rejects.toThrow(/used by instance told-vm/);
    await expect(putNic(world, 'told-0', 'networks/lan/subnets/told', ['10.1.7.9'])).rejects.toMatchObject({ kind: 'conflict' });
    await world.vacate(occupant);
    await removeNic('told-0');
  });
});
