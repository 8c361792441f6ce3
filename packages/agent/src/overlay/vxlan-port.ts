import { createHash } from 'node:crypto';
import { Problem } from '@virt8ra/contract';
import { interfaceName, localMac } from '../network/interface-name.js';
import { runInside } from '../network/network-place.js';
import { runCommand } from '../system/run-command.js';

/** Where a network's bridge is: its name, and its network namespace unless that is the agent's own. */
export interface BridgePlace {
  readonly bridge: string;
  readonly namespace?: string;
}

/** A network's way into the tunnels, as a port of its bridge. */
export interface VxlanPort {
  readonly vni: number;
  readonly mtu: number;
  /** This host's end of its tunnels. */
  readonly local: string;
  /** Tunnel addresses of the hosts that have the network too. */
  readonly peers: readonly string[];
}

/** How the device is called, whose it is, and the namespace of the tunnels that its packets go through. */
export interface VxlanDevice {
  readonly name: string;
  readonly alias: string;
  readonly tunnels: string;
}

/** `absent`: the bridge is not there (yet), so that there is nothing to join. */
export type JoinOutcome = 'joined' | 'absent';

/** The UDP port of VXLAN inside the tunnels: one for each control plane, so that two on one machine do not meet. Open in the tunnels' namespace alone. */
export function vxlanUdpPort(controlPlane: string): number {
  return 30_000 + (createHash('sha256').update(controlPlane).digest().readUInt32BE(0) % 2000);
}

export function vxlanName(controlPlane: string, vni: number): string {
  return interfaceName('v8x', controlPlane, String(vni));
}

interface VxlanLink {
  readonly ifalias?: string;
  readonly mtu: number;
  readonly master?: string;
  readonly flags: readonly string[];
  readonly linkinfo?: { readonly info_data?: { readonly local6?: string; readonly port?: number; readonly id?: number } };
}

/**
 * Makes the VXLAN device, first where the tunnels are, whence its packets go for good, and then moved to the bridge, with exactly these peers:
 * no packet of a network has a way to a wire but through a tunnel, and none is taken from elsewhere. Unknown and broadcast frames go to each
 * of them; whence a guest's frames came is learnt from them, so that a guest that moved is followed as soon as it is announced. The bridge's
 * own frames stay on this machine, since every host answers its own guests as their gateway, save what it routes to a guest: that goes under the
 * MAC of the device, which no other machine has. May be repeated.
 */
export async function joinNetwork(
  { name, alias, tunnels }: VxlanDevice,
  udpPort: number,
  port: VxlanPort,
  place: BridgePlace,
): Promise<JoinOutcome> {
  const at = namespaceWords(place);
  const mac = localMac(name, port.local);
  if ((await linkNamed(place, place.bridge)) === undefined) {
    await leaveNetwork({ name, alias, tunnels }, place);
    return 'absent';
  }
  let link = await linkNamed(place, name);
  if (link !== undefined && !isAsWanted(link, udpPort, port)) {
    await runCommand('ip', [...at, 'link', 'delete', 'dev', name]);
    link = undefined;
  }
  if (link === undefined) {
    // One left here by an agent that was killed before the device was moved.
    await runCommand('ip', ['-n', tunnels, 'link', 'delete', 'dev', name]).catch(() => {});
    // WireGuard has authenticated every packet: a checksum of its content once more would only take time (RFC 6935).
    const unsummed = ['udp6zerocsumtx', 'udp6zerocsumrx'];
    const kind = [
      'vxlan',
      'id',
      String(port.vni),
      'local',
      port.local,
      'dstport',
      String(udpPort),
      'ttl',
      '64',
      'ageing',
      '300',
      ...unsummed,
    ];
    const words = [name, 'address', mac, 'mtu', String(port.mtu), 'type', ...kind];
    await runCommand('ip', ['-n', tunnels, 'link', 'add', ...words]);
    // With its mark in the same step: what an agent that is killed after it has left behind is known as its own.
    await runCommand('ip', ['-n', tunnels, 'link', 'set', 'dev', name, 'alias', alias, 'netns', place.namespace ?? String(process.pid)]);
  }
  await inNamespace(place, 'nft', ['-f', '-'], gatewayRules(name, mac));
  if (link?.ifalias !== alias || link.mtu !== port.mtu || link.master !== place.bridge || !link.flags.includes('UP')) {
    const words = ['alias', alias, 'mtu', String(port.mtu), 'master', place.bridge, 'up'];
    await runCommand('ip', [...at, 'link', 'set', 'dev', name, 'addrgenmode', 'none', ...words]);
  }
  await follow(name, port.peers, place);
  return 'joined';
}

