import type { DesiredFilter, DesiredNetwork, DesiredNic } from '@virt8ra/contract';
import { addressOf, ofVersion, versionOf } from './address.js';
import { filterRules, neighbourTypes } from './filter-rules.js';
import { type GuardedNic, guardRules } from './guard-rules.js';
import type { HostSide } from './namespaces.js';
import type { NetworkPlace } from './network-place.js';
import type { PortForward } from './user-network.js';

/** A NIC of this agent in a network, with the ports of the namespace that lead to it. */
export interface RuledNic extends GuardedNic {
  readonly nic: DesiredNic;
  readonly forwards: readonly PortForward[];
}

export interface NetworkRules {
  readonly agent: string;
  readonly place: NetworkPlace;
  readonly network: DesiredNetwork;
  readonly side: HostSide;
  readonly nics: readonly RuledNic[];
  /** Those of this network. */
  readonly filters: readonly DesiredFilter[];
  /** Taps of this agent in the network that no desired NIC has any more. */
  readonly strays: readonly string[];
}

/** Each agent of a machine has tables of its own in a shared namespace: what one agent lets through another may still drop. */
export function tableName(agent: string): string {
  return `v8a_${agent}`;
}

/**
 * All of an agent's rules in one network's namespace, as one transaction: the kernel takes over the whole text or nothing of it.
 * Raises Problem validation for what is no address.
 */
export function networkRules(wanted: NetworkRules): string {
  const { agent, place, nics, filters, strays } = wanted;
  const table = tableName(agent);
  const filtered = nics.flatMap(({ nic }) => (nic.filters === undefined ? [] : [{ addresses: nic.addresses, filters: nic.filters }]));
  const groups = filterRules(filtered, filters);
  return [
    ...['inet', 'bridge'].map((family) => `table ${family} ${table} {\n}\ndelete table ${family} ${table}\n`),
    guardRules(table, place.gatewayMac, nics, strays),
    `table inet ${table} {\n`,
    groups.parts,
    `  chain forward {
    type filter hook forward priority 0; policy accept;
    icmpv6 type ${neighbourTypes} accept
    ct state { established, related } accept
    iifname "${place.uplink}" ct status & dnat != dnat drop
${groups.rules}  }
`,
    inputChain(place),
    translation(wanted),
    '}\n',
  ].join('');
}

/** The namespace itself answers to DHCP, names, echo and neighbours, and to nothing else. */
function inputChain({ bridge }: NetworkPlace): string {
  return `  chain input {
    type filter hook input priority 0; policy accept;
    iifname "lo" accept
    ct state { established, related } accept
    meta l4proto { icmp, icmpv6 } accept
    iifname "${bridge}" udp dport { 53, 67, 547 } accept
    iifname "${bridge}" tcp dport 53 accept
    drop
  }
`;
}

function translation({ place, side, nics }: NetworkRules): string {
  const { uplink, bridge } = place;
  const inward: string[] = [];
  const outward: string[] = [];
  for (const version of [4, 6] as const) {
    const family = version === 4 ? 'ip' : 'ip6';
    const publics = nics.flatMap(({ nic }) => (nic.publicAddresses ?? []).filter(({ to }) => versionOf(to) === version));
    for (const { address, to } of publics) inward.push(`${family} daddr ${addressOf(address)} dnat ${family} to ${addressOf(to)}`);
    // A NIC that has several public addresses of a version speaks as the first.
    const first = new Map(publics.toReversed().map(({ address, to }) => [addressOf(to), addressOf(address)]));
    for (const [to, address] of first) outward.push(`oifname "${uplink}" ${family} saddr ${to} snat ${family} to ${address}`);
    const inside = version === 4 ? side.inside4 : side.inside6;
    for (const { nic, forwards } of nics) {
      const guest = ofVersion(nic.addresses.slice(0, 1), version)[0];
      if (guest === undefined) continue;
      const target = version === 4 ? guest : `[${guest}]`;
      for (const { port, hostPort } of forwards)
        inward.push(`iifname "${uplink}" ${family} daddr ${inside} tcp dport ${hostPort} dnat ${family} to ${target}:${port}`);
    }
  }
  // What the host itself asks of a guest comes from the gateway, whom every guest can answer.
  const host = `    oifname "${bridge}" ip saddr ${side.host4} masquerade\n    oifname "${bridge}" ip6 saddr ${side.host6} masquerade\n`;
  return `  chain prerouting {
    type nat hook prerouting priority -100; policy accept;
${inward.map((line) => `    ${line}\n`).join('')}  }
  chain postrouting {
    type nat hook postrouting priority 100; policy accept;
${outward.map((line) => `    ${line}\n`).join('')}${host}    oifname "${uplink}" masquerade
  }
`;
}
