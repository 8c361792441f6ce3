export interface Migration {
  readonly name: string;
  readonly sql: string;
}

/** Schema `engine`, in order. A migration that has been released is never edited. */
export const engineMigrations: readonly Migration[] = [
  {
    name: '0001-engine',
    sql: `
create schema if not exists engine;

-- One sequence for every fencing token, so that a token never repeats even when its row was deleted and made anew.
create sequence engine.fence as bigint;

create table engine.lease (
  name text primary key,
  owner text not null,
  fence bigint not null,
  lease_until timestamptz not null
);

-- due_at is null when nothing is to be done, and the end of the lease while someone works: a lease that ran out is simply due.
-- again_at collects the nudges that arrive while someone works.
create table engine.work (
  key text primary key,
  kind text not null generated always as (split_part(key, '/', 1)) stored,
  lane text not null default '',
  due_at timestamptz,
  again_at timestamptz,
  leased_by text,
  fence bigint,
  attempts integer not null default 0,
  outcome text,
  reason text,
  worked_at timestamptz,
  worked_seconds double precision
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
create index work_due on engine.work (kind, due_at) where due_at is not null;
create index work_fair on engine.work (kind, lane, due_at) where due_at is not null;
create index work_leased on engine.work (lane) where leased_by is not null;

create table engine.run (
  id text primary key,
  workflow text not null,
  version integer not null,
  subject text not null,
  lane text not null,
  idempotency_key text,
  state text not null default 'running' check (state in ('running', 'waiting', 'undoing', 'done', 'undone', 'stuck')),
  input json,
  output json,
  problem json,
  stuck json,
  cancel_reason text,
  commit_point text,
  created_at timestamptz not null default clock_timestamp(),
  changed_at timestamptz not null default clock_timestamp(),
  ended_at timestamptz
);
create unique index run_one_live on engine.run (subject) where ended_at is null;
create unique index run_idempotency on engine.run (workflow, idempotency_key) where idempotency_key is not null;
create index run_of_subject on engine.run (subject, created_at);
create index run_ended on engine.run (ended_at) where ended_at is not null;

create table engine.journal (
  run_id text not null references engine.run (id) on delete cascade,
  position integer not null,
  name text not null,
  kind text not null check (kind in ('step', 'wait', 'commit')),
  attempts integer not null default 1,
  failures integer not null default 0,
  error text,
  begun_at timestamptz not null default clock_timestamp(),
  begun_fence bigint not null,
  ended_at timestamptz,
  ended_fence bigint,
  result json,
  undo_attempts integer not null default 0,
  undo_failures integer not null default 0,
  undone_at timestamptz,
  undone_fence bigint,
  primary key (run_id, position),
  unique (run_id, name)
);

create view engine.work_overview as
  select key, kind, lane, outcome, reason, attempts,
         case when leased_by is null then due_at end as due_at,
         leased_by,
         case when leased_by is not null then due_at end as lease_until,
         again_at is not null as nudged, worked_at, worked_seconds
  from engine.work;

create view engine.run_overview as
  select run.id, run.workflow, run.version, run.subject, run.lane, run.state,
         step.name as step, step.kind as step_kind, step.attempts as step_attempts, step.error as step_error,
         run.commit_point, run.cancel_reason,
         coalesce(run.stuck ->> 'message', run.problem ->> 'message') as problem,
         work.leased_by,
         case when work.leased_by is not null then work.due_at end as lease_until,
         case when work.leased_by is null then work.due_at end as next_due,
         run.created_at, run.changed_at, run.ended_at
  from engine.run
  left join engine.work on work.key = 'run/' || run.id
  left join lateral (
    select name, kind, attempts, error from engine.journal
    where run_id = run.id order by position desc limit 1
  ) as step on true;

create view engine.journal_overview as
  select run_id, position, name, kind, attempts, failures, error, begun_at, ended_at,
         extract(epoch from ended_at - begun_at) as seconds, undo_attempts, undo_failures, undone_at
  from engine.journal;
`,
  },
];
