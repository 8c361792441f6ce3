import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Problem } from '@virt8ra/contract';
import { runCommand } from '../system/run-command.js';
import { versionOf } from './address.js';
import { forwardOn } from './host-rules.js';
import { type HostSide, networksRoot } from './namespaces.js';
import type { NetworkPlace } from './network-place.js';

/** Which agent of the machine brought an address here last: it alone takes it away. */
const claims = join(networksRoot, '.public');

/**
 * Leads a public address into a network's namespace, which translates it to a NIC: the host answers for it on the device where it belongs, which
 * is answered here, and routes it in. May be repeated. Raises Problem unsupported where no device of the host is in its network or leads to it.
 */
export async function leadIn(address: string, agent: string, place: NetworkPlace, side: HostSide): Promise<string> {
  await mkdir(claims, { recursive: true });
  const four = versionOf(address) === 4;
  const ip = (...words: string[]) => runCommand('ip', [four ? '-4' : '-6', ...words]);
  const device = await outerDevice(address, ip);
  await writeFile(join(claims, address), agent);
  await ip('route', 'replace', address, 'via', four ? side.inside4 : side.inside6, 'dev', place.hostLink);
  await forwardOn([device]);
  if (!four) await runCommand('sysctl', ['-qw', `net.ipv6.conf.${device}.proxy_ndp=1`]);
  await ip('neighbour', 'replace', 'proxy', address, 'dev', device);
  return device;
}

/** Takes away those of this agent's public addresses in a network that are not in `kept`. May be repeated. */
export async function leadOut(kept: ReadonlySet<string>, agent: string, place: NetworkPlace): Promise<void> {
  for (const address of await readdir(claims).catch((): string[] => [])) {
    if (kept.has(address) || (await readFile(join(claims, address), 'utf8').catch(() => '')) !== agent) continue;
    if (!(await leadsTo(place)).includes(address)) continue;
    const version = versionOf(address) === 4 ? '-4' : '-6';
    const ip = (...words: string[]) => runCommand('ip', [version, ...words]);
    const proxies = await ip('neighbour', 'show', 'proxy');
    for (const line of proxies.split('\n').filter((entry) => entry.split(' ')[0] === address)) {
      const device = / dev (\S+)/.exec(line)?.[1];
      if (device !== undefined) await ip('neighbour', 'delete', 'proxy', address, 'dev', device).catch(() => {});
    }
    await ip('route', 'delete', address, 'dev', place.hostLink).catch(() => {});
    await rm(join(claims, address), { force: true });
  }
}

/** Public addresses that the host routes into a network's namespace. */
export async function leadsTo(place: NetworkPlace): Promise<string[]> {
  const found: string[] = [];
  for (const version of ['-4', '-6']) {
    const text = await runCommand('ip', [version, '-j', 'route', 'show', 'dev', place.hostLink]).catch(() => '[]');
    const routes = JSON.parse(text || '[]') as { dst: string; gateway?: string }[];
    found.push(...routes.filter(({ gateway }) => gateway !== undefined).map(({ dst }) => dst));
  }
  return found;
}

/** The device that an address is behind, our own pairs left out. */
async function outerDevice(address: string, ip: (...words: string[]) => Promise<string>): Promise<string> {
  const routes = JSON.parse((await ip('-j', 'route', 'show', 'match', address)) || '[]') as { dst: string; dev?: string }[];
  const bits = (dst: string) => (dst === 'default' ? 0 : Number(dst.split('/')[1] ?? 128));
  const best = routes
    .filter(({ dev }) => dev !== undefined && !dev.startsWith('v8h') && dev !== 'lo')
    .sort((left, right) => bits(right.dst) - bits(left.dst))[0];
  if (best?.dev === undefined)
    throw new Problem('unsupported', `public address ${address} is behind no device of this host: no route of the host leads to it`);
  return best.dev;
}
