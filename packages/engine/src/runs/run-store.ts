import { newId, Problem } from '@virt8ra/contract';
import type { Pool } from 'pg';
import type { Queryable } from '../database.js';
import type { JournalEntry, RecordedProblem, RunHistory, RunRecord, RunState } from './run-record.js';

export interface RunFilter {
  readonly subject?: string;
  readonly workflow?: string;
  readonly states?: readonly RunState[];
  /** Only runs that have not ended. */
  readonly live?: boolean;
  /** Newest first; 100. */
  readonly limit?: number;
}

export interface NewRun {
  readonly workflow: string;
  readonly version: number;
  readonly subject: string;
  readonly lane: string;
  readonly idempotencyKey: string | undefined;
  /** Plain JSON. */
  readonly input: unknown;
}

interface RunRow {
  id: string;
  workflow: string;
  version: number;
  subject: string;
  lane: string;
  state: RunState;
  input: string | null;
  output: string | null;
  problem: RecordedProblem | null;
  stuck: RecordedProblem | null;
  cancel_reason: string | null;
  commit_point: string | null;
  created_at: Date;
  changed_at: Date;
  ended_at: Date | null;
}

interface JournalRow {
  position: number;
  name: string;
  kind: JournalEntry['kind'];
  attempts: number;
  failures: number;
  error: string | null;
  begun_at: Date;
  begun_fence: string;
  ended_at: Date | null;
  ended_fence: string | null;
  result: string | null;
  undo_attempts: number;
  undo_failures: number;
  undone_at: Date | null;
}

// JSON is read as text, so that the value null (text `null`) and no value (SQL null) stay apart. The later column of a name wins.
const runColumns = '*, input::text as input, output::text as output';
const journalColumns = '*, result::text as result';

