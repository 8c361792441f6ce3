import type { Migration } from '@virt8ra/engine';

/** The chain over the rows of `audit`, which the resource store writes with every change. */
export const auditMigrations: readonly Migration[] = [
  {
    name: '0001-audit-chain',
    sql: `
-- Ids of transactions begin anew in a database that was restored: each era of them has a number, so that what came later sorts later.
alter table audit
  add column era integer not null default 0,
  add column tenant text collate "C" generated always as (substring(resource from '/tenants/([^/]+)')) stored,
  add column workspace text collate "C" generated always as (substring(resource from '/workspaces/([^/]+)')) stored;
drop index audit_position;
drop index audit_resource;
create index audit_position on audit (era, xid, seq);
create index audit_resource on audit (resource, era, xid, seq);
create index audit_place on audit (tenant, workspace, era, xid, seq) where tenant is not null;

-- One seal for each sealed row, in the order of the chain. Seals are written once and never changed.
create table audit_seal (
  position bigint primary key,
  era integer not null,
  xid xid8 not null,
  seq bigint not null,
  id text collate "C" not null unique,
  hash bytea not null
);

-- Signed with a key that is not in this database. head: the chain stood so; cut: everything up to here was removed by age.
create table audit_checkpoint (
  position bigint not null,
  role text not null check (role in ('head', 'cut')),
  era integer not null,
  xid xid8 not null,
  seq bigint not null,
  hash bytea not null,
  at timestamptz not null,
  key text not null,
  signature bytea not null,
  primary key (role, position)
);
`,
  },
];
