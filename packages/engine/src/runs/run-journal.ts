import type { Problem } from '@virt8ra/contract';
import type { Pool, PoolClient } from 'pg';
import { inTransaction, type Queryable } from '../database.js';
import { LeaseLost } from '../lease-lost.js';
import { engineChannel } from '../queue/listener.js';
import type { JournalEntry, RecordedProblem } from './run-record.js';
import { jsonText } from './run-store.js';

/** What `begin` and `commit` answer: go on, or someone asked for the run to be cancelled before it was too late. */
export type Leave =
  | { readonly go: true; readonly attempt: number; readonly begunSeconds: number }
  | { readonly go: false; readonly reason: string };

/**
 * Writes of the one replica that holds the run. Every statement takes the lease row FOR SHARE and compares the fencing token, so that a
 * take-over and a write exclude each other: either the write is complete before another replica reads the journal, or it raises
 * `LeaseLost` and changes nothing, however long this process was paused.
 */
export function createRunJournal(options: {
  readonly pool: Pool;
  readonly runId: string;
  readonly workKey: string;
  readonly fence: number;
}) {
  const { pool, runId, workKey, fence } = options;
  const held = 'with held as (select 1 from engine.work where key = $1 and fence = $2 for share)';

  async function write(statement: string, values: unknown[]): Promise<void> {
    const { rowCount } = await pool.query(`${held} ${statement}`, [workKey, fence, runId, ...values]);
    if (rowCount === 0) throw new LeaseLost(`run ${runId}`);
  }

  async function lock(client: PoolClient): Promise<void> {
    const { rowCount } = await client.query('select 1 from engine.work where key = $1 and fence = $2 for share', [workKey, fence]);
    if (rowCount === 0) throw new LeaseLost(`run ${runId}`);
  }

  async function cancelReason(on: Queryable = pool): Promise<string | undefined> {
    const { rows } = await on.query<{ cancel_reason: string | null }>(
      `${held} select cancel_reason from held join engine.run on run.id = $3`,
      [workKey, fence, runId],
    );
    if (rows[0] === undefined) throw new LeaseLost(`run ${runId}`);
    return rows[0].cancel_reason ?? undefined;
  }

  /** Why nothing was written: cancelled, unless the lease is lost. */
  async function refusal(on: Queryable = pool): Promise<Leave> {
    return { go: false, reason: (await cancelReason(on)) ?? 'cancelled' };
  }

  return {
    async guarded<Value>(work: (client: PoolClient) => Promise<Value>): Promise<Value> {
      return await inTransaction(pool, async (client) => {
        await lock(client);
        return await work(client);
      });
    },

    /** Notes that a step is about to be done, unless the run is to be cancelled: then nothing is noted and nothing need be undone. */
    async begin(position: number, name: string, kind: JournalEntry['kind']): Promise<Leave> {
      const { rows } = await pool.query<{ attempts: number; begun_seconds: number }>(
        `${held}
         insert into engine.journal (run_id, position, name, kind, begun_fence)
         select $3, $4, $5, $6, $2 from held join engine.run on run.id = $3
         where run.cancel_reason is null or run.commit_point is not null
         on conflict (run_id, position) do update set attempts = journal.attempts + 1
         returning attempts, extract(epoch from clock_timestamp() - begun_at)::float8 as begun_seconds`,
        [workKey, fence, runId, position, name, kind],
      );
      if (rows[0] === undefined) return await refusal();
      return { go: true, attempt: rows[0].attempts, begunSeconds: rows[0].begun_seconds };
    },

    async end(position: number, result: unknown): Promise<void> {
      await write(
        `update engine.journal set ended_at = clock_timestamp(), ended_fence = $2, result = $5, error = null
         from held where run_id = $3 and position = $4`,
        [position, jsonText(result)],
      );
    },

    /** Begins and ends the commit point in one statement with the run's own mark, so that a cancellation is either before or refused. */
    async commit(position: number, name: string): Promise<Leave> {
      return await inTransaction(pool, async (client) => {
        await lock(client);
        const { rowCount } = await client.query(
          `update engine.run set commit_point = coalesce(commit_point, $2), changed_at = clock_timestamp()
           where id = $1 and (cancel_reason is null or commit_point is not null)`,
          [runId, name],
        );
        if (rowCount === 0) return await refusal(client);
        await client.query(
          `insert into engine.journal (run_id, position, name, kind, begun_fence, ended_at, ended_fence)
           values ($1, $2, $3, 'commit', $4, clock_timestamp(), $4)`,
          [runId, position, name, fence],
        );
        return { go: true, attempt: 1, begunSeconds: 0 };
      });
    },

    /** Counts a failure of a step. Answers how many there were and whether the run is to be cancelled. */
    async fail(position: number, problem: Problem): Promise<{ readonly failures: number; readonly cancelReason: string | undefined }> {
      const { rows } = await pool.query<{ failures: number; cancel_reason: string | null }>(
        `${held}, failed as (
           update engine.journal set failures = failures + 1, error = $5 from held where run_id = $3 and position = $4 returning failures
         )
         select failures, cancel_reason from failed join engine.run on run.id = $3`,
        [workKey, fence, runId, position, problem.message],
      );
      if (rows[0] === undefined) throw new LeaseLost(`run ${runId}`);
      return { failures: rows[0].failures, cancelReason: rows[0].cancel_reason ?? undefined };
    },

    /** A poll answered: what failed before no longer counts. */
    async forgiveFailures(position: number): Promise<void> {
      await write('update engine.journal set failures = 0, error = null from held where run_id = $3 and position = $4', [position]);
    },

    async setState(state: 'running' | 'waiting'): Promise<void> {
      await write(`update engine.run set state = $4, changed_at = clock_timestamp() from held where id = $3`, [state]);
    },

    /** From here the run only goes backward. The first problem stays. */
    async beginUndoing(problem: Problem): Promise<void> {
      await write(
        `update engine.run set state = 'undoing', problem = coalesce(problem, $4::json), changed_at = clock_timestamp()
         from held where id = $3`,
        [JSON.stringify(recordFromProblem(problem))],
      );
    },

    async beginUndo(position: number): Promise<number> {
      const { rows } = await pool.query<{ undo_attempts: number }>(
        `${held} update engine.journal set undo_attempts = undo_attempts + 1 from held where run_id = $3 and position = $4
         returning undo_attempts`,
        [workKey, fence, runId, position],
      );
      if (rows[0] === undefined) throw new LeaseLost(`run ${runId}`);
      return rows[0].undo_attempts;
    },

    async failUndo(position: number, problem: Problem): Promise<number> {
      const { rows } = await pool.query<{ undo_failures: number }>(
        `${held} update engine.journal set undo_failures = undo_failures + 1, error = $5 from held where run_id = $3 and position = $4
         returning undo_failures`,
        [workKey, fence, runId, position, problem.message],
      );
      if (rows[0] === undefined) throw new LeaseLost(`run ${runId}`);
      return rows[0].undo_failures;
    },

    async endUndo(position: number): Promise<void> {
      await write(
        `update engine.journal set undone_at = clock_timestamp(), undone_fence = $2, error = null
         from held where run_id = $3 and position = $4`,
        [position],
      );
    },

    async freeze(problem: Problem): Promise<void> {
      const { rowCount } = await pool.query(
        `${held}, frozen as (
           update engine.run set state = 'stuck', stuck = $4::json, changed_at = clock_timestamp() from held where id = $3 returning id
         )
         select pg_notify('${engineChannel}', 'ended ' || id) from frozen`,
        [workKey, fence, runId, JSON.stringify(recordFromProblem(problem))],
      );
      if (rowCount === 0) throw new LeaseLost(`run ${runId}`);
    },

    /**
     * Ends the run; `wakeSubject` runs in the same transaction. Answers how many seconds it lived, or undefined when it cannot be done
     * because a cancellation was accepted before.
     */
    async finish(
      state: 'done' | 'undone',
      output: unknown,
      wakeSubject: (client: PoolClient) => Promise<void>,
    ): Promise<number | undefined> {
      return await inTransaction(pool, async (client) => {
        await lock(client);
        const { rows } = await client.query<{ seconds: number }>(
          `update engine.run set state = $2, output = $3, changed_at = clock_timestamp(), ended_at = clock_timestamp()
           where id = $1 and ($2 = 'undone' or cancel_reason is null or commit_point is not null)
           returning extract(epoch from ended_at - created_at)::float8 as seconds`,
          [runId, state, jsonText(output)],
        );
        if (rows[0] === undefined) return undefined;
        await wakeSubject(client);
        await client.query('select pg_notify($1, $2)', [engineChannel, `ended ${runId}`]);
        return rows[0].seconds;
      });
    },

    cancelReason: async () => await cancelReason(),
  };
}

export type RunJournal = ReturnType<typeof createRunJournal>;

export function recordFromProblem(problem: Problem): RecordedProblem {
  return { kind: problem.kind, message: problem.message, facts: problem.facts };
}
