import { createHash } from 'node:crypto';
import type { DesiredNetwork } from '@virt8ra/contract';
import type { DeviceLook } from '../samples/counters.js';
import { canonical } from './address.js';
import { shaperName, tapAlias } from './interface-name.js';
import { type Neighbours, seenNeighbours } from './neighbours.js';
import { type NetworkPlace, runInside } from './network-place.js';
import { tableName } from './network-rules.js';

/** What the kernel has of a network, as one look saw it. */
export interface NetworkLook {
  /** False: there is no such namespace. */
  readonly there: boolean;
  readonly bridge: { readonly up: boolean; readonly mtu: number; readonly addresses: ReadonlySet<string> } | undefined;
  readonly uplink: boolean;
  /** Taps of this agent, by name. */
  readonly taps: ReadonlyMap<string, { readonly attached: boolean; readonly megabits: number | undefined }>;
  /** Fingerprint of this agent's rules; undefined when a table of them is missing. */
  readonly rules: string | undefined;
  readonly routes: string;
  /** Addresses whose MAC is fixed. */
  readonly neighbours: Neighbours;
  /** What its devices have let through, as the kernel counted at this look. */
  readonly devices: DeviceLook | undefined;
  /** Versions that have a way out. */
  readonly egress: readonly ('IPv4' | 'IPv6')[];
}

const nothing: NetworkLook = {
  there: false,
  bridge: undefined,
  uplink: false,
  taps: new Map(),
  rules: undefined,
  routes: '',
  neighbours: new Map(),
  devices: undefined,
  egress: [],
};
const divider = '---virt8ra---';

interface Device {
  readonly ifname: string;
  readonly ifalias?: string;
  readonly mtu: number;
  readonly master?: string;
  readonly flags: readonly string[];
  readonly addr_info: readonly { readonly local?: string; readonly prefixlen?: number; readonly scope?: string }[];
}

export async function lookAtNetwork(place: NetworkPlace, agent: string): Promise<NetworkLook> {
  const table = tableName(agent);
  const parts = [
    'ip -d -j address show',
    'tc -j qdisc show',
    `nft -s list table inet ${table} 2>/dev/null || true`,
    `nft -s list table bridge ${table} 2>/dev/null || true`,
    'ip -4 rule show; ip -6 rule show; ip -4 route show table all; ip -6 route show table all',
    `ip -j neigh show dev ${place.bridge} nud permanent 2>/dev/null || true`,
    'cat /proc/net/dev',
  ];
  const text = await runInside(place.namespace, 'sh', ['-euc', parts.join(`\necho; echo ${divider}\n`)]).catch(() => undefined);
  if (text === undefined) return nothing;
  const [addresses = '', qdiscs = '', inet = '', bridging = '', routing = '', neighbours = '', counted = ''] = text.split(`${divider}\n`);
  const devices = JSON.parse(addresses) as Device[];
  const rates = ratesOf(JSON.parse(qdiscs.trim() || '[]') as Qdisc[]);
  const bridge = devices.find(({ ifname }) => ifname === place.bridge);
  const own = devices.filter(({ ifname, ifalias }) => ifname.startsWith('v8t') && ifalias?.startsWith(tapAlias(agent, '')) === true);
  const routes = routing
    .split('\n')
    .map((line) => line.replace(/ (linkdown|dead)\b/g, '').trim())
    .filter((line) => /^\d+:/.test(line) || / table \d+/.test(line));
  return {
    there: true,
    devices: { at: performance.now(), devices: counted },
    bridge:
      bridge === undefined
        ? undefined
        : {
            up: bridge.flags.includes('UP'),
            mtu: bridge.mtu,
            addresses: new Set(
              bridge.addr_info.filter(({ scope }) => scope === 'global').map(({ local, prefixlen }) => canonical(`${local}/${prefixlen}`)),
            ),
          },
    uplink: devices.some(({ ifname, flags }) => ifname === place.uplink && flags.includes('UP')),
    taps: new Map(
      own.map(({ ifname, master, flags }) => [
        ifname,
        { attached: master === place.bridge && flags.includes('UP'), megabits: rates.get(ifname) },
      ]),
    ),
    rules: inet.trim() === '' || bridging.trim() === '' ? undefined : digestOf(inet + bridging),
    routes: digestOf(routes.sort().join('\n')),
    neighbours: seenNeighbours(neighbours),
    egress: (['IPv4', 'IPv6'] as const).filter((version) =>
      routes.some(
        (line) => line.startsWith('default') && line.includes(' table 999') && line.includes(version === 'IPv4' ? '169.254.' : 'fdc6:'),
      ),
    ),
  };
}

/** What of a network is not as desired, apart from rules and routes. */
export function missingOf(look: NetworkLook, network: DesiredNetwork): string[] {
  if (!look.there) return ['the namespace'];
  if (look.bridge === undefined) return ['the bridge'];
  const { up, mtu, addresses } = look.bridge;
  const gateways = network.gateways.map(canonical);
  return [
    ...(up && mtu === network.mtu ? [] : ['the bridge’s settings']),
    ...(addresses.size === new Set(gateways).size && gateways.every((gateway) => addresses.has(gateway)) ? [] : ['gateways']),
    ...(look.uplink ? [] : ['the link to the host']),
  ];
}

interface Qdisc {
  readonly kind: string;
  readonly dev: string;
  readonly options?: { readonly rate?: number };
}

/** Limits that hold in both directions, in megabits per second, by tap. */
function ratesOf(qdiscs: readonly Qdisc[]): Map<string, number> {
  const buckets = new Map(
    qdiscs.filter(({ kind }) => kind === 'tbf').map(({ dev, options }) => [dev, Math.round((options?.rate ?? 0) * 8) / 1_000_000]),
  );
  return new Map([...buckets].filter(([dev]) => dev.startsWith('v8t') && buckets.get(shaperName(dev)) === buckets.get(dev)));
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}
