import { lookup } from 'node:dns/promises';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { Problem } from '@virt8ra/contract';

/** Where the control plane may go to on behalf of a stranger. */
export interface Egress {
  /** Raises `validation` for an address that is closed. */
  assertAddress(address: string): void;
  /**
   * For `net.connect`: resolves a name, checks every address it has, and answers only those, so that what was checked is what is
   * connected to. Never asked for literal addresses: check those with `assertAddress`.
   */
  readonly lookup: LookupFunction;
}

export interface EgressRules {
  /** Who is bounded, for refusals. Default: image imports, by `imports.allow`. */
  readonly whose?: { readonly who: string; readonly option: string };
  /** Asks for the addresses of a name. Default: the system's resolver. */
  readonly resolve?: (hostname: string, options: { readonly all: true }) => Promise<{ address: string; family: number }[]>;
  /** Opens private and loopback ranges. */
  readonly allowPrivate: boolean;
  /** CIDRs that are open whatever they are. */
  readonly allow: readonly string[];
}

/** Private and loopback: closed unless the operator opens them. */
const privateRanges = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', '127.0.0.0/8', '::1/128', 'fc00::/7'];

/** Never a place to go to for a stranger: this host, link-local (cloud metadata), multicast, documentation, and ways to write IPv4 in IPv6. */
const closedRanges = [
  '0.0.0.0/8',
  '169.254.0.0/16',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  '::/128',
  'fe80::/10',
  'fec0::/10',
  'ff00::/8',
  '100::/64',
  '2001::/32',
  '2001:db8::/32',
  '2002::/16',
  '64:ff9b::/96',
  '64:ff9b:1::/48',
  // Metadata services that live among private addresses.
  '100.100.100.200/32',
  'fd00:ec2::254/128',
];

export function createEgress(rules: EgressRules): Egress {
  const { who, option } = rules.whose ?? { who: 'image imports', option: 'imports.allow' };
  const resolve = rules.resolve ?? (async (hostname, options) => await lookup(hostname, options));
  const open = blockList(rules.allow);
  const closed = blockList(rules.allowPrivate ? closedRanges : [...closedRanges, ...privateRanges]);
  const permits = (address: string): boolean => {
    const family = isIP(address);
    if (family === 0) return false;
    const type = family === 6 ? 'ipv6' : 'ipv4';
    return open.check(address, type) || !closed.check(address, type);
  };
  const assertAddress = (address: string): void => {
    if (permits(address)) return;
    throw new Problem('validation', `the address is ${address}, which ${who} may not reach; the operator may open it (${option})`);
  };
  return {
    assertAddress,
    lookup: (hostname, options, callback) => {
      resolve(hostname, { all: true, ...(options.family === undefined ? {} : { family: options.family }) })
        .then((addresses) => {
          // All of them: a name that mixes open and closed addresses is an attack or a mistake.
          for (const { address } of addresses) assertAddress(address);
          const first = addresses[0];
          if (first === undefined) throw new Problem('unavailable', `${hostname} has no address`);
          if (options.all === true) callback(null, addresses);
          else callback(null, first.address, first.family);
        })
        .catch((error: Error) => callback(error, '', 0));
    },
  };
}

/** Accepts addresses and CIDRs. An IPv4 range also covers the same addresses written as `::ffff:a.b.c.d`. */
function blockList(ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const range of ranges) {
    const [address = '', prefix] = range.split('/');
    const family = isIP(address);
    const widest = family === 4 ? 32 : 128;
    const bits = prefix === undefined ? widest : Number(prefix);
    if (family === 0 || !Number.isInteger(bits) || bits > widest) throw new Problem('validation', `${range} is no address range`);
    list.addSubnet(address, bits, family === 4 ? 'ipv4' : 'ipv6');
  }
  return list;
}
