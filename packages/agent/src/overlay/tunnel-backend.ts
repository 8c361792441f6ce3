import { createHash } from 'node:crypto';
import { readlink } from 'node:fs/promises';
import { interfaceName } from '../network/interface-name.js';
import { hasCommand, runCommand } from '../system/run-command.js';

/** How tunnels are made here. `none`: networks of this host stay on its machine, for the reason given. */
export interface TunnelBackend {
  readonly mode: 'kernel' | 'userspace' | 'none';
  readonly reason: string;
}

/** Looks at what this host has: WireGuard in the kernel, else `wireguard-go`. Found out by making a device, not by asking for versions; `agentId` tells those who do so apart. */
export async function chooseTunnelBackend(
  agentId: string,
  wanted: 'auto' | 'userspace' | 'off',
  networking: { readonly mode: 'bridge' | 'user' },
): Promise<TunnelBackend> {
  if (wanted === 'off') return { mode: 'none', reason: 'switched off by --overlay' };
  if (networking.mode !== 'bridge') return { mode: 'none', reason: 'networks here are of user mode, one for each guest' };
  for (const [command, debianPackage] of neededCommands) {
    if (!(await hasCommand(command))) return { mode: 'none', reason: `${command} is not installed (Debian: ${debianPackage})` };
  }
  const missing = await missingVxlan(agentId);
  if (missing !== undefined) return { mode: 'none', reason: `VXLAN devices in network namespaces cannot be made: ${missing}` };
  const probe = interfaceName('v8w', 'probe', agentId);
  let kernel = 'not asked, by --overlay userspace';
  if (wanted === 'auto') {
    try {
      // One left here by an agent that was killed before it took it away.
      await runCommand('ip', ['link', 'delete', probe]).catch(() => {});
      await runCommand('ip', ['link', 'add', probe, 'type', 'wireguard']);
      await runCommand('ip', ['link', 'delete', probe]);
      return { mode: 'kernel', reason: 'the kernel has WireGuard' };
    } catch (error) {
      kernel = `the kernel has no WireGuard (${firstLine(error)})`;
    }
  }
  if (await hasCommand('wireguard-go')) return { mode: 'userspace', reason: `wireguard-go; ${kernel}` };
  return { mode: 'none', reason: `${kernel}, and wireguard-go is not installed (Debian: wireguard-go)` };
}

const neededCommands = [
  ['wg', 'wireguard-tools'],
  ['nft', 'nftables'],
  ['ping', 'iputils-ping'],
  ['bridge', 'iproute2'],
  ['nsenter', 'util-linux'],
] as const;

async function missingVxlan(agentId: string): Promise<string | undefined> {
  const namespace = interfaceName('v8o', 'probe', agentId);
  const words = ['vxlan', 'id', '1', 'local', '::1', 'dstport', '4789'];
  try {
    await runCommand('ip', ['netns', 'delete', namespace]).catch(() => {});
    await runCommand('ip', ['netns', 'add', namespace]);
    await runCommand('ip', ['-n', namespace, 'link', 'add', 'v8xprobe', 'type', ...words]);
    return undefined;
  } catch (error) {
    return firstLine(error);
  } finally {
    await runCommand('ip', ['netns', 'delete', namespace]).catch(() => {});
  }
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0]?.slice(0, 300) ?? '';
}

/** Equal for agents that see the same bridges: one kernel, one network namespace. */
export async function segmentId(bootId: string): Promise<string> {
  const namespace = await readlink('/proc/self/ns/net');
  return createHash('sha256').update(`${bootId}\n${namespace}`).digest('hex').slice(0, 24);
}
