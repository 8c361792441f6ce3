import type { OverlayFacts, OverlayReport, TunnelReport } from '@virt8ra/contract';
import type { Pool } from 'pg';
import { canCarry, carriersOf, type OverlayHost, segmentOf } from './plan-overlay.js';

/** Whether two hosts that have a network are one segment, as measured. */
export interface HostPair {
  readonly hosts: readonly [string, string];
  readonly sites: readonly [string, string];
  /** `unknown`: nobody who could say is heard. */
  readonly state: 'reachable' | 'unreachable' | 'unknown';
  /** When that was seen, RFC 3339; undefined: never. */
  readonly observedAt: string | undefined;
  readonly source: string;
  readonly rttMs?: number;
  readonly mtu?: number;
  readonly reason?: string;
}

/** A host with what it measured. */
export interface MeasuringHost extends OverlayHost {
  readonly site: string;
  /** It is heard, so that its report is of now. */
  readonly heard: boolean;
  readonly reportedAt: string | undefined;
}

/** Every pair of hosts of the network `vni`, each once; hosts of one machine share its bridge. */
export function pairsOf(vni: number, members: readonly MeasuringHost[], all: readonly MeasuringHost[]): readonly HostPair[] {
  const carriers = carriersOf(all) as ReadonlyMap<string, MeasuringHost>;
  const sorted = [...members].sort((one, other) => (one.host < other.host ? -1 : 1));
  return sorted.flatMap((one, index) => sorted.slice(index + 1).map((other) => pairOf(vni, one, other, carriers)));
}

function pairOf(vni: number, one: MeasuringHost, other: MeasuringHost, carriers: ReadonlyMap<string, MeasuringHost>): HostPair {
  const between = { hosts: [one.host, other.host], sites: [one.site, other.site] } as const;
  if (segmentOf(one) === segmentOf(other)) {
    return {
      ...between,
      state: 'reachable',
      observedAt: one.reportedAt ?? other.reportedAt,
      source: `agent/${one.host}`,
      reason: 'one machine',
    };
  }
  const mine = carriers.get(segmentOf(one));
  const theirs = carriers.get(segmentOf(other));
  for (const [host, carrier] of [
    [one, mine],
    [other, theirs],
  ] as const) {
    if (carrier !== undefined) continue;
    const { facts } = host;
    const reason = `${host.host} is an island: ${facts === undefined ? 'its agent has not said that it can join an overlay' : canCarry(host) ? 'its machine has no carrier' : facts.reason}`;
    return { ...between, state: 'unreachable', observedAt: host.reportedAt, source: `agent/${host.host}`, reason };
  }
  // A tunnel is of no use to a network that is not in it.
  for (const carrier of [mine, theirs]) {
    const failed = carrier?.heard === true ? carrier.report?.failed.find((each) => each.vni === vni) : undefined;
    if (carrier === undefined || failed === undefined) continue;
    const reason = `${carrier.host} could not join it to the tunnels: ${failed.reason}`;
    return { ...between, state: 'unreachable', observedAt: carrier.reportedAt, source: `agent/${carrier.host}`, reason };
  }
  const looks = [lookFrom(mine, theirs), lookFrom(theirs, mine)].filter((look) => look !== undefined);
  // One end that gets no answer outweighs another that did a moment before.
  const decisive = looks.find(({ tunnel }) => tunnel.state === 'unreachable') ?? looks.find(({ tunnel }) => tunnel.state === 'reachable');
  if (decisive === undefined) {
    const problem = [mine, theirs].find((carrier) => carrier?.heard === true && carrier.report?.problem !== undefined);
    const reason =
      problem !== undefined
        ? `${problem.host} could not make its tunnels: ${problem.report?.problem}`.slice(0, 2048)
        : looks.length > 0
          ? 'the tunnel is being made'
          : `neither ${mine?.host} nor ${theirs?.host} reports on the tunnel between them`;
    return { ...between, state: 'unknown', observedAt: undefined, source: `agent/${mine?.host}`, reason };
  }
  const { tunnel, by, at } = decisive;
  const { rttMs, mtu, reason } = tunnel;
  return {
    ...between,
    state: tunnel.state === 'reachable' ? 'reachable' : 'unreachable',
    observedAt: tunnel.state === 'reachable' ? (tunnel.answeredAt ?? at) : at,
    source: `agent/${by}`,
    ...(rttMs === undefined ? {} : { rttMs }),
    ...(mtu === undefined ? {} : { mtu }),
    ...(reason === undefined ? {} : { reason }),
  };
}

function lookFrom(
  from: MeasuringHost | undefined,
  to: MeasuringHost | undefined,
): { readonly tunnel: TunnelReport; readonly by: string; readonly at: string | undefined } | undefined {
  if (from?.heard !== true || to === undefined) return undefined;
  const tunnel = from.report?.peers.find(({ host }) => host === to.host);
  return tunnel === undefined ? undefined : { tunnel, by: from.host, at: from.reportedAt };
}

/** Answers for many networks at once: VXLAN identifier → its pairs of hosts. */
export async function readNetworkPairs(
  pool: Pick<Pool, 'query'>,
  vnis: readonly number[],
  silenceSeconds: number,
): Promise<ReadonlyMap<number, readonly HostPair[]>> {
  if (vnis.length === 0) return new Map();
  const members = await pool.query<{ host: string; vni: number }>(
    `select host, (object ->> 'vni')::integer as vni from fleet.desired
      where type = 'network' and object is not null and (object ->> 'vni')::integer = any($1)`,
    [vnis],
  );
  const hosts = await readMeasuringHosts(pool, [...new Set(members.rows.map(({ host }) => host))], silenceSeconds);
  return new Map(
    vnis.map((vni) => {
      const names = new Set(members.rows.filter((row) => row.vni === vni).map(({ host }) => host));
      return [
        vni,
        pairsOf(
          vni,
          hosts.filter(({ host }) => names.has(host)),
          hosts,
        ),
      ] as const;
    }),
  );
}

interface MeasuringRow {
  readonly host: string;
  readonly site: string;
  readonly place: string;
  readonly heard: boolean | null;
  readonly facts: OverlayFacts | null;
  readonly address: string | null;
  readonly rotation: number | null;
  readonly report: OverlayReport | null;
  readonly reported_at: Date | null;
}

/** The hosts, and those that share bridges with them and may carry their tunnels. */
async function readMeasuringHosts(pool: Pick<Pool, 'query'>, hosts: readonly string[], silenceSeconds: number): Promise<MeasuringHost[]> {
  const found = await pool.query<MeasuringRow>(
    `select host.host, site, extract(epoch from added_at)::text as place, inventory -> 'overlay' as facts, address, rotation, report,
            overlay.reported_at, link_id is not null and heard_at > clock_timestamp() - make_interval(secs => $2) as heard
       from fleet.host left join fleet.link using (host) left join fleet.overlay using (host)
      where host.host = any($1) or inventory -> 'overlay' ->> 'segment' in (
        select inventory -> 'overlay' ->> 'segment' from fleet.link where host = any($1))`,
    [hosts, silenceSeconds],
  );
  return found.rows.map((row) => ({
    host: row.host,
    site: row.site,
    order: Number(row.place),
    facts: row.facts ?? undefined,
    address: row.address ?? '',
    rotation: row.rotation ?? 0,
    report: row.report ?? undefined,
    reportedAt: row.reported_at?.toISOString(),
    heard: row.heard === true,
  }));
}
