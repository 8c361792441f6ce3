import { Problem } from '@virt8ra/contract';
import type { Pool } from 'pg';
import { type Backoff, defaultBackoff } from '../backoff.js';
import { inTransaction, type Queryable } from '../database.js';
import { asJson } from '../json.js';
import type { Log } from '../log.js';
import type { EngineMetrics } from '../metrics.js';
import { createWorkQueue, type WorkQueue } from '../queue/work-queue.js';
import type { Interposer } from './interposer.js';
import { executeRun } from './run-execution.js';
import { createRunJournal } from './run-journal.js';
import type { RunHistory, RunRecord } from './run-record.js';
import { createRunStore, type RunFilter } from './run-store.js';
import type { Workflow } from './workflow.js';

export interface StartOptions<Input> {
  /** What the run is about, and the key that is woken when it ends: `instance/res_…`. At most one live run per subject. */
  readonly subject: string;
  /** Plain JSON. */
  readonly input: Input;
  /** Fairness group, usually the tenant. */
  readonly lane?: string;
  /** The same workflow started with the same key is the same run, live or ended. */
  readonly idempotencyKey?: string;
}

export interface Runner {
  /**
   * Starts a run, inside `tx` with the rest of it. Raises `conflict` naming the live run of the subject (facts `runId`, `workflow`,
   * `state`), and `internal` for a workflow this runner was not given.
   */
  start<Input, Output>(workflow: Workflow<Input, Output>, options: StartOptions<Input>, tx?: Queryable): Promise<string>;
  /** Asks for a run to be undone. Raises `conflict` when it has ended or passed its commit point, `not-found` when there is none. */
  cancel(runId: string, reason: string): Promise<void>;
  /** Has the live run of the subject, if any, looked at now: ends a wait or a back-off early. */
  nudge(subject: string, tx?: Queryable): Promise<void>;
  /** Lets a stuck run go on where it stood, after its workflow was mended. Raises `conflict` when it is not stuck. */
  resume(runId: string): Promise<void>;
  get(runId: string): Promise<RunHistory | undefined>;
  list(filter?: RunFilter): Promise<readonly RunRecord[]>;
  /** Resolves when the run is done, undone or stuck; raises `unavailable` after so many seconds. */
  ended(runId: string, timeoutSeconds: number): Promise<RunHistory>;
  /** Raises `conflict` naming live runs whose workflow version this replica does not have; it must not start then. */
  assertRunnable(): Promise<void>;
  /** Deletes ended runs older than that. Answers how many. */
  prune(olderThanSeconds: number): Promise<number>;
  /** Starts its own queue; nothing to do when a queue was given. */
  startWork(): Promise<void>;
  /** Finishes the steps in flight within the grace of the queue, begins no others; other replicas take over. A given queue is not stopped. */
  stop(): Promise<void>;
  readonly queue: WorkQueue;
}

export interface RunnerOptions {
  readonly pool: Pool;
  /** Shared with the reconcilers; without it the runner makes, starts and stops its own. */
  readonly queue?: WorkQueue;
  readonly workflows: readonly Workflow[];
  readonly log: Log;
  readonly owner: string;
  /** For a queue of its own (15). */
  readonly leaseSeconds?: number;
  /** Runs at work at once on this replica (32); parked ones do not count. */
  readonly concurrency?: number;
  readonly backoff?: Backoff;
  readonly metrics?: EngineMetrics;
  readonly interposer?: Interposer;
}

/** How long a replica leaves alone a run whose workflow version only another replica has. */
const foreignVersionSeconds = 30;

