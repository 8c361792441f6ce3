import type { Migration } from '@virt8ra/engine';

/** What counts against quotas. */
export const quotaMigrations: readonly Migration[] = [
  {
    name: '0001-quota',
    sql: `
-- What each resource counts for. It goes with the resource, and so gives back when that is really gone.
create table quota_hold (
  uid text collate "C" not null references resource (uid) on delete cascade,
  unit text collate "C" not null,
  tenant text collate "C" not null,
  workspace text collate "C" not null,
  amount bigint not null check (amount >= 0),
  primary key (uid, unit)
) with (fillfactor = 80);

-- Sums of holds, kept by the database itself so that no way of writing can forget them: of a workspace, and under '' of its whole tenant. Each
-- connection counts in a row of its own (its process id, modulo 16), so that those that no quota bounds do not wait for each other.
create table quota_use (
  tenant text collate "C" not null,
  workspace text collate "C" not null,
  unit text collate "C" not null,
  part smallint not null,
  used bigint not null,
  primary key (tenant, workspace, unit, part)
) with (fillfactor = 70);

create function count_quota_use() returns trigger language plpgsql as $count$
begin
  if tg_op <> 'DELETE' then
    insert into quota_use as held (tenant, workspace, unit, part, used)
    select tenant, place, unit, pg_backend_pid() % 16, sum(amount) from made, lateral (values (workspace), ('')) as counted (place)
     group by tenant, place, unit order by tenant, place, unit
    on conflict (tenant, workspace, unit, part) do update set used = held.used + excluded.used;
  end if;
  if tg_op <> 'INSERT' then
    insert into quota_use as held (tenant, workspace, unit, part, used)
    select tenant, place, unit, pg_backend_pid() % 16, -sum(amount) from gone, lateral (values (workspace), ('')) as counted (place)
     group by tenant, place, unit order by tenant, place, unit
    on conflict (tenant, workspace, unit, part) do update set used = held.used + excluded.used;
  end if;
  return null;
end
$count$;

create trigger quota_held after insert on quota_hold referencing new table as made
  for each statement execute function count_quota_use();
create trigger quota_changed after update on quota_hold referencing old table as gone new table as made
  for each statement execute function count_quota_use();
create trigger quota_given_back after delete on quota_hold referencing old table as gone
  for each statement execute function count_quota_use();
`,
  },
];
