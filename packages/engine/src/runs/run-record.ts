import type { ProblemKind } from '@virt8ra/contract';

export type RunState = 'running' | 'waiting' | 'undoing' | 'done' | 'undone' | 'stuck';

/** A problem as it is kept. */
export interface RecordedProblem {
  readonly kind: ProblemKind;
  readonly message: string;
  readonly facts: Readonly<Record<string, unknown>>;
}

export interface RunRecord {
  readonly id: string;
  readonly workflow: string;
  readonly version: number;
  readonly subject: string;
  readonly lane: string;
  readonly state: RunState;
  readonly input: unknown;
  /** Present when done, unless the workflow returns nothing. */
  readonly output: unknown;
  /** Why it is being, or was, undone. */
  readonly problem: RecordedProblem | undefined;
  /** Why it is frozen; a person must look. */
  readonly stuck: RecordedProblem | undefined;
  readonly cancelReason: string | undefined;
  /** Name of the commit point, once passed. */
  readonly commitPoint: string | undefined;
  /** ISO 8601. */
  readonly createdAt: string;
  readonly changedAt: string;
  readonly endedAt: string | undefined;
}

export interface JournalEntry {
  readonly position: number;
  readonly name: string;
  readonly kind: 'step' | 'wait' | 'commit';
  readonly attempts: number;
  readonly failures: number;
  /** The latest failure of the step or of its undo. */
  readonly error: string | undefined;
  readonly begunAt: string;
  readonly begunFence: number;
  /** Undefined: never answered as far as anyone knows. */
  readonly endedAt: string | undefined;
  readonly endedFence: number | undefined;
  readonly result: unknown;
  readonly undoAttempts: number;
  readonly undoFailures: number;
  readonly undoneAt: string | undefined;
}

/** A run with its journal. */
export interface RunHistory extends RunRecord {
  readonly steps: readonly JournalEntry[];
}
