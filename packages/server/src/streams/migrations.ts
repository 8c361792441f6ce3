import type { Migration } from '@virt8ra/engine';

/** Tickets of streams: for browsers, which cannot send a token with a WebSocket. */
export const streamMigrations: readonly Migration[] = [
  {
    name: '0001-stream-ticket',
    sql: `
create table stream_ticket (
  hash bytea primary key,
  -- Who was given it, and for which path of the API.
  subject jsonb not null,
  path text not null,
  expires_at timestamptz not null
);
create index stream_ticket_expiry on stream_ticket (expires_at);
`,
  },
];
