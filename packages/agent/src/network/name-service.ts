import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { DesiredNetwork, DesiredNic } from '@virt8ra/contract';
import { readText } from '../disk/atomic-file.js';
import { hasCommand } from '../system/run-command.js';
import { addressOf, ofVersion, rangeOf, subnet4, subnet6 } from './address.js';
import { networksRoot } from './namespaces.js';
import { type NetworkPlace, runInside } from './network-place.js';

/** A NIC that DHCP serves, under its guest's name. */
export interface ServedNic {
  readonly nic: DesiredNic;
  readonly hostname: string;
}

export interface NameServiceState {
  readonly dhcp: 'serving' | 'off' | 'failed';
  readonly dns: 'serving' | 'off' | 'failed';
  readonly limits: readonly string[];
  /** It had ended by itself and was started again. */
  readonly revived: boolean;
}

const nameOnly = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/i;

/**
 * DHCP and names of one network: a dnsmasq in its namespace, shared by the agents of the machine. Its configuration is the network's; the NICs
 * of each agent are in files of that agent, and only they are answered.
 */
export async function ensureNameService(
  agent: string,
  place: NetworkPlace,
  network: DesiredNetwork,
  nics: readonly ServedNic[],
): Promise<NameServiceState> {
  const wanted = network.dhcp === true || network.dns !== undefined;
  const state = (word: 'serving' | 'failed'): Pick<NameServiceState, 'dhcp' | 'dns'> => ({
    dhcp: network.dhcp === true ? word : 'off',
    dns: network.dns === undefined ? 'off' : word,
  });
  const folder = join(networksRoot, place.namespace);
  const pid = await runningPid(folder);
  if (!wanted) {
    if (pid !== undefined) process.kill(pid, 'SIGTERM');
    return { dhcp: 'off', dns: 'off', limits: [], revived: false };
  }
  if (!(await hasCommand('dnsmasq'))) {
    const limits = ['dnsmasq is not installed on this host (Debian: dnsmasq-base): neither DHCP nor names are served there'];
    return { ...state('failed'), limits, revived: false };
  }
  const changed: boolean[] = [];
  for (const [name, text] of Object.entries(agentFiles(network, nics))) {
    await mkdir(join(folder, name), { recursive: true, mode: 0o755 });
    changed.push(await writeIfOther(join(folder, name, agent), text));
  }
  const configuration = nameServiceConfiguration(folder, place, network, await upstreamsOf(network));
  const other = await writeIfOther(join(folder, 'dnsmasq.conf'), configuration);
  if (pid !== undefined && !other) {
    if (changed.includes(true)) process.kill(pid, 'SIGHUP');
    return { ...state('serving'), limits: [], revived: false };
  }
  if (pid !== undefined) await end(pid);
  const died = pid === undefined && !other && (await readText(join(folder, 'dnsmasq.pid'))) !== undefined;
  await runInside(place.namespace, 'dnsmasq', [`--conf-file=${join(folder, 'dnsmasq.conf')}`]);
  return { ...state('serving'), limits: [], revived: died };
}

/** What dnsmasq is told of a network. */
export function nameServiceConfiguration(
  folder: string,
  { bridge }: NetworkPlace,
  { dhcp, dns, gateways, mtu }: DesiredNetwork,
  upstreams: readonly string[],
): string {
  const lines = [
    `interface=${bridge}`,
    'except-interface=lo',
    'bind-dynamic',
    'user=nobody',
    `pid-file=${folder}/dnsmasq.pid`,
    'no-hosts',
    'no-resolv',
    ...(dns === undefined
      ? ['port=0']
      : [
          `addn-hosts=${folder}/hosts`,
          `domain=${dns.domain}`,
          `local=/${dns.domain}/`,
          'domain-needed',
          ...upstreams.map((upstream) => `server=${addressOf(upstream)}`),
        ]),
  ];
  if (dhcp === true) {
    lines.push(
      `dhcp-hostsfile=${folder}/leases`,
      `dhcp-optsfile=${folder}/options`,
      `dhcp-leasefile=${folder}/dnsmasq.leases`,
      'dhcp-ignore=tag:!known',
      'no-ping',
      'quiet-dhcp',
      'quiet-dhcp6',
      'quiet-ra',
      `dhcp-option=option:mtu,${mtu}`,
      ...(dns === undefined ? [] : ['dhcp-option=option:dns-server,0.0.0.0', 'dhcp-option=option6:dns-server,[::]']),
    );
    gateways.forEach((gateway, index) => {
      const { address, bits, version } = rangeOf(gateway);
      const tag = `s${index}`;
      if (version === 4) {
        const { network, mask } = subnet4(gateway);
        lines.push(`dhcp-range=set:${tag},${network},static,${mask},1h`, `dhcp-option=tag:${tag},option:router,${address}`);
      } else lines.push(`dhcp-range=set:${tag},${subnet6(gateway)},static,${bits},1h`);
    });
    if (gateways.some((gateway) => rangeOf(gateway).version === 6)) lines.push('enable-ra', `ra-param=${bridge},mtu:${mtu},60,1800`);
  }
  return `${lines.join('\n')}\n`;
}

