import type { DesiredNic } from '@virt8ra/contract';
import { runCommand } from '../system/run-command.js';
import { shaperName, tapAlias, tapName } from './interface-name.js';
import type { NetworkPlace } from './network-place.js';
import { limitRate } from './rates.js';

/**
 * Makes a tap that only `uid` may open, in the host's own namespace, where QEMU finds it by name. It is down and leads nowhere: once QEMU
 * has opened it, `plugTap` moves it to its network. Older ones of that name are replaced.
 */
export async function createTap(agent: string, nicKey: string, place: NetworkPlace, uid: number): Promise<string> {
  const name = tapName(agent, nicKey);
  await deleteTap(name, [place.namespace]);
  await runCommand('ip', ['tuntap', 'add', 'dev', name, 'mode', 'tap', 'user', String(uid)]);
  await runCommand('ip', ['link', 'set', 'dev', name, 'alias', tapAlias(agent, nicKey)]);
  return name;
}

/**
 * Moves a tap that QEMU has open into its network, limits its rate and brings it up as a port of the bridge. The network's rules must hold
 * for it already. Answers false when there is no such tap any more. May be repeated.
 */
export async function plugTap(agent: string, nic: DesiredNic, place: NetworkPlace, mtu: number): Promise<boolean> {
  const name = tapName(agent, nic.key);
  if (!(await listLinks(place.namespace)).some((link) => link.ifname === name)) {
    if (!(await listLinks()).some((link) => link.ifname === name)) return false;
    await runCommand('ip', ['link', 'set', 'dev', name, 'down', 'netns', place.namespace]);
  }
  await limitRate(place.namespace, name, nic.rate);
  const settings = ['alias', tapAlias(agent, nic.key), 'mtu', String(mtu), 'master', place.bridge, 'up'];
  await runCommand('ip', ['-n', place.namespace, 'link', 'set', 'dev', name, ...settings]);
  return true;
}

/** Removes a tap wherever it is: in the host's own namespace or one of these. */
export async function deleteTap(name: string, namespaces: Iterable<string>): Promise<void> {
  for (const namespace of [undefined, ...namespaces]) {
    const links = await listLinks(namespace);
    for (const gone of links.filter(({ ifname }) => ifname === name || ifname === shaperName(name)))
      await deleteLink(gone.ifname, namespace);
  }
}

/** Removes this agent's taps that belong to none of `used`. Answers how many. */
export async function sweepTaps(agent: string, used: ReadonlySet<string>, namespaces: Iterable<string>): Promise<number> {
  const prefix = tapAlias(agent, '');
  let swept = 0;
  for (const namespace of [undefined, ...namespaces]) {
    const orphans = (await listLinks(namespace)).filter((link) => link.ifalias?.startsWith(prefix) === true && !used.has(link.ifname));
    for (const { ifname } of orphans) {
      if (ifname.startsWith('v8t')) swept += 1;
      await deleteLink(ifname, namespace);
      if (namespace !== undefined) await deleteTap(shaperName(ifname), [namespace]);
    }
  }
  return swept;
}

export interface Link {
  readonly ifname: string;
  readonly ifalias?: string;
  readonly mtu: number;
  readonly master?: string;
  readonly flags: readonly string[];
}

/** Links of a namespace; undefined: the host's own. A namespace that is not there has none. */
export async function listLinks(namespace?: string): Promise<Link[]> {
  if (namespace === undefined) return JSON.parse(await runCommand('ip', ['-j', 'link', 'show'])) as Link[];
  const text = await runCommand('ip', ['-n', namespace, '-j', 'link', 'show']).catch(() => '[]');
  return JSON.parse(text === '' ? '[]' : text) as Link[];
}

async function deleteLink(name: string, namespace: string | undefined): Promise<void> {
  await runCommand('ip', [...(namespace === undefined ? [] : ['-n', namespace]), 'link', 'delete', 'dev', name]);
}
