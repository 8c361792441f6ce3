import type { DesiredNetwork } from '@virt8ra/contract';
import { runCommand } from '../system/run-command.js';
import { interfaceName, localMac } from './interface-name.js';

/**
 * Bridges are shared by all agents of a machine that serve the same control plane: the name follows from its CA and the network's VXLAN
 * identifier. Who uses a bridge is written under /run, and both steps run under one lock, so that the last user removes it and nobody else.
 */
const usersRoot = '/run/virt8ra/bridges';

const ensureScript = `
name=$1 agent=$2 mtu=$3 mac=$4 mark=$5; shift 5
mkdir -p "${usersRoot}/$name"; : > "${usersRoot}/$name/$agent"
ip link show dev "$name" >/dev/null 2>&1 ||
  ip link add "$name" address "$mac" type bridge stp_state 0 forward_delay 0 mcast_snooping 0
ip link set dev "$name" alias "$mark" mtu "$mtu" up
for address; do ip address replace "$address" dev "$name" nodad 2>/dev/null || ip address replace "$address" dev "$name"; done
`;

const releaseScript = `
name=$1 agent=$2
rm -f "${usersRoot}/$name/$agent"
if rmdir "${usersRoot}/$name" 2>/dev/null && ip link show dev "$name" >/dev/null 2>&1; then ip link delete dev "$name"; fi
`;

export function bridgeName(controlPlane: string, vni: number): string {
  return interfaceName('v8b', controlPlane, String(vni));
}

/** Makes the bridge as desired and notes that this agent uses it. May be repeated. */
export async function ensureBridge(name: string, agent: string, network: DesiredNetwork): Promise<void> {
  await locked(ensureScript, [name, agent, String(network.mtu), localMac(name), `virt8ra:${network.key}`, ...network.gateways]);
}

/** This agent no longer uses the bridge; the last one to say so removes it. May be repeated. */
export async function releaseBridge(name: string, agent: string): Promise<void> {
  await locked(releaseScript, [name, agent]);
}

async function locked(script: string, args: readonly string[]): Promise<void> {
  await runCommand('mkdir', ['-p', usersRoot]);
  await runCommand('flock', ['-w', '20', `${usersRoot}/.lock`, 'sh', '-euc', script, 'sh', ...args], { timeoutMs: 30_000 });
}
