import { randomUUID } from 'node:crypto';
import { assertFields, pageOf, Refusal } from './refusal.js';
import type { Answered, Asked } from './wire.js';

type Row = Record<string, unknown> & { readonly id: string };

export type SimulatedNetworks = ReturnType<typeof createSimulatedNetworks>;

const collections = {
  networks: { one: 'network', fields: ['name', 'description', 'mtu'] },
  subnets: { one: 'subnet', fields: ['network_id', 'name', 'cidr', 'gateway_ip', 'ip_version', 'enable_dhcp'] },
  ports: { one: 'port', fields: ['network_id', 'name', 'description', 'mac_address', 'fixed_ips', 'security_groups'] },
  'security-groups': { one: 'security_group', fields: ['name', 'description'] },
  'security-group-rules': { one: 'security_group_rule', fields: ['security_group_id', 'direction', 'ethertype'] },
} as const;
type Collection = keyof typeof collections;

/** Neutron. */
export function createSimulatedNetworks({ project }: { readonly project: string }) {
  const rows = Object.fromEntries(Object.keys(collections).map((name) => [name, new Map<string, Row>()])) as Record<
    Collection,
    Map<string, Row>
  >;
  const of = (collection: Collection, network: unknown): readonly Row[] =>
    [...rows[collection].values()].filter((row) => row['network_id'] === network);
  const refuse = (status: number, type: string, message: string): Refusal => {
    const refusal = new Refusal(status, message);
    Object.assign(refusal.answered, { body: { NeutronError: { type, message, detail: '' } } });
    return refusal;
  };

  function admit(collection: Collection, given: Readonly<Record<string, unknown>>): Record<string, unknown> {
    if (collection === 'networks') return { status: 'ACTIVE', mtu: 1500, project_id: project };
    if (collection === 'subnets' && of('subnets', given['network_id']).some(({ cidr }) => cidr === given['cidr']))
      throw refuse(400, 'InvalidInput', 'Requested subnet overlaps with another subnet');
    if (collection === 'security-groups') return { project_id: project };
    if (collection === 'security-group-rules') {
      const same = [...rows[collection].values()].some((row) =>
        ['security_group_id', 'direction', 'ethertype'].every((field) => row[field] === given[field]),
      );
      if (same) throw refuse(409, 'SecurityGroupRuleExists', 'Security group rule already exists.');
      return {};
    }
    if (collection !== 'ports') return {};
    for (const { ip_address, subnet_id } of given['fixed_ips'] as readonly { ip_address: string; subnet_id: string }[]) {
      if (!rows.subnets.has(subnet_id)) throw refuse(404, 'SubnetNotFound', `Subnet ${subnet_id} could not be found.`);
      const taken = of('ports', given['network_id']).some((port) =>
        (port['fixed_ips'] as { ip_address: string }[]).some((ip) => ip.ip_address === ip_address),
      );
      if (taken) throw refuse(409, 'IpAddressAlreadyAllocated', `IP address ${ip_address} already allocated in subnet ${subnet_id}.`);
    }
    return { status: 'DOWN', device_id: '' };
  }

  function shown(collection: Collection, row: Row): unknown {
    if (collection !== 'security-groups') return row;
    return {
      ...row,
      security_group_rules: [...rows['security-group-rules'].values()].filter((rule) => rule['security_group_id'] === row.id),
    };
  }

  return {
    version: '/v2.0',
    rows,
    bind(port: string): void {
      if (!rows.ports.has(port)) throw new Refusal(400, `Port ${port} could not be found.`, 'badRequest');
    },
    versions: (base: string) => ({ versions: [{ id: 'v2.0', status: 'CURRENT', links: [{ rel: 'self', href: `${base}/v2.0/` }] }] }),
    async answer({ method, path, query, body }: Asked): Promise<Answered> {
      const [, name = '', id] = path.split('/');
      if (!(name in collections)) throw refuse(404, 'HTTPNotFound', 'The resource could not be found.');
      const collection = name as Collection;
      const { one, fields } = collections[collection];
      const many = collection.replaceAll('-', '_');
      if (method === 'POST') {
        const given = body?.[one];
        assertFields(given, fields, one);
        const row: Row = { ...admit(collection, given), ...given, id: randomUUID() };
        rows[collection].set(row.id, row);
        if (collection === 'security-groups')
          for (const ethertype of ['IPv4', 'IPv6']) {
            const rule = { id: randomUUID(), security_group_id: row.id, direction: 'egress', ethertype };
            rows['security-group-rules'].set(rule.id, rule);
          }
        return { status: 201, body: { [one]: shown(collection, row) } };
      }
      if (id === undefined) {
        const filters = [...query].filter(([each]) => each !== 'limit' && each !== 'marker');
        const found = [...rows[collection].values()].filter((row) => filters.every(([field, value]) => String(row[field]) === value));
        const { page, next } = query.has('limit') ? pageOf(found, query, 3) : { page: found, next: undefined };
        const links =
          next === undefined ? {} : { [`${many}_links`]: [{ rel: 'next', href: `http://inside.test:9696/v2.0${path}?${next}` }] };
        return { status: 200, body: { [many]: page.map((row) => shown(collection, row)), ...links } };
      }
      const row = rows[collection].get(id);
      if (row === undefined) throw refuse(404, `${one}NotFound`, `${one} ${id} could not be found.`);
      if (method === 'GET') return { status: 200, body: { [one]: shown(collection, row) } };
      if (method === 'PUT') {
        Object.assign(row, body?.[one]);
        return { status: 200, body: { [one]: row } };
      }
      if (collection === 'networks') {
        if (of('ports', id).length > 0)
          throw refuse(
            409,
            'NetworkInUse',
            `Unable to complete operation on network ${id}. There are one or more ports still in use on the network.`,
          );
        for (const subnet of of('subnets', id)) rows.subnets.delete(subnet.id);
      }
      rows[collection].delete(id);
      return { status: 204 };
    },
  };
}
