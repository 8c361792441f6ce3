import type { DesiredNic } from '@virt8ra/contract';
import { groupsOf, ofVersion } from './address.js';
import { neighbourTypes } from './filter-rules.js';

/** A NIC and the tap it is or will be. */
export interface GuardedNic {
  readonly nic: DesiredNic;
  readonly tap: string;
}

/**
 * What a guest's own port of the bridge lets through: frames from its MAC and addresses only, no answers of a DHCP server or router, packets
 * up to its rate. Taps of this agent that belong to no desired NIC any more carry nothing. The table is of family bridge.
 */
export function guardRules(table: string, gatewayMac: string, nics: readonly GuardedNic[], strays: readonly string[]): string {
  const jumps = (prefix: string, of: readonly GuardedNic[]) =>
    [...of.map(({ tap }) => `"${tap}" : jump ${prefix}_${tap}`), ...strays.map((tap) => `"${tap}" : drop`)].sort().join(', ');
  const guarded = nics.filter(({ nic }) => nic.antiSpoof !== false || nic.rate?.packetsPerSecond !== undefined);
  const filtered = nics.filter(({ nic }) => nic.filters !== undefined);
  const paced = nics.filter(({ nic }) => nic.rate?.packetsPerSecond !== undefined);
  const base = (name: string, hook: string, priority: number, match: string, verdicts: string) =>
    `  chain ${name} {\n    type filter hook ${hook} priority ${priority}; policy accept;\n${verdicts === '' ? '' : `    ${match} vmap { ${verdicts} }\n`}  }\n`;
  return [
    `table bridge ${table} {\n`,
    ...guarded.map((entry) => fromGuest(entry, gatewayMac)),
    ...filtered.map(({ tap }) => toFiltered(tap)),
    ...paced.map(({ nic, tap }) => `  chain pace_${tap} {\n    ${limitOf(nic.rate?.packetsPerSecond ?? 1)}\n  }\n`),
    base('prerouting', 'prerouting', -300, 'iifname', jumps('from', guarded)),
    base('forward', 'forward', -10, 'oifname', jumps('to', filtered)),
    base('postrouting', 'postrouting', -10, 'oifname', jumps('pace', paced)),
    '}\n',
  ].join('');
}

function fromGuest({ nic, tap }: GuardedNic, gatewayMac: string): string {
  const pace = nic.rate?.packetsPerSecond === undefined ? [] : [limitOf(nic.rate.packetsPerSecond)];
  const lines = nic.antiSpoof === false ? pace : [...pace, ...ownAddressesOnly(nic, gatewayMac)];
  return `  chain from_${tap} {\n${lines.map((line) => `    ${line}\n`).join('')}  }\n`;
}

function ownAddressesOnly(nic: DesiredNic, gatewayMac: string): string[] {
  const four = ofVersion(nic.addresses, 4);
  const six = ofVersion(nic.addresses, 6);
  const arp = `arp saddr ether ${nic.mac} arp saddr ip { ${['0.0.0.0', ...four].join(', ')} }`;
  const gatewayLocal = linkLocal(gatewayMac);
  return [
    `ether saddr != ${nic.mac} drop`,
    `ether type arp ${arp} return`,
    // By a reverse ARP request a hypervisor says for a guest that has just arrived where it is now; nobody answers those.
    'ether type 0x8035 return',
    'ether type != { ip, ip6 } drop',
    'udp sport { 67, 547 } drop',
    'icmpv6 type { nd-router-advert, nd-redirect } drop',
    'ip saddr 0.0.0.0 udp sport 68 udp dport 67 return',
    ...(four.length === 0 ? ['ether type ip drop'] : [`ip saddr != { ${four.join(', ')} } drop`]),
    `ip6 saddr ${gatewayLocal} drop`,
    `icmpv6 type nd-neighbor-advert @th,64,128 ${asHex(gatewayLocal)} drop`,
    ...(six.length === 0
      ? ['ip6 saddr != { ::, fe80::/10 } drop', 'icmpv6 type nd-neighbor-advert @th,64,10 != 0x3fa drop']
      : [
          `ip6 saddr != { ::, fe80::/10, ${six.join(', ')} } drop`,
          `icmpv6 type nd-neighbor-advert @th,64,10 != 0x3fa @th,64,128 != { ${six.map(asHex).join(', ')} } drop`,
        ]),
    `ip6 saddr :: icmpv6 type != ${neighbourTypes} drop`,
  ];
}

/** Groups know addresses of one guest; what goes to many, or to link-local addresses, is kept from a filtered NIC save what networks live of. */
function toFiltered(tap: string): string {
  const lines = [
    'ether type arp return',
    'ether type != { ip, ip6 } drop',
    `icmpv6 type ${neighbourTypes} return`,
    'udp sport { 67, 547 } return',
    'meta pkttype { broadcast, multicast } drop',
    'ip6 saddr fe80::/10 drop',
    'ip6 daddr fe80::/10 drop',
  ];
  return `  chain to_${tap} {\n${lines.map((line) => `    ${line}\n`).join('')}  }\n`;
}

function limitOf(packetsPerSecond: number): string {
  // The kernel's limits count in 32 bits.
  const rate = Math.min(packetsPerSecond, 4_000_000_000);
  return `limit rate over ${rate}/second burst ${Math.max(Math.min(Math.ceil(rate / 10), 1_000_000), 32)} packets drop`;
}

/** The address that a bridge gives itself from its MAC. */
function linkLocal(mac: string): string {
  const octets = mac.split(':').map((octet) => Number.parseInt(octet, 16));
  const all = [(octets[0] ?? 0) ^ 2, octets[1] ?? 0, octets[2] ?? 0, 0xff, 0xfe, octets[3] ?? 0, octets[4] ?? 0, octets[5] ?? 0];
  const groups = [0, 2, 4, 6].map((at) => (((all[at] ?? 0) << 8) | (all[at + 1] ?? 0)).toString(16));
  return `fe80::${groups.join(':')}`;
}

function asHex(address: string): string {
  return `0x${groupsOf(address)
    .map((group) => group.toString(16).padStart(4, '0'))
    .join('')}`;
}
