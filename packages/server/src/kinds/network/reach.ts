import { type NetworkReach, reachShown } from '@virt8ra/contract';
import type { Queryable } from '@virt8ra/engine';
import type { StoreTransaction } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';

/** Who knows, of networks by their VXLAN identifier, every pair of hosts that have it and whether they reach each other in it. */
export interface NetworkReaches {
  networkPairs(vnis: readonly number[]): Promise<ReadonlyMap<number, readonly NetworkPair[]>>;
}

export type NetworkPair = Omit<NetworkReach, 'hosts' | 'sites' | 'observedAt'> & {
  readonly hosts: readonly [string, string];
  readonly sites: readonly [string, string];
  readonly observedAt: string | undefined;
};

/** The pairs of each network, in the order given; one that was never made anywhere has none. */
export async function pairsOfNetworks(
  client: Queryable,
  reaches: NetworkReaches,
  networks: readonly Pick<StoredResource, 'uid'>[],
): Promise<readonly (readonly NetworkPair[])[]> {
  const { rows } = await client.query<{ resource_uid: string; vni: number }>(
    'select resource_uid, vni from network_vni where resource_uid = any($1)',
    [networks.map(({ uid }) => uid)],
  );
  const vnis = new Map(rows.map((row) => [row.resource_uid, row.vni]));
  const pairs = await reaches.networkPairs([...vnis.values()]);
  return networks.map(({ uid }) => pairs.get(vnis.get(uid) ?? 0) ?? []);
}

const rank = { unreachable: 0, unknown: 1, reachable: 2 } as const;

/** As the status shows them. */
export function shownReach(pairs: readonly NetworkPair[]): { reach?: NetworkReach[] } {
  if (pairs.length === 0) return {};
  const worstFirst = [...pairs].sort((one, other) => rank[one.state] - rank[other.state]).slice(0, reachShown);
  return {
    reach: worstFirst.map(({ hosts, sites, observedAt, ...rest }) => ({
      ...rest,
      hosts: [...hosts],
      sites: [...sites],
      ...(observedAt === undefined ? {} : { observedAt }),
    })),
  };
}

const conditionType = 'Reach';

/** The history entry that measurements call for, if any: one for each change of what can reach what. */
export function reachCondition(
  pairs: readonly NetworkPair[],
  { state, conditions }: Pick<StoredResource, 'state' | 'conditions'>,
): Parameters<StoreTransaction['setStatus']>[2] {
  const last = conditions.find(({ type }) => type === conditionType);
  const apart = pairs.filter((pair) => pair.state === 'unreachable');
  const unseen = pairs.filter((pair) => pair.state === 'unknown');
  if (pairs.length === 0 && last === undefined) return undefined;
  const said = (some: readonly NetworkPair[]) =>
    some
      .slice(0, 20)
      .map(({ hosts, sites, reason }) => `${sites[0]}/${hosts[0]} and ${sites[1]}/${hosts[1]}: ${reason ?? 'no reason is known'}`)
      .join('; ');
  const next =
    apart.length > 0
      ? { reason: 'Divided', message: `${apart.length} of ${pairs.length} pairs of hosts do not reach each other: ${said(apart)}` }
      : unseen.length > 0
        ? {
            reason: 'Unknown',
            message: `it is not known whether ${unseen.length} of ${pairs.length} pairs of hosts reach each other: ${said(unseen)}`,
          }
        : { reason: 'OneSegment', message: pairs.length === 0 ? 'it is on one host only' : 'all of its hosts reach each other' };
  if (last?.reason === next.reason && last.message === next.message) return undefined;
  return { state, type: conditionType, ...next };
}
