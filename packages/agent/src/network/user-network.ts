import { isIPv4 } from 'node:net';
import { type DesiredNic, Problem } from '@virt8ra/contract';

/** One way from the host to a guest's TCP port. */
export interface PortForward {
  readonly port: number;
  readonly hostPort: number;
}

/**
 * QEMU's `-netdev` value for a NIC without a bridge: a network of its own, whose addresses are those the guest expects, and a forward for
 * each exposed port. IPv4 only. Raises Problem unsupported for a NIC without an IPv4 address.
 */
export function userNetdev(id: string, nic: DesiredNic, hostAddress: string, forwards: readonly PortForward[]): string {
  const cidr = nic.addresses.find((address) => isIPv4(address.slice(0, address.indexOf('/'))));
  if (cidr === undefined)
    throw new Problem(
      'unsupported',
      `NIC ${nic.key} has no IPv4 address, and this host has user-mode networking only, which knows no other`,
    );
  const slash = cidr.indexOf('/');
  const address = cidr.slice(0, slash);
  const bits = Number(cidr.slice(slash + 1));
  if (!Number.isInteger(bits) || bits < 8 || bits > 28) {
    throw new Problem('unsupported', `NIC ${nic.key} is in ${cidr}; user-mode networking needs a subnet between /8 and /28`);
  }
  const mask = (0xffffffff << (32 - bits)) >>> 0;
  const network = (number(address) & mask) >>> 0;
  const taken = [number(address)];
  const free = (from: number) => {
    let candidate = from;
    while (taken.includes(candidate)) candidate += 1;
    taken.push(candidate);
    return candidate;
  };
  const gateway = nic.gateway4 === undefined ? free(network + 1) : number(nic.gateway4);
  taken.push(gateway);
  const resolver = free(network + 2);
  return [
    `user,id=${id},ipv6=off,net=${text(network)}/${bits},host=${text(gateway)},dns=${text(resolver)},dhcpstart=${address}`,
    ...forwards.map(({ port, hostPort }) => `hostfwd=tcp:${hostAddress}:${hostPort}-${address}:${port}`),
  ].join(',');
}

function number(address: string): number {
  return address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
}

function text(value: number): string {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 0xff).join('.');
}
