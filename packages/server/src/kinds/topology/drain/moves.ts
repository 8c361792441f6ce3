import type { Id } from '@virt8ra/contract';
import type { PoolClient } from 'pg';

/** The moves that drains have begun, so that a drain knows after any kill what it has tried and what came of it. */

export const drainMigrations: readonly { readonly name: string; readonly sql: string }[] = [
  {
    name: 'topology-0001-drain-move',
    sql: `
      create table drain_move (
        migration_uid text primary key,
        run text not null,
        instance_uid text not null,
        mode text not null,
        -- Of the migration's end: its phase, or that it was deleted.
        outcome text,
        problem text
      );
      create index drain_move_by_run on drain_move (run);`,
  },
];

export interface DrainMove {
  readonly migration: Id<'resource'>;
  readonly instance: Id<'resource'>;
  readonly mode: string;
  /** Undefined while it is under way. */
  readonly outcome: string | undefined;
  readonly problem: string | undefined;
}

type Client = Pick<PoolClient, 'query'>;

/** In the order in which they were begun. */
export async function movesOfRun(client: Client, run: string): Promise<readonly DrainMove[]> {
  const { rows } = await client.query<{
    migration_uid: Id<'resource'>;
    instance_uid: Id<'resource'>;
    mode: string;
    outcome: string | null;
    problem: string | null;
  }>('select migration_uid, instance_uid, mode, outcome, problem from drain_move where run = $1 order by migration_uid', [run]);
  return rows.map(({ migration_uid, instance_uid, mode, outcome, problem }) => ({
    migration: migration_uid,
    instance: instance_uid,
    mode,
    outcome: outcome ?? undefined,
    problem: problem ?? undefined,
  }));
}

export async function noteMove(client: Client, run: string, move: Pick<DrainMove, 'migration' | 'instance' | 'mode'>): Promise<void> {
  await client.query('insert into drain_move (migration_uid, run, instance_uid, mode) values ($1, $2, $3, $4)', [
    move.migration,
    run,
    move.instance,
    move.mode,
  ]);
}

export async function noteOutcome(client: Client, migration: Id<'resource'>, outcome: string, problem: string | undefined): Promise<void> {
  await client.query('update drain_move set outcome = $2, problem = $3 where migration_uid = $1', [migration, outcome, problem ?? null]);
}

/** What an earlier drain of the host has tried is of no use to the next. */
export async function forgetMoves(client: Client, run: string): Promise<void> {
  await client.query('delete from drain_move where run = $1', [run]);
}