/** Takes the device away if `alias` says that it is this agent's. May be repeated. */
export async function leaveNetwork({ name, alias }: VxlanDevice, place: BridgePlace): Promise<void> {
  if ((await linkNamed(place, name))?.ifalias !== alias) return;
  await runCommand('ip', [...namespaceWords(place), 'link', 'delete', 'dev', name]).catch(() => {});
  await inNamespace(place, 'nft', ['-f', '-'], `table bridge ${name}\ndelete table bridge ${name}\n`).catch(() => {});
}

function isAsWanted({ linkinfo }: VxlanLink, udpPort: number, { vni, local }: VxlanPort): boolean {
  const { id, port, local6 } = linkinfo?.info_data ?? {};
  return id === vni && port === udpPort && local6 === local;
}

/**
 * Of what the gateway itself sends, only packets to one guest leave the machine, under the device's own MAC: the gateway's is on every machine. Of
 * what comes, it hears only that a packet of that MAC was too large for its tunnel, which the device itself says.
 */
function gatewayRules(name: string, mac: string): string {
  return `table bridge ${name}
delete table bridge ${name}
table bridge ${name} {
  chain input {
    type filter hook input priority 0; policy accept;
    iifname "${name}" ether daddr ${mac} icmp type destination-unreachable icmp code frag-needed accept
    iifname "${name}" ether daddr ${mac} icmpv6 type packet-too-big accept
    iifname "${name}" drop
  }
  chain output {
    type filter hook output priority 0; policy accept;
    oifname != "${name}" accept
    ether type != { ip, ip6 } drop
    ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00 drop
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, nd-router-advert, nd-redirect } drop
    udp sport { 67, 547 } drop
    ether saddr set ${mac}
  }
}
`;
}

/** Frames for everybody, and for those not met yet, go to each peer: the all-zero entries of the device's forwarding table. */
async function follow(name: string, peers: readonly string[], place: BridgePlace): Promise<void> {
  const text = await runCommand('bridge', [...namespaceWords(place), '-j', 'fdb', 'show', 'dev', name]);
  const entries = JSON.parse(text === '' ? '[]' : text) as { mac: string; dst?: string }[];
  const everybody = '00:00:00:00:00:00';
  const have = new Set(entries.flatMap(({ mac, dst }) => (mac === everybody && dst !== undefined ? [dst] : [])));
  const wanted = new Set(peers);
  const lines = [
    ...peers.filter((peer) => !have.has(peer)).map((peer) => `fdb append ${everybody} dev ${name} dst ${peer} self permanent`),
    ...[...have].filter((peer) => !wanted.has(peer)).map((peer) => `fdb delete ${everybody} dev ${name} dst ${peer} self`),
    // What was learnt of a host that is no peer any more.
    ...entries.flatMap(({ mac, dst }) =>
      mac !== everybody && dst !== undefined && !wanted.has(dst) ? [`fdb delete ${mac} dev ${name} dst ${dst} self`] : [],
    ),
  ];
  if (lines.length === 0) return;
  await runCommand('bridge', [...namespaceWords(place), '-force', '-batch', '-'], { input: `${lines.join('\n')}\n` });
}

async function linkNamed(place: BridgePlace, name: string): Promise<VxlanLink | undefined> {
  try {
    const [link] = JSON.parse(await runCommand('ip', [...namespaceWords(place), '-j', '-d', 'link', 'show', 'dev', name])) as VxlanLink[];
    return link;
  } catch (error) {
    if (error instanceof Problem && error.kind !== 'internal') throw error;
    return undefined;
  }
}

function namespaceWords({ namespace }: BridgePlace): string[] {
  return namespace === undefined ? [] : ['-n', namespace];
}

async function inNamespace({ namespace }: BridgePlace, command: string, args: readonly string[], input: string): Promise<void> {
  if (namespace === undefined) await runCommand(command, args, { input });
  else await runInside(namespace, command, args, input);
}
