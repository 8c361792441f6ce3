import { Problem, toProblem } from '@virt8ra/contract';
import type { NicRealizationSpec } from '@virt8ra/driver';
import type { CloudClient } from './client.js';
import { objectFrom } from './handle.js';
import { markedName } from './mark.js';
import type { Port, Subnet } from './schema.js';

/** NICs of one instance: ports that carry its key, and in their description that of the NIC. */

const openGroup = 'virt8ra-open';

/** Ports in the order of the NICs, found again where an earlier attempt has made them. */
export async function ensurePorts(client: CloudClient, key: string, nics: readonly NicRealizationSpec[]): Promise<readonly string[]> {
  if (nics.length === 0) return [];
  const there = await portsOf(client, key);
  const group = await ensureOpenGroup(client);
  const ids: string[] = [];
  for (const nic of nics) {
    const found = there.find(({ description }) => description === nic.key);
    ids.push(found?.id ?? (await createPort(client, key, nic, group)));
  }
  return ids;
}

export async function portsOf(client: CloudClient, key: string): Promise<readonly Port[]> {
  const { body } = await client.call<{ readonly ports: readonly Port[] }>('network', 'GET', '/ports', { query: { name: markedName(key) } });
  return body.ports;
}

export async function removePorts(client: CloudClient, key: string): Promise<void> {
  // Compute takes ports with the server now and then, though they are not its own.
  for (const { id } of await portsOf(client, key)) await client.call('network', 'DELETE', `/ports/${id}`, { also: [404] });
}

async function createPort(client: CloudClient, key: string, nic: NicRealizationSpec, group: string): Promise<string> {
  const { id: network } = objectFrom(nic.network, 'network');
  const subnets = await subnetsOf(client, network);
  const port = {
    network_id: network,
    name: markedName(key),
    description: nic.key,
    mac_address: nic.mac,
    fixed_ips: nic.addresses.map((address) => fixedIp(address, subnets)),
    security_groups: [group],
  };
  try {
    const { body } = await client.call<{ readonly port: Port }>('network', 'POST', '/ports', { json: { port } });
    return body.port.id;
  } catch (thrown) {
    const problem = toProblem(thrown);
    if (problem.kind !== 'conflict' && problem.kind !== 'unknown-outcome') throw problem;
    // The address may be taken by our own first attempt.
    const found = (await portsOf(client, key)).find(({ description }) => description === nic.key);
    if (found === undefined) throw problem;
    return found.id;
  }
}

export async function subnetsOf(client: CloudClient, network: string): Promise<readonly Subnet[]> {
  const { body } = await client.call<{ readonly subnets: readonly Subnet[] }>('network', 'GET', '/subnets', {
    query: { network_id: network },
  });
  return body.subnets;
}

function fixedIp(address: string, subnets: readonly Subnet[]): { readonly subnet_id: string; readonly ip_address: string } {
  const [ip = '', prefix = ''] = address.split('/');
  const found = subnets.find(({ cidr }) => cidr.endsWith(`/${prefix}`) && sameRange(cidr, ip));
  if (found === undefined) throw new Problem('unsupported', `no subnet of the network at this site holds ${address}`);
  return { subnet_id: found.id, ip_address: ip };
}

/** Whether an address is in a range of its own version. */
export function sameRange(cidr: string, ip: string): boolean {
  const [base = '', prefix = '0'] = cidr.split('/');
  if (base.includes(':') !== ip.includes(':')) return false;
  const bits = base.includes(':') ? 128 : 32;
  const shift = BigInt(bits - Number(prefix));
  return numberOf(base) >> shift === numberOf(ip) >> shift;
}

export function numberOf(ip: string): bigint {
  if (!ip.includes(':')) return ip.split('.').reduce((sum, part) => sum * 256n + BigInt(part), 0n);
  const [head = '', tail] = ip.split('::');
  const words = (text: string): string[] => (text === '' ? [] : text.split(':'));
  const left = words(head);
  const right = tail === undefined ? [] : words(tail);
  const middle = Array.from({ length: 8 - left.length - right.length }, () => '0');
  return [...left, ...middle, ...right].reduce((sum, word) => sum * 65_536n + BigInt(`0x${word}`), 0n);
}

/**
 * A port without a security group of ours is not filtered; the cloud's own default would let nothing in. Everything passes this group; the
 * cloud's guard against foreign addresses stays.
 */
async function ensureOpenGroup(client: CloudClient): Promise<string> {
  const { body } = await client.call<{ readonly security_groups: readonly SecurityGroup[] }>('network', 'GET', '/security-groups', {
    query: { name: openGroup },
  });
  const [found] = body.security_groups.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const { id, security_group_rules: rules } = found ?? (await createGroup(client));
  for (const ethertype of ['IPv4', 'IPv6'])
    for (const direction of ['ingress', 'egress']) {
      if (rules.some((rule) => rule.ethertype === ethertype && rule.direction === direction)) continue;
      const rule = { security_group_id: id, direction, ethertype };
      // 409: somebody else has made it meanwhile.
      await client.call('network', 'POST', '/security-group-rules', { json: { security_group_rule: rule }, also: [409], again: 'always' });
    }
  return id;
}

interface SecurityGroup {
  readonly id: string;
  readonly security_group_rules: readonly { readonly direction: string; readonly ethertype: string }[];
}

async function createGroup(client: CloudClient): Promise<SecurityGroup> {
  const { body } = await client.call<{ readonly security_group: SecurityGroup }>('network', 'POST', '/security-groups', {
    json: { security_group: { name: openGroup, description: 'made by virt8ra: lets everything pass' } },
  });
  return body.security_group;
}
