import { type AgentMessageOf, type GuestSample, type HostSample, samplesKeptSeconds } from '@virt8ra/contract';
import type { Pool } from 'pg';

/** What hosts and guests used, for an hour: one row for each look at a host, in a table of its own that no history knows. */

export const sampleMigrations: readonly { readonly name: string; readonly sql: string }[] = [
  {
    name: 'samples-0001',
    sql: `
      create table host_sample (
        host text not null,
        at timestamptz not null,
        body jsonb not null,
        guests jsonb not null,
        primary key (host, at)
      ) with (autovacuum_vacuum_scale_factor = 0.05);
      create index host_sample_at on host_sample (at);`,
  },
];

export type HostUsage = HostSample & { readonly at: string };
export type GuestUsage = GuestSample & { readonly at: string };

/** Older than this, in seconds, a sample says nothing of now. */
const freshSeconds = 60;

export interface SampleStore {
  /** Keeps a sample under the server's own time; a host that sends faster than it should replaces its last. */
  take(host: string, samples: AgentMessageOf<'samples'>): Promise<void>;
  /** The newest of each host, none older than a minute; in the order of names. */
  newest(hosts: readonly string[] | 'all', limit: number): Promise<readonly (HostUsage & { readonly host: string })[]>;
  /** The newest of guests by host and key, none older than a minute. */
  newestOfGuests(
    guests: readonly { readonly host: string; readonly key: string }[],
  ): Promise<readonly (GuestUsage & { readonly host: string })[]>;
  historyOfHost(host: string, seconds: number): Promise<readonly HostUsage[]>;
  historyOfGuest(host: string, key: string, seconds: number): Promise<readonly GuestUsage[]>;
  /** Names of block storages and NICs of a workspace, by what their disks and NICs are called on hosts. */
  namesOf(within: { readonly tenant: string; readonly workspace: string }, keys: readonly string[]): Promise<ReadonlyMap<string, string>>;
  /** Forgets what is older than an hour. Answers how many looks. */
  prune(): Promise<number>;
}

export function createSampleStore(pool: Pool): SampleStore {
  return {
    async take(host, { host: body, guests }) {
      // Two looks of one host are at least nine seconds apart, whatever it sends.
      await pool.query(
        `insert into host_sample (host, at, body, guests)
         select $1, clock_timestamp(), $2::jsonb, $3::jsonb
          where not exists (select 1 from host_sample where host = $1 and at > clock_timestamp() - interval '9 seconds')`,
        [host, JSON.stringify(body), JSON.stringify(guests)],
      );
    },
    async newest(hosts, limit) {
      const { rows } = await pool.query<{ host: string; at: Date; body: HostSample }>(
        `select distinct on (host) host, at, body from host_sample
          where at > clock_timestamp() - make_interval(secs => $2) and ($1::text[] is null or host = any($1))
          order by host, at desc limit $3`,
        [hosts === 'all' ? null : hosts, freshSeconds, limit],
      );
      return rows.map(({ host, at, body }) => ({ host, at: at.toISOString(), ...body }));
    },
    async newestOfGuests(guests) {
      if (guests.length === 0) return [];
      const { rows } = await pool.query<{ host: string; at: Date; guest: GuestSample }>(
        `with newest as (
           select distinct on (host) host, at, guests from host_sample
            where host = any($1) and at > clock_timestamp() - make_interval(secs => $3) order by host, at desc)
         select newest.host, newest.at, guest from newest, jsonb_array_elements(newest.guests) as guest
          where (newest.host, guest ->> 'key') in (select * from unnest($1::text[], $2::text[]))`,
        [guests.map(({ host }) => host), guests.map(({ key }) => key), freshSeconds],
      );
      return rows.map(({ host, at, guest }) => ({ host, at: at.toISOString(), ...guest }));
    },
    async historyOfHost(host, seconds) {
      const { rows } = await pool.query<{ at: Date; body: HostSample }>(
        'select at, body from host_sample where host = $1 and at > clock_timestamp() - make_interval(secs => $2) order by at',
        [host, seconds],
      );
      return rows.map(({ at, body }) => ({ at: at.toISOString(), ...body }));
    },
    async historyOfGuest(host, key, seconds) {
      const { rows } = await pool.query<{ at: Date; guest: GuestSample }>(
        `select at, guest from host_sample, jsonb_array_elements(guests) as guest
          where host = $1 and guest ->> 'key' = $2 and at > clock_timestamp() - make_interval(secs => $3) order by at`,
        [host, key, seconds],
      );
      return rows.map(({ at, guest }) => ({ at: at.toISOString(), ...guest }));
    },
    async namesOf({ tenant, workspace }, keys) {
      if (keys.length === 0) return new Map();
      const { rows } = await pool.query<{ key: string; name: string }>(
        `select realization.key, resource.name from realization join resource on resource.uid = realization.resource_uid
          where realization.key = any($1) and tenant = $2 and workspace = $3
         union all select uid, name from resource where uid = any($1) and tenant = $2 and workspace = $3`,
        [keys, tenant, workspace],
      );
      return new Map(rows.map(({ key, name }) => [key, name]));
    },
    async prune() {
      const { rowCount } = await pool.query('delete from host_sample where at < clock_timestamp() - make_interval(secs => $1)', [
        samplesKeptSeconds,
      ]);
      return rowCount ?? 0;
    },
  };
}
