import type { Migration } from '@virt8ra/engine';

/** Schema `access`: which port of ours leads to which port of which instance. A freed port stays, so that it is taken again last. */
export const accessMigrations: readonly Migration[] = [
  {
    name: '0001-access',
    sql: `
create schema if not exists access;

create table access.endpoint (
  listen_port integer primary key check (listen_port between 1 and 65535),
  -- Resource id of the instance; null while the port is free.
  instance text,
  port integer check (port between 1 and 65535),
  freed_at timestamptz,
  check ((instance is null) = (port is null)),
  check ((instance is null) = (freed_at is not null)),
  unique (instance, port)
);
`,
  },
];
