import { Problem, toProblem } from '@virt8ra/contract';
import type { Handle, NetworkRealizationSpec, NetworkRealizationStatus, NetworksFacet } from '@virt8ra/driver';
import { handleFrom, objectFrom } from './handle.js';
import { keyFromName, markedName } from './mark.js';
import { numberOf, subnetsOf } from './ports.js';
import type { Network, Subnet } from './schema.js';
import { assertOwnWords, createSight } from './sight.js';
import type { SiteParts } from './site-parts.js';

const mtus = { least: 1280, most: 9000 };

/** A network of the project with one subnet for each gateway. Addresses are ours to give: the cloud's DHCP server would take some of them. */
export function createNetworksFacet({ client, source, lock }: SiteParts): NetworksFacet {
  const sight = createSight<NetworkRealizationStatus>(client, source);

  const handleOf = async (id: string, key: string): Promise<Handle> =>
    handleFrom({ type: 'network', id, key, project: await client.identity.project() });
  const find = async (key: string): Promise<Handle | undefined> => {
    client.assertOpen();
    const { body } = await client.call<{ readonly networks: readonly Network[] }>('network', 'GET', '/networks', {
      query: { name: markedName(key), project_id: await client.identity.project() },
    });
    const [first] = body.networks.map(({ id }) => id).sort();
    return first === undefined ? undefined : await handleOf(first, key);
  };
  const look = async (id: string): Promise<Network | undefined> => {
    const { status, body, answer } = await client.call<{ readonly network: Network }>('network', 'GET', `/networks/${id}`, { also: [404] });
    if (status !== 404) return body.network;
    assertOwnWords('network', answer.text);
    return undefined;
  };
  async function makeSubnets(id: string, key: string, gateways: readonly string[]): Promise<void> {
    const there = await subnetsOf(client, id);
    for (const gateway of gateways) {
      const subnet = subnetFrom(gateway);
      if (there.some(({ cidr }) => cidr === subnet.cidr)) continue;
      await client.call('network', 'POST', '/subnets', {
        json: { subnet: { ...subnet, network_id: id, name: markedName(key), enable_dhcp: false } },
        also: [409],
      });
    }
  }

  return {
    async create(spec, key) {
      assertNetwork(spec);
      return await lock.within(`network ${key}`, async () => {
        const handle = (await find(key)) ?? (await make(spec, key));
        await makeSubnets(objectFrom(handle, 'network').id, key, spec.gateways);
        return handle;
      });
    },
    find,
    async observe(handle) {
      const object = objectFrom(handle, 'network');
      return await sight.observe(object, async () => {
        const network = await look(object.id);
        if (network === undefined) return { type: 'absent' };
        if (network.status === 'ERROR')
          return {
            type: 'broken',
            status: { state: 'failed', reach: 'island' },
            problem: new Problem('conflict', 'the network is in error at the cloud'),
          };
        const ready = network.status === 'ACTIVE';
        return { type: ready ? 'present' : 'changing', status: { state: ready ? 'ready' : 'creating', reach: 'island' } };
      });
    },
    async update(handle, spec) {
      const { id, key } = objectFrom(handle, 'network');
      const network = await look(id);
      if (network === undefined) throw new Problem('not-found', `the network ${id} is gone`);
      assertNetwork(spec);
      if (network.mtu !== undefined && network.mtu !== spec.mtu)
        await client.call('network', 'PUT', `/networks/${id}`, { json: { network: { mtu: spec.mtu } } });
      await makeSubnets(id, key, spec.gateways);
      const wanted = new Set(spec.gateways.map((gateway) => subnetFrom(gateway).cidr));
      for (const { id: subnet, cidr } of await subnetsOf(client, id))
        if (!wanted.has(cidr)) await client.call('network', 'DELETE', `/subnets/${subnet}`, { also: [404] });
    },
    async remove(handle) {
      const { id } = objectFrom(handle, 'network');
      client.assertOpen();
      const { status } = await client.call('network', 'DELETE', `/networks/${id}`, { also: [404, 409] });
      if (status === 409) throw new Problem('unavailable', 'the network is still used at the cloud', { retryAfterSeconds: 3 });
    },
    async *list() {
      const query = { project_id: await client.identity.project() };
      for await (const { id, name } of client.list<Network>('network', '/networks', 'networks', query)) {
        const key = keyFromName(name);
        if (key !== undefined) yield { handle: await handleOf(id, key), key };
      }
    },
  };

  async function make({ mtu }: NetworkRealizationSpec, key: string): Promise<Handle> {
    const { body } = await client.call<{ readonly network: Network }>('network', 'POST', '/networks', {
      json: { network: { name: markedName(key), description: 'made by virt8ra', mtu } },
    });
    return await handleOf(body.network.id, key);
  }
}

function assertNetwork({ host, mtu, gateways, routes = [], neighbours = [] }: NetworkRealizationSpec): void {
  if (host !== undefined) throw new Problem('unsupported', 'a network at an OpenStack site is on no host of ours');
  if (mtu < mtus.least || mtu > mtus.most) throw new Problem('unsupported', `the mtu is ${mtu}; it can be ${mtus.least} to ${mtus.most}`);
  if (routes.length > 0) throw new Problem('unsupported', 'routes are not realized at OpenStack sites: nothing leaves a network there');
  if (neighbours.length > 0 || gateways.length > 1)
    throw new Problem('unsupported', 'a network at an OpenStack site has one subnet: nothing leads from one to another there');
  for (const gateway of gateways) subnetFrom(gateway);
}

/** By the gateway's address with the length of the range, such as 10.1.0.1/24. */
export function subnetFrom(gateway: string): Pick<Subnet, 'cidr' | 'gateway_ip' | 'ip_version'> {
  const [address = '', length = ''] = gateway.split('/');
  const version = address.includes(':') ? 6 : 4;
  const bits = version === 6 ? 128 : 32;
  const prefix = Number(length);
  try {
    if (length === '' || !Number.isInteger(prefix) || prefix < 1 || prefix > bits) throw new Problem('validation', 'no prefix');
    const shift = BigInt(bits - prefix);
    return { cidr: `${addressFrom((numberOf(address) >> shift) << shift, version)}/${prefix}`, gateway_ip: address, ip_version: version };
  } catch (thrown) {
    throw new Problem('validation', `${gateway} is no address of a gateway with its range`, { cause: toProblem(thrown) });
  }
}

/** As Neutron writes them: IPv6 in its shortest form. */
function addressFrom(value: bigint, version: 4 | 6): string {
  if (version === 4) return [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 255n)).join('.');
  const words = Array.from({ length: 8 }, (_, index) => ((value >> BigInt(112 - 16 * index)) & 65_535n).toString(16));
  return new URL(`http://[${words.join(':')}]`).hostname.slice(1, -1);
}
