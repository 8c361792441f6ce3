import { chmod, stat } from 'node:fs/promises';
import { hasCommand, runCommand } from '../system/run-command.js';
import { interfaceName } from './interface-name.js';

/** Taps carry their owner in the alias: `virt8ra:AGENT:NIC`. */
function tapAlias(agent: string, nicKey: string): string {
  return `virt8ra:${agent}:${nicKey}`;
}

export function tapName(agent: string, nicKey: string): string {
  return interfaceName('v8t', agent, nicKey);
}

/** Makes a tap that only `uid` may open, as a port of `bridge`. An older one of that name is replaced. */
export async function createTap(agent: string, nicKey: string, bridge: string, mtu: number, uid: number): Promise<string> {
  const name = tapName(agent, nicKey);
  await deleteTap(name);
  await runCommand('ip', ['tuntap', 'add', 'dev', name, 'mode', 'tap', 'user', String(uid)]);
  await runCommand('ip', ['link', 'set', 'dev', name, 'alias', tapAlias(agent, nicKey), 'mtu', String(mtu), 'master', bridge, 'up']);
  return name;
}

export async function deleteTap(name: string): Promise<void> {
  if ((await listLinks()).some((link) => link.ifname === name)) await runCommand('ip', ['link', 'delete', 'dev', name]);
}

/** Removes this agent's taps that belong to none of `used`. Answers how many. */
export async function sweepTaps(agent: string, used: ReadonlySet<string>): Promise<number> {
  const prefix = tapAlias(agent, '');
  const orphans = (await listLinks()).filter((link) => link.ifalias?.startsWith(prefix) === true && !used.has(link.ifname));
  for (const { ifname } of orphans) await runCommand('ip', ['link', 'delete', 'dev', ifname]);
  return orphans.length;
}

interface Link {
  readonly ifname: string;
  readonly ifalias?: string;
}

async function listLinks(): Promise<Link[]> {
  return JSON.parse(await runCommand('ip', ['-j', 'link', 'show'])) as Link[];
}

/** Whether this process may make bridges and taps, found out by making one of each. */
export async function probeBridging(agent: string): Promise<{ readonly usable: boolean; readonly reason: string }> {
  if (!(await hasCommand('ip'))) return { usable: false, reason: 'iproute2 (`ip`) is not installed' };
  const bridge = interfaceName('v8b', 'probe', agent, String(process.pid));
  const tap = interfaceName('v8t', 'probe', agent, String(process.pid));
  try {
    await runCommand('ip', ['link', 'add', bridge, 'type', 'bridge']);
    await runCommand('ip', ['tuntap', 'add', 'dev', tap, 'mode', 'tap']);
    await runCommand('ip', ['link', 'set', 'dev', tap, 'master', bridge]);
    await openTunDevice();
    return { usable: true, reason: 'bridges and taps can be made' };
  } catch (error) {
    return { usable: false, reason: error instanceof Error ? error.message : String(error) };
  } finally {
    for (const name of [tap, bridge]) await runCommand('ip', ['link', 'delete', 'dev', name]).catch(() => {});
  }
}

/**
 * Guests open their taps under users of their own, through /dev/net/tun. Where no udev has given it the usual mode 0666, this does: opening it gives
 * nobody any right, because a tap belongs to its user and making one needs CAP_NET_ADMIN.
 */
async function openTunDevice(): Promise<void> {
  const { mode } = await stat('/dev/net/tun');
  if ((mode & 0o006) !== 0o006) await chmod('/dev/net/tun', 0o666);
}
