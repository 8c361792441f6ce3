import type { Migration } from '@virt8ra/engine';

/** What was used, hour by hour. */
export const usageMigrations: readonly Migration[] = [
  {
    name: '0001-usage',
    sql: `
create table usage_record (
  tenant text collate "C" not null,
  workspace text collate "C" not null,
  hour timestamptz not null,
  uid text collate "C" not null,
  kind text not null,
  name text not null,
  seconds double precision not null,
  vcpu_seconds double precision,
  ram_seconds double precision,
  storage_gb_seconds double precision,
  primary key (tenant, workspace, hour, uid)
) with (fillfactor = 70);
create index usage_record_hour on usage_record (hour);

-- Up to when everything is recorded.
create table usage_meter (
  single boolean primary key default true check (single),
  at timestamptz not null
);
`,
  },
];
