import type { Migration } from '@virt8ra/engine';

/** Tables of the resource store, in order. A migration that has been released is never edited. */
export const resourceMigrations: readonly Migration[] = [
  {
    name: '0001-resource',
    sql: `
create sequence feed_position as bigint;

-- One key serves look-ups, pages and counts. A second index that begins with parent is a trap: without statistics the planner takes it
-- for look-ups by name and reads the whole collection for each.
-- revision_xid is the transaction of the last change of any kind; it only grows, so that the feed tells a resource's changes in order.
create table resource (
  uid text collate "C" primary key,
  kind text collate "C" not null,
  parent text collate "C" not null,
  name text collate "C" not null,
  ref text not null,
  tenant text,
  workspace text,
  network text,
  labels jsonb not null,
  annotations jsonb not null,
  extensions jsonb not null,
  spec jsonb not null,
  status jsonb not null,
  state text not null check (state in ('pending', 'creating', 'active', 'updating', 'deleting', 'error')),
  conditions jsonb not null,
  resource_version bigint not null default 1,
  generation integer not null default 0,
  revision_xid xid8 not null default pg_current_xact_id(),
  revision_seq bigint not null default nextval('feed_position'),
  created_at timestamptz not null,
  last_modified_at timestamptz not null,
  deleted_at timestamptz,
  unique (kind, parent, name)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

-- What is gone, for lists that ask for it. Pruned by age.
create table tombstone (like resource including defaults, removed_at timestamptz not null, primary key (uid));
create index tombstone_position on tombstone (kind, parent, name, uid);
create index tombstone_removed on tombstone (removed_at);

-- One row per label. An equality selector walks this key in the order of the page, so that a page costs the same in any collection.
create table resource_label (
  kind text collate "C" not null,
  parent text collate "C" not null,
  key text collate "C" not null,
  value text collate "C" not null,
  name text collate "C" not null,
  primary key (kind, parent, key, value, name)
);

create table resource_reference (
  uid text collate "C" not null references resource (uid) on delete cascade,
  pointer text not null,
  target_uid text collate "C" not null,
  given jsonb not null,
  primary key (uid, pointer)
);
create index resource_reference_target on resource_reference (target_uid, uid);

-- No foreign key: a realization outlives whatever forgets it, until a positive not-found.
create table realization (
  id text collate "C" primary key,
  resource_uid text collate "C" not null,
  generation integer not null,
  role text not null check (role in ('primary', 'incoming', 'retained')),
  facet text not null,
  site text not null,
  host text,
  key text not null unique,
  state text not null check (state in ('intended', 'present', 'removing')),
  handle jsonb,
  facts jsonb not null,
  created_at timestamptz not null
);
create unique index realization_generation on realization (resource_uid, generation, coalesce(host, ''));
create index realization_site on realization (site);

create table progress (
  resource_uid text collate "C" primary key references resource (uid) on delete cascade,
  body jsonb not null,
  at timestamptz not null,
  xid xid8 not null default pg_current_xact_id()
) with (fillfactor = 70);

create table audit (
  id text primary key,
  at timestamptz not null,
  subject text not null,
  remote text not null,
  verb text not null,
  resource text not null,
  code integer not null,
  before text,
  after text,
  reason text,
  xid xid8 not null default pg_current_xact_id(),
  seq bigint generated always as identity
);
create index audit_position on audit (xid, seq);
create index audit_resource on audit (resource, xid, seq);

-- body: the resource as it was after the change, or its progress. left_labels: the labels before, when the change touched them.
create table feed (
  xid xid8 not null default pg_current_xact_id(),
  seq bigint not null default nextval('feed_position'),
  type text not null,
  kind text not null,
  uid text not null,
  ref text not null,
  tenant text,
  labels jsonb not null,
  left_labels jsonb,
  body jsonb,
  primary key (xid, seq)
);
-- Where the feed begins: everything up to here was pruned.
create table feed_floor (
  single boolean primary key default true check (single),
  xid xid8 not null,
  seq bigint not null
);
insert into feed_floor (xid, seq) values ('0', 0);
`,
  },
  { name: '0002-realization-host', sql: 'create index realization_host on realization (host)' },
  {
    name: '0003-workspace-load',
    sql: `
-- How many resources a workspace holds, kept by the database itself so that no way of writing can forget it. Each connection counts in a
-- row of its own (its process id, modulo 16): creations in one workspace do not wait for each other's commit. A row may be negative; the
-- sum is exact.
create table workspace_load (
  tenant text collate "C" not null,
  workspace text collate "C" not null,
  part smallint not null,
  held bigint not null,
  primary key (tenant, workspace, part)
) with (fillfactor = 70);

create function count_workspace_load() returns trigger language plpgsql as $count$
begin
  insert into workspace_load as load (tenant, workspace, part, held)
  select tenant, workspace, pg_backend_pid() % 16, case tg_op when 'INSERT' then count(*) else -count(*) end
    from changed where workspace is not null group by tenant, workspace order by tenant, workspace
  on conflict (tenant, workspace, part) do update set held = load.held + excluded.held;
  -- What is made in a workspace holds its row, so that nothing is being made in one that goes.
  if tg_op = 'DELETE' then
    delete from workspace_load using changed
     where changed.kind = 'workspace' and workspace_load.tenant = changed.tenant and workspace_load.workspace = changed.name
       and (select sum(each.held) from workspace_load as each where each.tenant = changed.tenant and each.workspace = changed.name) = 0;
  end if;
  return null;
end
$count$;

-- Making the triggers keeps writers out until this migration commits: what is counted next is all there is.
create trigger resource_made after insert on resource referencing new table as changed
  for each statement execute function count_workspace_load();
create trigger resource_gone after delete on resource referencing old table as changed
  for each statement execute function count_workspace_load();
insert into workspace_load (tenant, workspace, part, held)
select tenant, workspace, 0, count(*) from resource where workspace is not null group by tenant, workspace;
`,
  },
  {
    name: '0004-feed-at',
    // When the transaction of the change began. Those that are there already count as of now.
    sql: 'alter table feed add column at timestamptz not null default now()',
  },
  {
    name: '0005-withheld',
    sql: `
-- Resources that differed after a restore in a way that only their owner can decide on: not reconciled until they are written anew or deleted.
create table withheld (
  uid text collate "C" primary key,
  reason text not null,
  message text not null,
  resource_version bigint not null,
  since timestamptz not null default clock_timestamp()
);
`,
  },
];
