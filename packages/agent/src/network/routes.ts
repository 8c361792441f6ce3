import type { DesiredNetwork, NetworkRoute } from '@virt8ra/contract';
import { addressOf, rangeOf, type Version } from './address.js';
import type { HostSide } from './namespaces.js';
import { type NetworkPlace, runInside } from './network-place.js';

/** Routing tables of subnets begin here; the namespace's own, for its questions to other resolvers, is one below. */
const firstTable = 1000;

interface SourceTable {
  readonly version: Version;
  /** Undefined: what the namespace itself sends. */
  readonly source: string | undefined;
  readonly table: number;
  readonly routes: readonly string[];
}

/**
 * What leaves a network is routed by where it comes from: each subnet with routes has a table of its own. A subnet without one reaches its
 * network and nothing else, because the namespace's main table has no way out.
 */
export function sourceTables(network: DesiredNetwork, place: NetworkPlace, side: HostSide): SourceTable[] {
  const tables: SourceTable[] = [];
  for (const version of [4, 6] as const) {
    const routes = (network.routes ?? []).filter(({ destination }) => rangeOf(destination).version === version);
    const out = (destination: string) => `${destination} via ${version === 4 ? side.host4 : side.host6} dev ${place.uplink}`;
    const text = (route: NetworkRoute) => {
      const destination = rangeText(route.destination);
      return route.via.type === 'internet' ? out(destination) : `${destination} via ${addressOf(route.via.address)} dev ${place.bridge}`;
    };
    const sources = [...new Set(routes.map(({ source }) => rangeText(source)))].sort();
    if (routes.some(({ via }) => via.type === 'internet'))
      tables.push({ version, source: undefined, table: firstTable - 1, routes: [out(version === 4 ? '0.0.0.0/0' : '::/0')] });
    sources.forEach((source, index) => {
      const own = routes.filter((route) => rangeText(route.source) === source).map(text);
      tables.push({ version, source, table: firstTable + index, routes: [...new Set(own)].sort() });
    });
  }
  return tables;
}

function rangeText(cidr: string): string {
  const { address, bits } = rangeOf(cidr);
  return `${address}/${bits}`;
}

/** Makes the namespace's rules and tables those of the list. May be repeated. */
export async function applyRoutes(namespace: string, tables: readonly SourceTable[]): Promise<void> {
  const commands: string[] = [];
  for (const version of [4, 6] as const) {
    const ip = `ip -${version}`;
    const own = tables.filter((entry) => entry.version === version);
    // The main table comes first, at 32766: the network itself is never left by a route of ours. The empty default table goes.
    commands.push(`while ${ip} rule delete priority 32767 2>/dev/null; do :; done`);
    commands.push(`${ip} route show table all 2>/dev/null | sed -n 's/.* table \\([0-9][0-9]*\\) .*/\\1/p;s/.* table \\([0-9][0-9]*\\)$/\\1/p' | sort -u |
while read -r t; do if [ "$t" -ge ${firstTable - 1} ]; then ${ip} route flush table "$t"; fi; done || true`);
    for (const { source, table, routes } of own) {
      for (const route of routes) commands.push(`${ip} route replace ${route} table ${table} onlink`);
      commands.push(`${ip} rule add priority 32767 ${source === undefined ? 'iif lo' : `from ${source}`} lookup ${table}`);
    }
  }
  await runInside(namespace, 'sh', ['-euc', commands.join('\n')]);
}
