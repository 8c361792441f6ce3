import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { type DesiredNetwork, Problem } from '@virt8ra/contract';
import { runCommand } from '../system/run-command.js';
import type { NetworkPlace } from './network-place.js';

/**
 * A network's namespace is shared by the agents of a machine. Who uses it is written under /run, and making and removing run under one
 * lock, so that the last user removes it and nobody else. Each has a number on this machine, of which the addresses towards the host are
 * made: nobody's prefix but the host's own.
 */
export const networksRoot = '/run/virt8ra/networks';

/** Ranges of the pairs between host and namespaces. Link-local addresses are routed by nobody; the other is a random unique local prefix. */
export const hostRange4 = '169.254.0.0/17';
export const hostRange6 = 'fdc6:8b1a:7e48::/48';
const numbers = 16_256;

/**
 * A name of a namespace is a mount. An agent whose service manager gives it mounts of its own would take the name, and the namespace, with it
 * when it ends; so that names are made where process 1 is, and appear here from there.
 */
const hostFunction = `host() {
  first=$(readlink /proc/1/ns/mnt 2>/dev/null || true)
  if [ -z "$first" ] || [ "$first" = "$(readlink /proc/self/ns/mnt)" ]; then "$@"; else nsenter --mount=/proc/1/ns/mnt "$@"; fi
}
`;

const ensureScript = `${hostFunction}
ns=$1 agent=$2 held=$3 start=$4 bridge=$5 mac=$6 hostlink=$7 uplink=$8 mtu=$9 mark=\${10}; shift 10
dir="${networksRoot}/$ns"; mkdir -p "$dir/users"; : > "$dir/users/$agent"
if ! nsenter --net="/run/netns/$ns" true 2>/dev/null; then
  if [ -n "$held" ]; then mkdir -p /run/netns; : > "/run/netns/$ns"; host mount --no-canonicalize --bind "$held" "/run/netns/$ns"
  else rm -f "/run/netns/$ns"; host ip netns add "$ns"; fi
fi
if ! [ -s "$dir/number" ]; then
  n=$start; while grep -qsx "$n" "${networksRoot}"/*/number; do n=$(( (n + 1) % ${numbers} )); done
  echo "$n" > "$dir/number"
fi
n=$(cat "$dir/number"); net=169.254.$(( n / 128 + 1 )); low=$(( n % 128 * 2 )); six=$(printf 'fdc6:8b1a:7e48:%x::' "$n")
inside() { nsenter --net="/run/netns/$ns" "$@"; }
inside sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv6.conf.default.accept_ra=0 net.ipv4.conf.all.send_redirects=0 \\
  net.ipv4.conf.default.send_redirects=0
inside sysctl -qw net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=1 net.bridge.bridge-nf-call-arptables=0 2>/dev/null || true
ip -n "$ns" link set dev lo up
ip -n "$ns" link show dev "$bridge" >/dev/null 2>&1 ||
  ip -n "$ns" link add "$bridge" address "$mac" type bridge stp_state 0 forward_delay 0 mcast_snooping 0
ip -n "$ns" link set dev "$bridge" alias "$mark" mtu "$mtu" up
for address; do
  ip -n "$ns" address replace "$address" dev "$bridge" nodad 2>/dev/null || ip -n "$ns" address replace "$address" dev "$bridge"
done
ip -n "$ns" -o address show dev "$bridge" scope global | while read -r _ _ _ there _; do
  for address; do if [ "$address" = "$there" ]; then continue 2; fi; done
  ip -n "$ns" address delete "$there" dev "$bridge"
done
if ! ip link show dev "$hostlink" >/dev/null 2>&1 || ! ip -n "$ns" link show dev "$uplink" >/dev/null 2>&1; then
  ip link delete dev "$hostlink" 2>/dev/null || true
  ip -n "$ns" link delete dev "$uplink" 2>/dev/null || true
  ip link add "$hostlink" mtu "$mtu" type veth peer name "$uplink" mtu "$mtu" netns "$ns"
fi
ip link set dev "$hostlink" alias "$mark" up
ip -n "$ns" link set dev "$uplink" up
ip address replace "$net.$low/31" dev "$hostlink"
ip -n "$ns" address replace "$net.$(( low + 1 ))/31" dev "$uplink"
if [ -e /proc/sys/net/ipv6 ]; then
  ip address replace "\${six}1/64" dev "$hostlink" nodad
  ip -n "$ns" address replace "\${six}2/64" dev "$uplink" nodad
fi
sysctl -qw "net.ipv4.conf.$hostlink.forwarding=1" "net.ipv4.conf.$hostlink.rp_filter=0"
sysctl -qw "net.ipv6.conf.$hostlink.force_forwarding=1" "net.ipv6.conf.$hostlink.accept_ra=0" 2>/dev/null || true
echo "$n"
`;

