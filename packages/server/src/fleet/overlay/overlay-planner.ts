import { type DesiredOverlay, type OverlayFacts, type OverlayReport, toProblem } from '@virt8ra/contract';
import { inTransaction, type Log, type Queryable } from '@virt8ra/engine';
import type { Pool } from 'pg';
import { tellFleet } from '../signals.js';
import { type NetworkOnHost, type OverlayHost, planOverlay } from './plan-overlay.js';
import { tunnelAddress } from './tunnel-address.js';

/** Keeps what every carrier is told in step with what hosts have and can. */
export interface OverlayPlanner {
  /** Something was noted as changed; the plan follows at once, or at the next look when this process dies. */
  kick(): void;
  start(): void;
  stop(): Promise<void>;
}

/** How often notes are looked for that another replica left behind. */
const lookMs = 5_000;
/** Key of the lock under which one replica plans at a time. */
const planLock = 7_862_461;

/** Notes that a host's part in the overlay may have changed. Takes part in the transaction that changes it. */
export async function noteOverlayChange(client: Queryable, hosts: readonly string[]): Promise<void> {
  await client.query('insert into fleet.overlay_changed (host) select unnest($1::text[])', [hosts]);
}

export function createOverlayPlanner({
  pool,
  caSha256,
  log,
}: {
  readonly pool: Pool;
  readonly caSha256: string;
  readonly log: Log;
}): OverlayPlanner {
  let timer: NodeJS.Timeout | undefined;
  let planning: Promise<void> | undefined;
  let again = false;
  let stopped = false;
  const plan = async (): Promise<void> => {
    while (again && !stopped) {
      again = false;
      await inTransaction(pool, async (client) => await replan(client, caSha256));
    }
  };
  const kick = (): void => {
    again = true;
    if (stopped) return;
    planning ??= plan()
      .catch((error: unknown) => log.warn('the overlay could not be planned', { problem: toProblem(error).message }))
      .finally(() => {
        planning = undefined;
        if (again && !stopped) kick();
      });
  };
  return {
    kick,
    start() {
      timer = setInterval(kick, lookMs);
      kick();
    },
    async stop() {
      stopped = true;
      clearInterval(timer);
      await planning;
    },
  };
}

/** Plans anew for the hosts that a noted change can concern, and for no others. */
async function replan(client: Queryable, caSha256: string): Promise<void> {
  const locked = await client.query<{ locked: boolean }>('select pg_try_advisory_xact_lock($1) as locked', [planLock]);
  if (locked.rows[0]?.locked !== true) return;
  const noted = await client.query<{ host: string }>('delete from fleet.overlay_changed returning host');
  if (noted.rows.length === 0) return;
  const changed = [...new Set(noted.rows.map(({ host }) => host))];
  const machines = await hostsOfMachines(client, changed);
  const concerned = await hostsOfMachines(client, [
    ...changed,
    ...(await peersOf(client, machines)),
    ...(await hostsWithNetworksOf(client, machines)),
  ]);
  const around = await hostsOfMachines(client, [...concerned, ...(await hostsWithNetworksOf(client, concerned))]);
  const hosts = await readHosts(client, around, caSha256);
  const planned = planOverlay(hosts, await networksOn(client, around));
  for (const host of [...concerned].sort()) await write(client, host, planned.get(host));
}

/** The hosts and all that share bridges with one of them. */
async function hostsOfMachines(client: Queryable, hosts: readonly string[]): Promise<string[]> {
  const found = await client.query<{ host: string }>(
    `select host.host from fleet.host left join fleet.link using (host)
      where host.host = any($1) or inventory -> 'overlay' ->> 'segment' in (
        select inventory -> 'overlay' ->> 'segment' from fleet.link where host = any($1))`,
    [hosts],
  );
  return found.rows.map(({ host }) => host);
}

async function peersOf(client: Queryable, hosts: readonly string[]): Promise<string[]> {
  const found = await client.query<{ host: string }>(
    `select distinct peer ->> 'host' as host from fleet.overlay, jsonb_array_elements(desired -> 'peers') as peer where host = any($1)`,
    [hosts],
  );
  return found.rows.map(({ host }) => host);
}

async function hostsWithNetworksOf(client: Queryable, hosts: readonly string[]): Promise<string[]> {
  const found = await client.query<{ host: string }>(
    `select distinct host from fleet.desired
      where type = 'network' and object is not null and (object ->> 'vni')::integer in (
        select (object ->> 'vni')::integer from fleet.desired where type = 'network' and object is not null and host = any($1))`,
    [hosts],
  );
  return found.rows.map(({ host }) => host);
}

async function networksOn(client: Queryable, hosts: readonly string[]): Promise<NetworkOnHost[]> {
  const found = await client.query<NetworkOnHost>(
    `select host, (object ->> 'vni')::integer as vni, (object ->> 'mtu')::integer as mtu
       from fleet.desired where type = 'network' and object is not null and host = any($1)`,
    [hosts],
  );
  return found.rows;
}

interface HostRow {
  readonly host: string;
  readonly place: string;
  readonly facts: OverlayFacts | null;
  readonly address: string | null;
  readonly rotation: number | null;
  readonly report: OverlayReport | null;
}

async function readHosts(client: Queryable, hosts: readonly string[], caSha256: string): Promise<OverlayHost[]> {
  const found = await client.query<HostRow>(
    `select host.host, extract(epoch from added_at)::text as place, inventory -> 'overlay' as facts, address, rotation, report
       from fleet.host left join fleet.link using (host) left join fleet.overlay using (host) where host.host = any($1)`,
    [hosts],
  );
  const read: OverlayHost[] = [];
  for (const { host, place, facts, address, rotation, report } of found.rows) {
    read.push({
      host,
      order: Number(place),
      facts: facts ?? undefined,
      address: address ?? (await assignAddress(client, host, caSha256)),
      rotation: rotation ?? 0,
      report: report ?? undefined,
    });
  }
  return read;
}

/** No two hosts have the same address, however their names hash. */
async function assignAddress(client: Queryable, host: string, caSha256: string): Promise<string> {
  for (let attempt = 0; ; attempt += 1) {
    const address = tunnelAddress(caSha256, host, attempt);
    const made = await client.query(
      `insert into fleet.overlay (host, address) select $1, $2 where not exists (select 1 from fleet.overlay where address = $2)
       on conflict (host) do update set address = coalesce(fleet.overlay.address, excluded.address) returning address`,
      [host, address],
    );
    if (made.rowCount !== 0) return address;
  }
}

async function write(client: Queryable, host: string, desired: DesiredOverlay | undefined): Promise<void> {
  const text = desired === undefined ? null : JSON.stringify(desired);
  const written = await client.query(
    `with changed as (
       update fleet.overlay set desired = $2::jsonb where host = $1 and desired is distinct from $2::jsonb returning host)
     update fleet.host set generation = generation + 1 from changed where host.host = changed.host`,
    [host, text],
  );
  if (written.rowCount !== 0) await tellFleet(client, host);
}
