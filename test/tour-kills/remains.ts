import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { tableCounts } from '@virt8ra/server/testing';
import type { Plane } from './plane.js';

/** All that acts of the tour leave traces in, as lines to compare. */
export async function traces(plane: Plane): Promise<readonly string[]> {
  const agents = plane.sites.map(({ name }) => plane.agentOf(name));
  const tables = await tableCounts(join(plane.state, 'server'));
  return [
    ...[...tables].map(([name, rows]) => `${rows} rows in ${name}`),
    ...agents.flatMap(({ site, state, runtime }) => [
      ...filesBelow(state).map((file) => `${site.host} keeps ${file}`),
      ...notedNetworks(state).map((network) => `${site.host} notes the network ${network}`),
      ...filesBelow(runtime).map((file) => `${site.host} keeps ${file} of this boot`),
    ]),
    ...listening(new Map([[plane.serverPid, 'the server'], ...agents.map(({ pid, site }) => [pid, site.host] as const)])),
    ...(plane.asRoot ? agents.flatMap(({ id, site }) => interfacesOf(id).map((link) => `${site.host} has the interface ${link}`)) : []),
  ].toSorted();
}

/** Made at need and then kept: they hold what is counted by itself, or nothing. */
const places: ReadonlySet<string> = new Set(['digests', 'networks.json']);

/** Files and folders, the cache of images aside: it is kept for the next guest, within limits of its own. */
function filesBelow(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .filter((path) => !places.has(path) && !/^images\/./.test(path));
}

function notedNetworks(folder: string): string[] {
  const file = join(folder, 'networks.json');
  return existsSync(file) ? Object.keys(JSON.parse(readFileSync(file, 'utf8')) as object) : [];
}

function listening(programs: ReadonlyMap<number, string>): string[] {
  const lines = execFileSync('ss', ['-ltnpH'], { encoding: 'utf8' }).split('\n');
  return lines.flatMap((line) => {
    const program = [...line.matchAll(/pid=(\d+)/g)].map(([, pid]) => programs.get(Number(pid))).find((name) => name !== undefined);
    return program === undefined ? [] : [`${program} listens at ${line.split(/\s+/)[3]}`];
  });
}

/** Taps by their alias, namespaces by the list of who uses them, ports of the host by who claims them. */
function interfacesOf(agentId: string): string[] {
  const taps = [undefined, ...namespacesUsedBy(agentId)].flatMap((namespace) =>
    linksIn(namespace).flatMap(({ ifname, ifalias }) => (ifalias?.startsWith(`virt8ra:${agentId}:`) === true ? [ifname] : [])),
  );
  const ports = entriesOf(`${runtime}/ports`).filter((port) => readFileSync(`${runtime}/ports/${port}`, 'utf8').startsWith(`${agentId}:`));
  return [...taps, ...namespacesUsedBy(agentId), ...ports];
}

function linksIn(namespace: string | undefined): readonly { readonly ifname: string; readonly ifalias?: string }[] {
  const place = namespace === undefined ? [] : ['-n', namespace];
  return JSON.parse(execFileSync('ip', [...place, '-j', 'link', 'show'], { encoding: 'utf8' })) as { ifname: string; ifalias?: string }[];
}

const runtime = '/run/virt8ra';

/** Namespaces that an agent has noted as used by it. */
export function namespacesUsedBy(agentId: string): string[] {
  return entriesOf(`${runtime}/networks`).filter((namespace) => existsSync(`${runtime}/networks/${namespace}/users/${agentId}`));
}

export function namespaceExists(name: string): boolean {
  return existsSync(`/run/netns/${name}`);
}

function entriesOf(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder).filter((name) => !name.startsWith('.')) : [];
}