/** Everything about runs that needs no lease. */
export function createRunStore(pool: Pool) {
  async function find(on: Queryable, where: string, values: unknown[]): Promise<RunRecord | undefined> {
    const { rows } = await on.query<RunRow>(`select ${runColumns} from engine.run where ${where}`, values);
    return rows[0] === undefined ? undefined : runFromRow(rows[0]);
  }

  return {
    /** The id of the run, new or of the same idempotency key. Raises `conflict` naming the live run of the subject. */
    async insert(on: Queryable, run: NewRun): Promise<{ readonly id: string; readonly fresh: boolean }> {
      // A live run that stands in the way may end between the two statements: then the second round gets through.
      for (let round = 0; round < 3; round += 1) {
        const { rows } = await on.query<{ id: string }>(
          `insert into engine.run (id, workflow, version, subject, lane, idempotency_key, input)
           values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing returning id`,
          [newId('run'), run.workflow, run.version, run.subject, run.lane, run.idempotencyKey ?? null, jsonText(run.input)],
        );
        if (rows[0] !== undefined) return { id: rows[0].id, fresh: true };
        if (run.idempotencyKey !== undefined) {
          const same = await find(on, 'workflow = $1 and idempotency_key = $2', [run.workflow, run.idempotencyKey]);
          if (same !== undefined) return { id: same.id, fresh: false };
        }
        const live = await this.liveOf(on, run.subject);
        if (live !== undefined)
          throw new Problem('conflict', `${run.subject} is busy with ${live.workflow} (run ${live.id}, ${live.state})`, {
            facts: { runId: live.id, workflow: live.workflow, state: live.state },
          });
      }
      throw new Problem('unavailable', `a run for ${run.subject} could not be started because others come and go; try again`);
    },

    liveOf: async (on: Queryable, subject: string) => await find(on, 'subject = $1 and ended_at is null', [subject]),

    find: async (id: string) => await find(pool, 'id = $1', [id]),

    async journal(id: string): Promise<readonly JournalEntry[]> {
      const { rows } = await pool.query<JournalRow>(`select ${journalColumns} from engine.journal where run_id = $1 order by position`, [
        id,
      ]);
      return rows.map(entryFromRow);
    },

    async history(id: string): Promise<RunHistory | undefined> {
      const record = await this.find(id);
      return record === undefined ? undefined : { ...record, steps: await this.journal(id) };
    },

    async list(filter: RunFilter): Promise<readonly RunRecord[]> {
      const { rows } = await pool.query<RunRow>(
        `select ${runColumns} from engine.run
         where ($1::text is null or subject = $1) and ($2::text is null or workflow = $2)
           and ($3::text[] is null or state = any($3)) and (not $4 or ended_at is null)
         order by created_at desc, id desc limit $5`,
        [filter.subject ?? null, filter.workflow ?? null, filter.states ?? null, filter.live ?? false, filter.limit ?? 100],
      );
      return rows.map(runFromRow);
    },

    /** Notes the wish unless it is too late. Answers the state to judge by. */
    async requestCancel(
      on: Queryable,
      id: string,
      reason: string,
    ): Promise<{ readonly noted: boolean; readonly run: RunRecord | undefined }> {
      const { rowCount } = await on.query(
        `update engine.run set cancel_reason = coalesce(cancel_reason, $2), changed_at = clock_timestamp()
         where id = $1 and ended_at is null and commit_point is null`,
        [id, reason],
      );
      return { noted: rowCount === 1, run: await find(on, 'id = $1', [id]) };
    },

    /** Lets a frozen run go on where it stood. False: it is not stuck. */
    async unfreeze(on: Queryable, id: string): Promise<boolean> {
      const { rowCount } = await on.query(
        `update engine.run set state = case when problem is null then 'running' else 'undoing' end, stuck = null, changed_at = clock_timestamp()
         where id = $1 and state = 'stuck'`,
        [id],
      );
      return rowCount === 1;
    },

    /** Live runs by the workflow version they need. */
    async needed(): Promise<readonly { readonly workflow: string; readonly version: number; readonly runs: readonly string[] }[]> {
      const { rows } = await pool.query<{ workflow: string; version: number; runs: string[] }>(
        `select workflow, version, array_agg(id order by id) as runs from engine.run where ended_at is null
         group by workflow, version order by workflow, version`,
      );
      return rows;
    },

    /** Deletes runs that ended long ago, with their journals. Answers how many. */
    async prune(olderThanSeconds: number): Promise<number> {
      const { rowCount } = await pool.query('delete from engine.run where ended_at < clock_timestamp() - make_interval(secs => $1)', [
        olderThanSeconds,
      ]);
      return rowCount ?? 0;
    },
  };
}

export type RunStore = ReturnType<typeof createRunStore>;

/** SQL null stands for "no value"; a JSON null is the text `null`. */
export function jsonText(value: unknown): string | null {
  return value === undefined ? null : JSON.stringify(value);
}

function parsed(text: string | null): unknown {
  return text === null ? undefined : JSON.parse(text);
}

function runFromRow(row: RunRow): RunRecord {
  return {
    id: row.id,
    workflow: row.workflow,
    version: row.version,
    subject: row.subject,
    lane: row.lane,
    state: row.state,
    input: parsed(row.input),
    output: parsed(row.output),
    problem: row.problem ?? undefined,
    stuck: row.stuck ?? undefined,
    cancelReason: row.cancel_reason ?? undefined,
    commitPoint: row.commit_point ?? undefined,
    createdAt: row.created_at.toISOString(),
    changedAt: row.changed_at.toISOString(),
    endedAt: row.ended_at?.toISOString(),
  };
}

function entryFromRow(row: JournalRow): JournalEntry {
  return {
    position: row.position,
    name: row.name,
    kind: row.kind,
    attempts: row.attempts,
    failures: row.failures,
    error: row.error ?? undefined,
    begunAt: row.begun_at.toISOString(),
    begunFence: Number(row.begun_fence),
    endedAt: row.ended_at?.toISOString(),
    endedFence: row.ended_fence === null ? undefined : Number(row.ended_fence),
    result: parsed(row.result),
    undoAttempts: row.undo_attempts,
    undoFailures: row.undo_failures,
    undoneAt: row.undone_at?.toISOString(),
  };
}