/** One agent's part: leases by MAC, resolvers where the network has none of its own, and every name of the network. */
export function agentFiles(
  { dns }: DesiredNetwork,
  nics: readonly ServedNic[],
): { readonly hosts: string; readonly leases: string; readonly options: string } {
  const options = new Set<string>();
  const leases = nics.map(({ nic, hostname }) => {
    const [four] = ofVersion(nic.addresses.slice(0, 1), 4).concat(ofVersion(nic.addresses, 4));
    const own = nic.nameservers.map(addressOf);
    const tags: string[] = [];
    if (dns === undefined) {
      for (const version of [4, 6] as const) {
        const servers = ofVersion(own, version);
        if (servers.length === 0) continue;
        const tag = `r${createHash('sha256').update(servers.join()).digest('hex').slice(0, 8)}`;
        tags.push(`set:${tag}`);
        const texts = version === 4 ? servers : servers.map((server) => `[${server}]`);
        options.add(`tag:${tag},option${version === 4 ? '' : '6'}:dns-server,${texts.join(',')}`);
      }
    }
    const six = ofVersion(nic.addresses, 6).map((address) => `[${address}]`);
    const name = nameOnly.test(hostname) ? [hostname.toLowerCase()] : [];
    return [nic.mac, ...tags, ...(four === undefined ? [] : [four]), ...six, ...name, 'infinite'].join(',');
  });
  const hosts = (dns?.hosts ?? []).flatMap(({ name, addresses }) =>
    addresses.map((address) => `${addressOf(address)} ${name}.${dns?.domain ?? ''} ${name}`),
  );
  const text = (lines: Iterable<string>) => [...lines].map((line) => `${line}\n`).join('');
  return { hosts: text(hosts), leases: text(leases), options: text(options) };
}

/** Resolvers for other names: none without a way out; the host's own where none are given, save those that only the host itself reaches. */
async function upstreamsOf({ dns, routes }: DesiredNetwork): Promise<readonly string[]> {
  if (dns === undefined || routes?.some(({ via }) => via.type === 'internet') !== true) return [];
  if (dns.upstreams.length > 0) return dns.upstreams;
  for (const file of ['/run/systemd/resolve/resolv.conf', '/etc/resolv.conf']) {
    const text = await readFile(file, 'utf8').catch(() => '');
    const found = [...text.matchAll(/^nameserver\s+([0-9a-fA-F.:]+)\s*$/gm)].map((match) => match[1] ?? '');
    const usable = found.filter((address) => !address.startsWith('127.') && address !== '::1');
    if (usable.length > 0) return usable;
  }
  return [];
}

async function writeIfOther(path: string, text: string): Promise<boolean> {
  if ((await readText(path)) === text) return false;
  await writeFile(path, text, { mode: 0o644 });
  return true;
}

async function runningPid(folder: string): Promise<number | undefined> {
  const pid = Number((await readText(join(folder, 'dnsmasq.pid')))?.trim());
  if (!Number.isSafeInteger(pid) || pid < 2) return undefined;
  return (await nameOf(pid)) === 'dnsmasq' ? pid : undefined;
}

async function end(pid: number): Promise<void> {
  process.kill(pid, 'SIGTERM');
  for (let waited = 0; waited < 5_000; waited += 20) {
    if ((await nameOf(pid)) !== 'dnsmasq') return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  process.kill(pid, 'SIGKILL');
}

async function nameOf(pid: number): Promise<string | undefined> {
  return await readFile(`/proc/${pid}/comm`, 'utf8').then(
    (text) => text.trim(),
    () => undefined,
  );
}
