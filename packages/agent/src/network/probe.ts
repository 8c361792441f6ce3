import { access, chmod, readFile, stat } from 'node:fs/promises';
import type { AgentFeature } from '@virt8ra/contract';
import { hasCommand, runCommand } from '../system/run-command.js';
import { interfaceName, shaperName } from './interface-name.js';
import { runInside } from './network-place.js';
import { limitRate } from './rates.js';

export interface NetworkingProbe {
  /** Whether this process may make namespaces, bridges, taps and rules. */
  readonly usable: boolean;
  readonly reason: string;
  readonly features: readonly AgentFeature[];
  /** What is lacking though it is usable, each a sentence. */
  readonly limits: readonly string[];
}

const packages: Readonly<Record<string, string>> = {
  ip: 'iproute2',
  tc: 'iproute2',
  nft: 'nftables',
  nsenter: 'util-linux',
  flock: 'util-linux',
  sysctl: 'procps',
};

/** Finds out what networks on this host can be by making one of each part. */
export async function probeNetworking(agent: string): Promise<NetworkingProbe> {
  const unusable = (reason: string): NetworkingProbe => ({ usable: false, reason, features: [], limits: [] });
  for (const [command, debianPackage] of Object.entries(packages))
    if (!(await hasCommand(command))) return unusable(`${command} is not installed (Debian: ${debianPackage})`);
  const name = (prefix: 'v8n' | 'v8b' | 'v8t' | 'v8h' | 'v8u') => interfaceName(prefix, 'probe', agent, String(process.pid));
  const [namespace, bridge, tap, hostLink] = [name('v8n'), name('v8b'), name('v8t'), name('v8h')];
  try {
    await runCommand('ip', ['netns', 'add', namespace]);
    await runCommand('ip', ['-n', namespace, 'link', 'add', bridge, 'type', 'bridge']);
    await runCommand('ip', ['link', 'add', hostLink, 'type', 'veth', 'peer', 'name', name('v8u'), 'netns', namespace]);
    await runCommand('ip', ['tuntap', 'add', 'dev', tap, 'mode', 'tap']);
    await openTunDevice();
    await runCommand('ip', ['link', 'set', 'dev', tap, 'netns', namespace]);
    await runCommand('ip', ['-n', namespace, 'link', 'set', 'dev', tap, 'master', bridge]);
    await runInside(namespace, 'nft', ['-f', '-'], probeRules);
    await runCommand('nft', ['list', 'tables']);
    const features: AgentFeature[] = ['namespaces', 'routes', 'neighbours', 'public-addresses', 'anti-spoofing'];
    const limits: string[] = [];
    const add = (feature: AgentFeature, lacking: string | undefined) => {
      if (lacking === undefined) features.push(feature);
      else limits.push(lacking);
    };
    add('filters', await bridgesAreFiltered(namespace));
    add('ipv6-routes', await ipv6IsForwarded());
    add(
      'rates',
      await limitRate(namespace, tap, { megabitsPerSecond: 100 }).then(
        () => undefined,
        (error: unknown) => `rates of NICs cannot be limited: ${error instanceof Error ? error.message : String(error)}`,
      ),
    );
    const dnsmasq = (await hasCommand('dnsmasq'))
      ? undefined
      : 'dnsmasq is not installed (Debian: dnsmasq-base): networks have neither DHCP nor names';
    add('dhcp', dnsmasq);
    if (dnsmasq === undefined) features.push('dns');
    return { usable: true, reason: 'namespaces, bridges, taps and rules can be made', features, limits };
  } catch (error) {
    return unusable(error instanceof Error ? error.message : String(error));
  } finally {
    await runCommand('ip', ['link', 'delete', 'dev', tap]).catch(() => {});
    for (const device of [tap, shaperName(tap)]) await runCommand('ip', ['-n', namespace, 'link', 'delete', 'dev', device]).catch(() => {});
    await runCommand('ip', ['link', 'delete', 'dev', hostLink]).catch(() => {});
    await runCommand('ip', ['netns', 'delete', namespace]).catch(() => {});
  }
}

const probeRules = `table bridge v8a_probe {
  chain prerouting {
    type filter hook prerouting priority -300; policy accept;
    arp saddr ip 192.0.2.1 limit rate over 10/second drop
  }
}
table inet v8a_probe {
  chain forward {
    type filter hook forward priority 0; policy accept;
    ct state { established, related } accept
  }
  chain postrouting {
    type nat hook postrouting priority 100; policy accept;
    masquerade
  }
}
`;

/**
 * Stateful rules see bridged packets only through br_netfilter. Where loading it is this agent's doing, the host's own bridges are left
 * as they were. Answers what is lacking.
 */
async function bridgesAreFiltered(namespace: string): Promise<string | undefined> {
  const switches = '/proc/sys/net/bridge/bridge-nf-call-iptables';
  const there = async () =>
    await access(switches).then(
      () => true,
      () => false,
    );
  if (!(await there())) {
    await runCommand('modprobe', ['br_netfilter']).catch(() => '');
    if (await there())
      await runCommand('sysctl', [
        '-qw',
        'net.bridge.bridge-nf-call-iptables=0',
        'net.bridge.bridge-nf-call-ip6tables=0',
        'net.bridge.bridge-nf-call-arptables=0',
      ]);
  }
  const ours = ['net.bridge.bridge-nf-call-iptables=1', 'net.bridge.bridge-nf-call-ip6tables=1'];
  return await runInside(namespace, 'sysctl', ['-qw', ...ours]).then(
    () => undefined,
    () => 'security groups do not hold here: the kernel module br_netfilter is not there',
  );
}

/** Answers what is lacking. Agents never let a host forward IPv6 for all its devices: it would stop listening to router advertisements. */
async function ipv6IsForwarded(): Promise<string | undefined> {
  const settings = '/proc/sys/net/ipv6/conf/all';
  const forwardsAll = (await readFile(`${settings}/forwarding`, 'utf8').catch(() => '')).trim() === '1';
  const forwardsOne = await access(`${settings}/force_forwarding`).then(
    () => true,
    () => false,
  );
  if (forwardsAll || forwardsOne) return undefined;
  return 'IPv6 does not leave this host: its kernel cannot forward it for single devices (before Linux 6.17), and does not for all (net.ipv6.conf.all.forwarding)';
}

/**
 * Guests open their taps under users of their own, through /dev/net/tun. Where no udev has given it the usual mode 0666, this does: opening it gives
 * nobody any right, because a tap belongs to its user and making one needs CAP_NET_ADMIN.
 */
async function openTunDevice(): Promise<void> {
  const { mode } = await stat('/dev/net/tun');
  if ((mode & 0o006) !== 0o006) await chmod('/dev/net/tun', 0o666);
}
