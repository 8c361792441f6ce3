import { setTimeout as sleep } from 'node:timers/promises';
import { type AgentMessageOf, agentDnsName, type ServerPathProbe, toProblem } from '@virt8ra/contract';
import { inTransaction, type Log, type Queryable } from '@virt8ra/engine';
import type { Pool } from 'pg';
import { tellRequest } from '../signals.js';

/** Has paths measured that no transfer has told anything of lately, one at a time and seldom. */
export interface PathPlanner {
  /** What a host tells of an order. What was not asked of it, or is over, is left out of account. */
  take(host: string, message: AgentMessageOf<'path-probe'>): Promise<void>;
  /**
   * Has one path measured now, whenever it was measured last, and resolves when that is over. Answers why there is no new figure; undefined: there
   * is one. At most 16 MiB in one second are sent, and only while neither host measures or moves anything else.
   */
  measure(from: string, to: string): Promise<string | undefined>;
  /** Gives up what takes too long, forgets what is old, and has the path measured that has waited longest. */
  look(): Promise<void>;
  start(): void;
  stop(): Promise<void>;
}

export interface PathProbing {
  /** False: only what transfers tell is known. */
  readonly enabled: boolean;
  /** Between two looks; no more than one path is measured in each. Default 60. */
  readonly everySeconds?: number;
  /** No two hosts measure their path more often. Default 6 hours. */
  readonly restSeconds?: number;
}

/** Rows kept of one path, and for how long. */
const kept = { rows: 32, seconds: 7 * 24 * 3600 } as const;
/** An order that nobody answers is given up after this long. */
const patienceSeconds = 30;
/** Of a measurement that somebody waits for. */
const waiting = { seconds: 12, lookMs: 100 } as const;
/** A host that had more important things to do is asked again after this long. */
const busySeconds = 600;
/** Key of the lock under which one replica plans at a time. */
const planLock = 7_862_462;

export function createPathPlanner(options: {
  readonly pool: Pool;
  readonly silenceSeconds: number;
  readonly probing: PathProbing;
  /** Sends it on the host's link if this replica holds it. */
  readonly ask: (host: string, request: ServerPathProbe) => boolean;
  readonly log: Log;
}): PathPlanner {
  const { pool, silenceSeconds, ask, log } = options;
  const { enabled, everySeconds = 60, restSeconds = 6 * 3600 } = options.probing;
  let timer: NodeJS.Timeout | undefined;
  let looking: Promise<void> | undefined;

  const order = async (host: string, request: ServerPathProbe): Promise<void> => {
    if (!ask(host, request)) await tellRequest(pool, host, request);
  };
  const look = async (): Promise<void> => {
    const chosen = await inTransaction(pool, async (client) => {
      const locked = await client.query<{ locked: boolean }>('select pg_try_advisory_xact_lock($1) as locked', [planLock]);
      if (locked.rows[0]?.locked !== true) return undefined;
      await giveUp(client);
      await forget(client);
      return enabled ? await choose(client, silenceSeconds, restSeconds) : undefined;
    });
    if (chosen !== undefined) await order(chosen.to, { type: 'path-probe', id: chosen.id, peerName: agentDnsName(chosen.from) });
  };
  const lookSafely = (): void => {
    looking ??= look()
      .catch((error: unknown) => log.warn('paths could not be looked at', { problem: toProblem(error).message }))
      .finally(() => {
        looking = undefined;
      });
  };

  return {
    async take(host, { id, outcome }) {
      switch (outcome.state) {
        case 'listening': {
          const { address, port } = outcome;
          const found = await pool.query<{ from_host: string }>(
            `update fleet.path_sample set state = 'listening' where id = $1 and to_host = $2 and state = 'asked' returning from_host`,
            [id, host],
          );
          const [row] = found.rows;
          if (row === undefined) return;
          return await order(row.from_host, { type: 'path-probe', id, peerName: agentDnsName(host), dial: { address, port } });
        }
        case 'measured':
          await pool.query(
            `update fleet.path_sample set state = 'measured', at = clock_timestamp(), bytes = $3, seconds = $4, rtt_ms = $5
              where id = $1 and from_host = $2 and state = 'listening'`,
            [id, host, outcome.bytes, outcome.seconds, outcome.rttMs],
          );
          return;
        case 'busy':
        case 'failed':
          await pool.query(
            `update fleet.path_sample set state = $3, at = clock_timestamp(), reason = $4
              where id = $1 and $2 in (from_host, to_host) and state in ('asked', 'listening')`,
            [id, host, outcome.state, `host ${host}: ${outcome.reason.replaceAll('\0', '')}`],
          );
      }
    },
    async measure(from, to) {
      if (!enabled) return 'measuring paths is switched off here (paths.probes)';
      const [asked] = await inTransaction(pool, async (client) => {
        await client.query('select pg_advisory_xact_lock($1)', [planLock]);
        await giveUp(client);
        return (await client.query<{ id: string }>(askNow, [from, to, silenceSeconds])).rows;
      });
      if (asked === undefined) return `${from} or ${to} is away, or measures another path, or its agent is too old`;
      await order(to, { type: 'path-probe', id: asked.id, peerName: agentDnsName(from) });
      const until = performance.now() + waiting.seconds * 1000;
      while (performance.now() < until) {
        const { rows } = await pool.query<{ state: string; reason: string | null }>(
          'select state, reason from fleet.path_sample where id = $1',
          [asked.id],
        );
        const [row] = rows;
        if (row === undefined) return 'its measurement was given up';
        if (row.state === 'measured') return undefined;
        if (row.state === 'busy' || row.state === 'failed') return row.reason ?? 'it could not be measured';
        await sleep(waiting.lookMs);
      }
      return `it was not measured within ${waiting.seconds} s`;
    },
    look,
    start() {
      timer = setInterval(lookSafely, everySeconds * 1000);
      timer.unref();
    },
    async stop() {
      clearInterval(timer);
      await looking;
    },
  };
}