export function createRunner(options: RunnerOptions): Runner {
  const { pool, log, metrics } = options;
  const backoff = options.backoff ?? defaultBackoff;
  const interposer: Interposer = options.interposer ?? (async (_interception, act) => await act());
  const queue =
    options.queue ??
    createWorkQueue({
      pool,
      log,
      owner: options.owner,
      ...(options.leaseSeconds === undefined ? {} : { leaseSeconds: options.leaseSeconds }),
    });
  const store = createRunStore(pool);
  const workflows = new Map<string, Workflow>();
  for (const workflow of options.workflows) {
    const name = versionedName(workflow.name, workflow.version);
    if (workflows.has(name)) throw new Problem('internal', `workflow ${name} is given twice`);
    workflows.set(name, workflow);
  }

  queue.handle(
    'run',
    async (key, work) => {
      const runId = runIdFromKey(key);
      const record = await store.find(runId);
      if (record === undefined || record.endedAt !== undefined) return { gone: true };
      if (record.state === 'stuck') return { done: true, reason: record.stuck?.message ?? 'stuck' };
      const workflow = workflows.get(versionedName(record.workflow, record.version));
      if (workflow === undefined)
        return { waitSeconds: foreignVersionSeconds, reason: `needs ${versionedName(record.workflow, record.version)}` };
      return await executeRun({
        record,
        entries: await store.journal(runId),
        workflow,
        journal: createRunJournal({ pool, runId, workKey: key, fence: work.fence }),
        work,
        interposer,
        backoff,
        log,
        wakeSubject: async (client) => {
          await queue.wake(record.subject, client);
        },
        ended: (state, seconds) => metrics?.runEnded?.(record.workflow, state, seconds),
      });
    },
    { concurrency: options.concurrency ?? 32 },
  );

  async function known(runId: string): Promise<RunHistory> {
    const history = await store.history(runId);
    if (history === undefined) throw new Problem('not-found', `there is no run ${runId}`);
    return history;
  }

  return {
    async start(workflow, startOptions, tx) {
      const { name, version } = workflow;
      if (!workflows.has(versionedName(name, version)))
        throw new Problem('internal', `workflow ${versionedName(name, version)} is not known here`);
      const lane = startOptions.lane ?? '';
      const begin = async (on: Queryable): Promise<string> => {
        const { id, fresh } = await store.insert(on, {
          workflow: name,
          version,
          subject: startOptions.subject,
          lane,
          idempotencyKey: startOptions.idempotencyKey,
          input: asJson(startOptions.input, `the input of ${name}`),
        });
        if (fresh) await queue.nudge(keyFromRunId(id), { lane }, on);
        return id;
      };
      return tx === undefined ? await inTransaction(pool, begin) : await begin(tx);
    },
    async cancel(runId, reason) {
      await inTransaction(pool, async (client) => {
        // The work row before the run's row, in the order in which a commit point takes them, so that the two cannot block each other.
        await queue.wake(keyFromRunId(runId), client);
        const { noted, run } = await store.requestCancel(client, runId, reason);
        if (run === undefined) throw new Problem('not-found', `there is no run ${runId}`);
        if (noted) return;
        const why =
          run.endedAt === undefined
            ? `it has passed its commit point "${run.commitPoint ?? ''}" and goes forward only`
            : `it has ended (${run.state})`;
        throw new Problem('conflict', `run ${runId} (${run.workflow}) cannot be cancelled: ${why}`, { facts: { runId, state: run.state } });
      });
    },
    async nudge(subject, tx = pool) {
      const live = await store.liveOf(tx, subject);
      if (live !== undefined) await queue.nudge(keyFromRunId(live.id), {}, tx);
    },
    async resume(runId) {
      await inTransaction(pool, async (client) => {
        if (!(await store.unfreeze(client, runId))) throw new Problem('conflict', `run ${runId} is not stuck`);
        await queue.nudge(keyFromRunId(runId), {}, client);
      });
    },
    get: async (runId) => await store.history(runId),
    list: async (filter = {}) => await store.list(filter),
    async ended(runId, timeoutSeconds) {
      let wake: () => void = () => undefined;
      const unsubscribe = queue.signals.on((signal) => {
        if (signal.type === 'connected' || (signal.type === 'ended' && signal.runId === runId)) wake();
      });
      const deadline = performance.now() + timeoutSeconds * 1000;
      try {
        for (;;) {
          const signalled = new Promise<void>((resolve) => {
            wake = resolve;
          });
          const history = await known(runId);
          if (history.endedAt !== undefined || history.state === 'stuck') return history;
          const left = deadline - performance.now();
          if (left <= 0) throw new Problem('unavailable', `run ${runId} is still ${history.state} after ${timeoutSeconds} s`);
          await Promise.race([signalled, rest(Math.min(left, 1000))]);
        }
      } finally {
        unsubscribe();
      }
    },
    async assertRunnable() {
      const missing = (await store.needed()).filter((need) => !workflows.has(versionedName(need.workflow, need.version)));
      if (missing.length === 0) return;
      const list = missing.map((need) => `${versionedName(need.workflow, need.version)} (${need.runs.join(', ')})`).join('; ');
      throw new Problem('conflict', `live runs need workflow versions that this release does not have: ${list}`, { facts: { missing } });
    },
    prune: async (olderThanSeconds) => await store.prune(olderThanSeconds),
    async startWork() {
      if (options.queue === undefined) await queue.start();
    },
    async stop() {
      if (options.queue === undefined) await queue.stop();
    },
    queue,
  };
}

function versionedName(name: string, version: number): string {
  return `${name}@${version}`;
}

/** The key of a run in the work queue. */
export function keyFromRunId(runId: string): string {
  return `run/${runId}`;
}

function runIdFromKey(key: string): string {
  return key.slice('run/'.length);
}

async function rest(milliseconds: number): Promise<void> {
  await new Promise<void>((resolve) => {
    setTimeout(resolve, milliseconds).unref();
  });
}
