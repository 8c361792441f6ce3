import type { Migration } from '@virt8ra/engine';

/** What is kept of webhooks beside the resource: never shown as it is, and gone with it. */
export const webhookMigrations: readonly Migration[] = [
  {
    name: '0001-webhook',
    sql: `
create table webhook_state (
  uid text collate "C" primary key references resource (uid) on delete cascade,
  -- Counted by every write, so that whoever delivers notices what was changed meanwhile.
  version bigint not null default 1,
  owner jsonb not null,
  account text,
  -- Sealed with the key in STATE/identity.
  secret text not null,
  secret_at timestamptz not null,
  previous_secret text,
  previous_until timestamptz,
  -- Everything up to here on the feed was delivered or is not for it.
  xid xid8 not null,
  seq bigint not null,
  facts jsonb not null
) with (fillfactor = 70);

create sequence webhook_delivery_number as bigint;
create table webhook_delivery (
  uid text collate "C" not null references webhook_state (uid) on delete cascade,
  id text collate "C" not null,
  number bigint not null default nextval('webhook_delivery_number'),
  type text not null,
  ref text,
  -- Place on the feed; null: it was a test.
  xid xid8,
  seq bigint,
  at timestamptz not null,
  attempts integer not null,
  delivered boolean not null,
  answer integer,
  milliseconds integer not null,
  problem text,
  primary key (uid, id)
);
create index webhook_delivery_newest on webhook_delivery (uid, number desc);

-- Tests and repetitions that somebody asked for; each is tried once.
create table webhook_asked (
  number bigint primary key generated always as identity,
  uid text collate "C" not null references webhook_state (uid) on delete cascade,
  id text collate "C" not null,
  xid xid8,
  seq bigint
);
create index webhook_asked_uid on webhook_asked (uid, number);
`,
  },
];
