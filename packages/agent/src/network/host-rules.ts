import { createHash } from 'node:crypto';
import { isIPv4 } from 'node:net';
import { runCommand } from '../system/run-command.js';
import { type HostSide, hostRange4, hostRange6 } from './namespaces.js';
import { tableName } from './network-rules.js';

/** A port of this host that leads to one of the same number in a network's namespace. */
export interface HostForward {
  readonly hostPort: number;
  readonly side: HostSide;
}

/**
 * Rules of the host's own namespace that all agents of a machine share and write alike: guests do not reach the host's own services nor, past
 * their public addresses, each other's namespaces; what leaves by the host bears its address; what comes in by a forward is answered by it.
 */
const sharedRules = `table inet virt8ra {
  chain input {
    type filter hook input priority 0; policy accept;
    iifname "v8h*" ct state { established, related } accept
    iifname "v8h*" meta l4proto { icmp, icmpv6 } accept
    iifname "v8h*" drop
  }
  chain forward {
    type filter hook forward priority 0; policy accept;
    iifname "v8h*" ct status & dnat == dnat accept
    iifname "v8h*" ct state { established, related } accept
    iifname "v8h*" ip daddr ${hostRange4} drop
    iifname "v8h*" ip6 daddr ${hostRange6} drop
  }
  chain postrouting {
    type nat hook postrouting priority 100; policy accept;
    oifname "v8h*" ct status & dnat == dnat masquerade
    oifname != "v8h*" iifname "v8h*" ip saddr ${hostRange4} masquerade
    oifname != "v8h*" iifname "v8h*" ip6 saddr ${hostRange6} masquerade
  }
}
`;

/** Where a guest's exposed port is reached: at the host's address, or, where that is the loopback, at the namespace's own. */
export function forwardAddress(dataAddress: string, side: Pick<HostSide, 'inside4' | 'inside6'>): string {
  if (!isLoopback(dataAddress)) return dataAddress;
  return isIPv4(dataAddress) ? side.inside4 : side.inside6;
}

function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.');
}

export function hostRules(agent: string, dataAddress: string, forwards: readonly HostForward[]): string {
  const table = tableName(agent);
  const four = isIPv4(dataAddress);
  const lines = isLoopback(dataAddress)
    ? []
    : [...forwards]
        .sort((left, right) => left.hostPort - right.hostPort)
        .map(({ hostPort, side }) =>
          four
            ? `ip daddr ${dataAddress} tcp dport ${hostPort} dnat ip to ${side.inside4}`
            : `ip6 daddr ${dataAddress} tcp dport ${hostPort} dnat ip6 to ${side.inside6}`,
        );
  const chain = (hook: string) =>
    `  chain ${hook} {\n    type nat hook ${hook} priority -100; policy accept;\n${lines.map((line) => `    ${line}\n`).join('')}  }\n`;
  return [
    ...['virt8ra', table].map((name) => `table inet ${name} {\n}\ndelete table inet ${name}\n`),
    sharedRules,
    `table inet ${table} {\n${chain('prerouting')}${chain('output')}}\n`,
  ].join('');
}

/** This agent's rules in the host's own namespace, kept as they should be. */
export class HostRules {
  readonly #agent: string;
  #applied: { readonly text: string; readonly seen: string } | undefined;

  constructor(agent: string) {
    this.#agent = agent;
  }

  /** Makes the kernel's rules these, if they are not. Answers whether they had been changed by somebody else. */
  async ensure(dataAddress: string, forwards: readonly HostForward[], leaves: boolean): Promise<boolean> {
    const text = hostRules(this.#agent, dataAddress, forwards);
    const before = this.#applied;
    if (before?.text === text && before.seen === (await this.#look())) return false;
    await runCommand('nft', ['-f', '-'], { input: text });
    if (leaves || (forwards.length > 0 && !isLoopback(dataAddress))) await forwardOn(await outerDevices(dataAddress));
    this.#applied = { text, seen: await this.#look() };
    return before?.text === text;
  }

  /** This agent uses no network any more. */
  async clear(): Promise<void> {
    const table = tableName(this.#agent);
    await runCommand('nft', ['-f', '-'], { input: `table inet ${table} {\n}\ndelete table inet ${table}\n` });
    this.#applied = undefined;
  }

  async #look(): Promise<string> {
    const tables = ['virt8ra', tableName(this.#agent)].map((table) => `nft -s list table inet ${table} 2>/dev/null || true`);
    const text = await runCommand('sh', ['-c', tables.join('\n')]).catch(() => '');
    return createHash('sha256').update(text).digest('hex');
  }
}

interface Route {
  readonly dst: string;
  readonly dev?: string;
}

/** Devices by which packets of guests leave this host: those of its default routes and of its data address. */
async function outerDevices(dataAddress: string): Promise<string[]> {
  const routes = async (...words: string[]) => JSON.parse((await runCommand('ip', ['-j', ...words]).catch(() => '')) || '[]') as Route[];
  const addresses = JSON.parse(await runCommand('ip', ['-j', 'address', 'show'])) as {
    ifname: string;
    addr_info: { local?: string }[];
  }[];
  return [
    ...(await routes('-4', 'route', 'show', 'default')).map(({ dev }) => dev),
    ...(await routes('-6', 'route', 'show', 'default')).map(({ dev }) => dev),
    ...addresses.filter(({ addr_info }) => addr_info.some(({ local }) => local === dataAddress)).map(({ ifname }) => ifname),
  ].filter((device): device is string => device !== undefined && device !== 'lo');
}

/** Lets packets that come in by a device be passed on. IPv6 only where the kernel can do that for one device: for all, it would turn a host into a router. */
export async function forwardOn(devices: readonly string[]): Promise<void> {
  for (const device of new Set(devices)) {
    await runCommand('sysctl', ['-qw', `net.ipv4.conf.${device}.forwarding=1`]);
    await runCommand('sysctl', ['-qw', `net.ipv6.conf.${device}.force_forwarding=1`]).catch(() => {});
  }
}