const releaseScript = `${hostFunction}
ns=$1 agent=$2 hostlink=$3
dir="${networksRoot}/$ns"
rm -f "$dir/users/$agent" "$dir/hosts/$agent" "$dir/leases/$agent" "$dir/options/$agent"
if rmdir "$dir/users" 2>/dev/null || ! [ -e "$dir/users" ]; then
  if [ -s "$dir/dnsmasq.pid" ] && grep -qsx dnsmasq "/proc/$(cat "$dir/dnsmasq.pid")/comm"; then kill "$(cat "$dir/dnsmasq.pid")"; fi
  host ip netns delete "$ns" 2>/dev/null || rm -f "/run/netns/$ns"
  ip link delete dev "$hostlink" 2>/dev/null || true
  rm -rf "$dir"
fi
`;

/** Makes a namespace with its name. */
export async function addNamespace(namespace: string): Promise<void> {
  await runCommand('sh', ['-euc', `${hostFunction}\nhost ip netns add "$1"`, 'sh', namespace]);
}

/** Takes a namespace's name away, and the namespace with it when nobody holds it. */
export async function deleteNamespace(namespace: string): Promise<void> {
  await runCommand('sh', ['-euc', `${hostFunction}\nhost ip netns delete "$1"`, 'sh', namespace]);
}

/** A namespace's addresses on its pair to the host. */
export interface HostSide {
  readonly host4: string;
  readonly inside4: string;
  readonly host6: string;
  readonly inside6: string;
}

/**
 * Makes the namespace, its bridge and its pair to the host as desired, and notes that this agent uses it; answers the pair's addresses. May
 * be repeated. `held` is a path of a descriptor of the namespace: the one that guests' taps are in, in case its name was taken away.
 */
export async function ensureNamespace(
  place: NetworkPlace,
  agent: string,
  network: DesiredNetwork,
  held: string | undefined,
): Promise<HostSide> {
  const { namespace, bridge, gatewayMac, hostLink, uplink } = place;
  const start = createHash('sha256').update(namespace).digest().readUInt32BE(0) % numbers;
  const answer = await locked(ensureScript, [
    ...[namespace, agent, held ?? '', String(start), bridge, gatewayMac, hostLink, uplink],
    ...[String(network.mtu), `virt8ra:${network.key}`, ...network.gateways],
  ]);
  return hostSide(Number(answer.trim()));
}

/** This agent no longer uses the namespace; the last one to say so removes it. May be repeated. */
export async function releaseNamespace(place: NetworkPlace, agent: string): Promise<void> {
  await locked(releaseScript, [place.namespace, agent, place.hostLink]);
}

export function hostSide(number: number): HostSide {
  if (!Number.isInteger(number) || number < 0 || number >= numbers)
    throw new Problem('internal', `${networksRoot} holds a number that is none`);
  const low = (number % 128) * 2;
  const net = `169.254.${Math.floor(number / 128) + 1}`;
  const six = `fdc6:8b1a:7e48:${number.toString(16)}::`;
  return { host4: `${net}.${low}`, inside4: `${net}.${low + 1}`, host6: `${six}1`, inside6: `${six}2` };
}

/** Keeps a namespace alive, whatever happens to its name, for as long as the descriptor is open. */
export async function holdNamespace(namespace: string): Promise<FileHandle> {
  return await open(`/run/netns/${namespace}`, 'r');
}

/** Runs a task of the machine that no other agent runs meanwhile. */
export async function locked(script: string, args: readonly string[]): Promise<string> {
  await runCommand('mkdir', ['-p', networksRoot]);
  return await runCommand('flock', ['-w', '20', `${networksRoot}/.lock`, 'sh', '-euc', script, 'sh', ...args], { timeoutMs: 30_000 });
}
