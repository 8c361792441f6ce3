import type { HostPath, OverlayReport, PathFigure, PathLook } from '@virt8ra/contract';
import type { Pool } from 'pg';

interface SampleRow {
  readonly from_host: string;
  readonly to_host: string;
  readonly at: Date;
  readonly source: 'transfer' | 'probe';
  readonly state: 'measured' | 'failed';
  readonly bytes: number | null;
  readonly seconds: number | null;
  readonly rtt_ms: number | null;
  readonly reason: string | null;
}

interface HostRow {
  readonly host: string;
  readonly site: string;
  readonly heard: boolean;
  readonly heard_at: Date | null;
  readonly report: OverlayReport | null;
  readonly reported_at: Date | null;
}

const columns = 'from_host, to_host, at, source, state, bytes::double precision as bytes, seconds, rtt_ms, reason';

/** Every path of which something was seen or tried, by the names of its ends, no more than `limit`. */
export async function readPaths(pool: Pool, silenceSeconds: number, limit: number): Promise<readonly HostPath[]> {
  const [hosts, newest, trips] = await Promise.all([
    pool.query<HostRow>(
      `select host, site, link_id is not null and heard_at > clock_timestamp() - make_interval(secs => $1) as heard, heard_at,
              case when overlay.desired is null then null else report end as report, overlay.reported_at
         from fleet.host left join fleet.link using (host) left join fleet.overlay using (host)`,
      [silenceSeconds],
    ),
    pool.query<SampleRow>(
      `select distinct on (from_host, to_host) ${columns} from fleet.path_sample where state in ('measured', 'failed')
        order by from_host, to_host, at desc`,
    ),
    pool.query<SampleRow>(
      `select distinct on (from_host, to_host) ${columns} from fleet.path_sample where state in ('measured', 'failed') and source = 'probe'
        order by from_host, to_host, at desc`,
    ),
  ]);
  const known = new Map(hosts.rows.map((row) => [row.host, row]));
  const keyOf = (from: string, to: string): string => `${from}\n${to}`;
  const carried = new Map(newest.rows.map((row) => [keyOf(row.from_host, row.to_host), row]));
  const probed = new Map(trips.rows.map((row) => [keyOf(row.from_host, row.to_host), row]));
  const pairs = new Set([
    ...carried.keys(),
    ...hosts.rows.flatMap(({ host, report }) =>
      (report?.peers ?? []).filter((peer) => known.has(peer.host)).map((peer) => keyOf(host, peer.host)),
    ),
  ]);
  return [...pairs]
    .sort()
    .slice(0, limit)
    .flatMap((key) => {
      const [from, to] = key.split('\n').map((name) => known.get(name));
      if (from === undefined || to === undefined) return [];
      const ends = { from: { host: from.host, site: from.site }, to: { host: to.host, site: to.site } };
      return [{ ...ends, rttMs: roundTrip(from, to, probed.get(key)), bytesPerSecond: throughput(carried.get(key)) }];
    });
}

/** The most that a host's moves carried to anywhere, of what is kept; undefined before any. */
export async function readMostCarried(
  pool: Pool,
  from: string,
): Promise<{ readonly bytesPerSecond: number; readonly at: string } | undefined> {
  const { rows } = await pool.query<{ rate: number; at: Date }>(
    `select bytes::double precision / seconds as rate, at from fleet.path_sample
      where from_host = $1 and source = 'transfer' and state = 'measured' and seconds > 0 order by rate desc limit 1`,
    [from],
  );
  const [row] = rows;
  return row === undefined ? undefined : { bytesPerSecond: Math.round(row.rate), at: row.at.toISOString() };
}

/** What was seen of one path, newest first. */
export async function readPathHistory(pool: Pool, from: string, to: string): Promise<readonly PathLook[]> {
  const { rows } = await pool.query<SampleRow>(
    `select ${columns} from fleet.path_sample where from_host = $1 and to_host = $2 and state in ('measured', 'failed') order by at desc`,
    [from, to],
  );
  return rows.map(({ at, source, bytes, seconds, rtt_ms, reason }) => ({
    at: at.toISOString(),
    source,
    ...(bytes === null || seconds === null ? {} : { bytes, seconds, bytesPerSecond: Math.round(bytes / seconds) }),
    ...(rtt_ms === null ? {} : { rttMs: rtt_ms }),
    ...(reason === null ? {} : { reason }),
  }));
}

/** By the tunnel between both, which is asked all the time; else by the last probe. */
function roundTrip(from: HostRow, to: HostRow, probe: SampleRow | undefined): PathFigure {
  const peer = from.report?.peers.find(({ host }) => host === to.host);
  const source = `agent/${from.host}`;
  if (peer !== undefined && !from.heard) {
    const since = from.heard_at?.toISOString();
    const reason = `host ${from.host} is not heard`;
    return { value: 'unknown', reason, source, ...(since === undefined ? {} : { observedAt: since }) };
  }
  if (peer?.state === 'reachable' && peer.rttMs !== undefined && peer.answeredAt !== undefined)
    return { value: peer.rttMs, source, observedAt: peer.answeredAt };
  if (peer?.state === 'unreachable')
    return { value: 'unknown', reason: peer.reason ?? 'it does not answer', source, observedAt: peer.since };
  if (probe === undefined) return { value: 'unknown', reason: 'it was not measured' };
  if (probe.rtt_ms === null) return unknownAfter(probe);
  return { value: probe.rtt_ms, source: 'probe', observedAt: probe.at.toISOString() };
}

function throughput(newest: SampleRow | undefined): PathFigure {
  if (newest === undefined) return { value: 'unknown', reason: 'nothing was carried or measured within a week' };
  if (newest.bytes === null || newest.seconds === null) return unknownAfter(newest);
  return { value: Math.round(newest.bytes / newest.seconds), source: newest.source, observedAt: newest.at.toISOString() };
}

function unknownAfter({ reason, source, at }: SampleRow): PathFigure {
  return { value: 'unknown', reason: reason ?? 'it could not be measured', source, observedAt: at.toISOString() };
}