/** One at a time for each host; the row is what others see of it. */
const askNow = `
  insert into fleet.path_sample (id, from_host, to_host, at, source, state)
  select gen_random_uuid()::text, $1::text, $2::text, clock_timestamp(), 'probe', 'asked'
   where (select count(*) from fleet.link where host in ($1, $2) and link_id is not null
             and heard_at > clock_timestamp() - make_interval(secs => $3) and features ? 'path-probes') = 2
     and not exists (select 1 from fleet.path_sample where state in ('asked', 'listening') and (from_host in ($1, $2) or to_host in ($1, $2)))
  returning id`;

async function giveUp(client: Queryable): Promise<void> {
  await client.query(
    `update fleet.path_sample set state = 'failed', at = clock_timestamp(), reason =
       case state when 'asked' then 'host ' || to_host || ' did not answer' else 'host ' || from_host || ' did not tell what it measured' end
         || ' within ' || $1::integer || ' s'
      where state in ('asked', 'listening') and at < clock_timestamp() - make_interval(secs => $1::integer)`,
    [patienceSeconds],
  );
}

async function forget(client: Queryable): Promise<void> {
  await client.query(
    `delete from fleet.path_sample where at < clock_timestamp() - make_interval(secs => $1)
        or id in (select id from (select id, row_number() over (partition by from_host, to_host order by at desc) as place from fleet.path_sample) as ranked
                   where place > $2)`,
    [kept.seconds, kept.rows],
  );
}

/**
 * The path that has waited longest, noted as asked: between two machines with a tunnel, or between the first hosts of two sites; both connected and
 * neither with a transfer. A path whose throughput a transfer has told is known and not measured.
 */
async function choose(
  client: Queryable,
  silenceSeconds: number,
  restSeconds: number,
): Promise<{ readonly id: string; readonly from: string; readonly to: string } | undefined> {
  const { rows } = await client.query<{ id: string; from: string; to: string }>(
    `with ready as (
       select host.host, host.site, link.boot_id from fleet.host join fleet.link using (host)
        where link_id is not null and heard_at > clock_timestamp() - make_interval(secs => $1) and features ? 'path-probes'
          and not exists (select 1 from fleet.desired where desired.host = host.host and type = 'transfer' and object is not null)
          and not exists (select 1 from fleet.path_sample where state in ('asked', 'listening') and host.host in (from_host, to_host))
     ), first as (
       select distinct on (site) host, site, boot_id from ready order by site, host
     ), pair as (
       select one.host as from_host, other.host as to_host from first as one join first as other on one.site <> other.site and one.boot_id <> other.boot_id
       union
       select one.host, other.host from ready as one join fleet.overlay using (host)
         cross join lateral jsonb_array_elements(overlay.desired -> 'peers') as peer join ready as other on other.host = peer ->> 'host'
     ), due as (
       select pair.from_host, pair.to_host, max(same.at) as told_at from pair
         left join fleet.path_sample as same on same.from_host = pair.from_host and same.to_host = pair.to_host and same.state <> 'busy'
        where not exists (
          select 1 from fleet.path_sample as earlier
           where (earlier.from_host, earlier.to_host) in ((pair.from_host, pair.to_host), (pair.to_host, pair.from_host))
             and case when earlier.state = 'busy' then earlier.at > clock_timestamp() - make_interval(secs => $3)
                      when earlier.source = 'transfer' and earlier.from_host = pair.to_host then false
                      else earlier.at > clock_timestamp() - make_interval(secs => $2) end)
        group by pair.from_host, pair.to_host
     )
     insert into fleet.path_sample (id, from_host, to_host, at, source, state)
     select gen_random_uuid()::text, from_host, to_host, clock_timestamp(), 'probe', 'asked'
       from due order by told_at nulls first, from_host, to_host limit 1
     returning id, from_host as "from", to_host as "to"`,
    [silenceSeconds, restSeconds, busySeconds],
  );
  return rows[0];
}
