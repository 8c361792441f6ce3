/**
 * How things get done and stay done, on PostgreSQL (schema `engine`): a work queue, a reconcile loop over it, and runs: workflows of
 * journaled, undoable steps that any replica can take over. Knows nothing of what is being done.
 */
export { type Backoff, backoffSeconds } from './backoff.js';
export type { Queryable } from './database.js';
export { inTransaction } from './database.js';
export { LeaseLost } from './lease-lost.js';
export { createLeases, type Leases } from './leases.js';
export type { Log } from './log.js';
export type { EngineMetrics } from './metrics.js';
export { engineMigrations, type Migration } from './migrations.js';
export type { Listener, Signal } from './queue/listener.js';
export type { Outcome } from './queue/outcome.js';
export type { WorkStatus } from './queue/queue-store.js';
export {
  createWorkQueue,
  type NudgeOptions,
  type WorkContext,
  type WorkHandler,
  type WorkQueue,
  type WorkQueueOptions,
} from './queue/work-queue.js';
export { createReconciler, type ReconcileHandler, type Reconciler } from './reconciler.js';
export type { Interception, Interposer } from './runs/interposer.js';
export type { JournalEntry, RecordedProblem, RunHistory, RunRecord, RunState } from './runs/run-record.js';
export type { RunFilter } from './runs/run-store.js';
export { createRunner, type Runner, type RunnerOptions, type StartOptions } from './runs/runner.js';
export { defineWorkflow, type Poll, type Run, type StepContext, type StepOptions, type Workflow } from './runs/workflow.js';
