import type { DesiredOverlay } from '@virt8ra/contract';

const table = 'v8o';

/**
 * What the tunnels' namespace takes in: answers to measurements, and VXLAN of a network from the machines that have it. A tunnel leads to
 * a machine for the networks that it shares; this keeps it from speaking in others of which it knows or guesses the number.
 */
export function tunnelGuard(udpPort: number, networks: DesiredOverlay['networks']): string {
  const spoken = networks.filter(({ peers }) => peers.length > 0);
  // The VXLAN identifier: 24 bits after the UDP header's 64 and 32 of flags (RFC 7348).
  const verdicts = spoken.map(({ vni }) => `${vni} : jump n${vni}`).join(', ');
  return [
    `table ip6 ${table} {\n}\ndelete table ip6 ${table}\n`,
    `table ip6 ${table} {\n`,
    ...spoken.map(({ vni, peers }) => `  chain n${vni} {\n    ip6 saddr { ${peers.join(', ')} } accept\n  }\n`),
    '  chain input {\n    type filter hook input priority 0; policy drop;\n    iifname "lo" accept\n    meta l4proto icmpv6 accept\n',
    ...(verdicts === '' ? [] : [`    udp dport ${udpPort} @th,96,24 vmap { ${verdicts} }\n`]),
    '  }\n}\n',
  ].join('');
}
