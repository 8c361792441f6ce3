import type { Migration } from '@virt8ra/engine';

/** Schema `fleet`: what is known and wanted of the hosts. Only live links are elsewhere, in the memory of the replica that holds them. */
export const fleetMigrations: readonly Migration[] = [
  {
    name: '0001-fleet',
    sql: `
create schema if not exists fleet;

-- The CA that this database's agents trust: a replica with another one must not serve them.
create table fleet.authority (
  id integer primary key default 1 check (id = 1),
  sha256 text not null
);

create table fleet.host (
  host text primary key,
  site text not null,
  -- Of the desired state; grows with every change of it.
  generation bigint not null default 0,
  added_at timestamptz not null default clock_timestamp()
);
create index host_by_site on fleet.host (site, host);

create table fleet.enrolment_token (
  hash bytea primary key,
  host text not null references fleet.host (host) on delete cascade,
  expires_at timestamptz not null,
  -- Of the one use: who asked (SHA-256 of the public key) and what was answered, so that a lost answer can be asked for again.
  used_by bytea,
  certificate text
);
create index enrolment_token_by_host on fleet.enrolment_token (host);

-- A certificate that is not here is refused like a revoked one. No foreign key: revocation outlives the host.
create table fleet.certificate (
  fingerprint text primary key,
  host text not null,
  public_key bytea not null,
  issued_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz not null,
  revoked_at timestamptz
);
create index certificate_by_host on fleet.certificate (host, issued_at);

-- object is null for what was withdrawn and may still be there; such a row goes when a whole report of removed_generation lacks it.
create table fleet.desired (
  host text not null references fleet.host (host) on delete cascade,
  type text not null check (type in ('network', 'volume', 'instance', 'transfer')),
  key text not null,
  object jsonb,
  generation bigint not null,
  removed_generation bigint,
  primary key (host, type, key),
  check ((object is null) = (removed_generation is not null))
);
create index desired_by_key on fleet.desired (key, type);

create table fleet.observed (
  host text not null references fleet.host (host) on delete cascade,
  type text not null,
  key text not null,
  object jsonb not null,
  -- The agent's clock, never ahead of ours; then ours.
  observed_at timestamptz not null,
  received_at timestamptz not null,
  generation bigint not null,
  primary key (host, type, key)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
create index observed_by_key on fleet.observed (key, type);

create table fleet.link (
  host text primary key references fleet.host (host) on delete cascade,
  -- The live link, and the replica that holds it; null while there is none.
  link_id text,
  linked_by text,
  linked_at timestamptz,
  certificate text,
  heard_at timestamptz,
  -- Not heard for too long, or not yet reported whole since: nothing of what was observed is current.
  silent boolean not null default true,
  -- Epoch and generation of the newest whole report, and when the newest report of any extent was made.
  full_epoch text,
  full_generation bigint not null default 0,
  reported_at timestamptz,
  agent_version text,
  boot_id text,
  inventory jsonb,
  inventory_at timestamptz
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
`,
  },
  {
    name: '0002-maintenance',
    sql: `
alter table fleet.host add column maintenance boolean not null default false;
-- What the linked agent can do beyond the protocol's first version, as its hello says.
alter table fleet.link add column if not exists features jsonb not null default '[]';
`,
  },
  {
    name: '0003-filters',
    sql: `
alter table fleet.desired drop constraint desired_type_check;
alter table fleet.desired add constraint desired_type_check check (type in ('network', 'volume', 'instance', 'transfer', 'filter'));
`,
  },
  {
    name: '0004-clock-offset',
    sql: `
-- How far the host's clock was ahead of the database's when its newest inventory came, its way included.
alter table fleet.link add column clock_offset_seconds double precision;
`,
  },
  {
    name: '0005-backups',
    sql: `
alter table fleet.desired drop constraint desired_type_check;
alter table fleet.desired add constraint desired_type_check check (type in ('network', 'volume', 'instance', 'transfer', 'filter', 'backup'));
`,
  },
  {
    name: '0006-snapshots',
    sql: `
alter table fleet.desired drop constraint desired_type_check;
alter table fleet.desired add constraint desired_type_check
  check (type in ('network', 'volume', 'instance', 'transfer', 'filter', 'backup', 'snapshot'));
`,
  },
  {
    name: '0007-overlay',
    sql: `
-- Tunnels between machines, of hosts that carry them. The address is the host's for its life.
create table fleet.overlay (
  host text primary key references fleet.host (host) on delete cascade,
  address text unique,
  -- How often the host was told to change its key.
  rotation integer not null default 0,
  -- Part of the host's desired state; null while it carries nothing.
  desired jsonb,
  report jsonb,
  reported_at timestamptz
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

-- Hosts whose part may have changed since the plan was made. Rows are only added and taken, so that nobody waits for anybody here.
create table fleet.overlay_changed (
  id bigint generated always as identity primary key,
  host text not null
);

create index desired_by_vni on fleet.desired (((object ->> 'vni')::integer)) where type = 'network' and object is not null;
create index link_by_segment on fleet.link ((inventory -> 'overlay' ->> 'segment'));
`,
  },
  {
    name: '0008-paths',
    sql: `
-- What was carried from host to host, by a transfer or to measure it: a row for each time, of which few are kept.
create table fleet.path_sample (
  id text primary key,
  from_host text not null references fleet.host (host) on delete cascade,
  to_host text not null references fleet.host (host) on delete cascade,
  at timestamptz not null,
  source text not null check (source in ('transfer', 'probe')),
  -- asked, listening: a probe that is under way. busy: it was put off.
  state text not null check (state in ('asked', 'listening', 'busy', 'measured', 'failed')),
  bytes bigint,
  seconds double precision,
  rtt_ms double precision,
  reason text
);
create index path_sample_by_ends on fleet.path_sample (from_host, to_host, at);
create index path_sample_by_receiver on fleet.path_sample (to_host);
`,
  },
  {
    name: '0009-agent-release',
    sql: `
-- The newest order to run a release of the agent: what the agent is told, and when it was given.
alter table fleet.host add column agent_release jsonb;
`,
  },
  {
    name: '0010-restore',
    sql: `
-- One row for each restore of this database from a control plane backup. Without released_at the control plane stands still.
create table fleet.restore (
  epoch text primary key,
  backup text not null,
  backup_at timestamptz not null,
  backup_build text not null,
  restored_at timestamptz not null default clock_timestamp(),
  released_at timestamptz,
  released_by text
);

-- A held host is told nothing: it goes on with what it was told last.
alter table fleet.host add column held boolean not null default false;

-- What a held host was told last, in its own words: under which epoch it was told, and under which it said so here.
create table fleet.told (
  host text primary key references fleet.host (host) on delete cascade,
  epoch text not null,
  told_by text,
  state jsonb not null,
  at timestamptz not null default clock_timestamp()
);

-- Hosts that showed a certificate of this CA and that the database does not know: enrolled after the backup.
create table fleet.stranger (
  host text primary key,
  seen_at timestamptz not null default clock_timestamp()
);
`,
  },
];
