import type { PoolClient } from 'pg';

/**
 * A plain async function of named steps. Between the steps it must be a pure function of its input and of what the steps answered: it is
 * called again from the top after every wait, fault and take-over, and recorded steps then answer from the journal.
 * A released version's steps never change meaning; publish the next version and let old runs finish with theirs.
 */
export interface Workflow<Input = unknown, Output = unknown> {
  readonly name: string;
  readonly version: number;
  run(run: Run, input: Input): Promise<Output>;
}

/** Gives the function its types; nothing is registered anywhere. */
export function defineWorkflow<Input, Output>(workflow: Workflow<Input, Output>): Workflow<Input, Output> {
  return workflow;
}

/** What a step is given. */
export interface StepContext {
  /** `<run id>/<step name>`: the same on every repetition, and for the step's undo. */
  readonly key: string;
  readonly runId: string;
  /** Aborted when the run is cancelled, the lease is lost or the replica stops. */
  readonly signal: AbortSignal;
  /** The fencing token this replica holds the run with. */
  readonly fence: number;
  /** 1 for the first time. */
  readonly attempt: number;
  /**
   * Called before every call to the outside: makes this replica's lease outlive the call's timeout, so that nobody takes over while the
   * call may still take effect. Raises `LeaseLost` when the run belongs to another replica; at most 300 000 ms.
   */
  assertOwned(timeoutMs: number): Promise<void>;
  /** A transaction in the engine's database that commits only while this replica still owns the run; else raises `LeaseLost`. */
  guarded<Value>(work: (client: PoolClient) => Promise<Value>): Promise<Value>;
}

export interface StepOptions {
  /** After so many failures that say `later` or `verify` the step counts as failed for good (30). Without effect after the commit point. */
  readonly attempts?: number;
}

export type Poll<Result> = { readonly done: Result } | { readonly waitSeconds: number };

/**
 * The run as its workflow sees it. Steps go one after another and their names are unique within the run. A failure never reaches the
 * workflow function: it simply does not continue, so it needs no catch and must not rely on finally.
 */
export interface Run {
  readonly id: string;
  readonly subject: string;
  /**
   * Does one thing with an effect. It may be repeated at any time by the same key, so it must find what an earlier attempt made. The
   * result is plain JSON or nothing. What it throws decides: `later` and `verify` (Problem.retry) repeat it after a back-off, anything
   * else undoes the run, unless the commit point is passed: then everything is repeated until it works.
   * `undo` must cope with all that an attempt may have left: everything, a part, or nothing; `result` is undefined when no answer was
   * recorded. It too may be repeated, and is until it works.
   */
  step<Result>(
    name: string,
    act: (context: StepContext) => Promise<Result>,
    undo?: (context: StepContext, result: Result | undefined) => Promise<void>,
    options?: StepOptions,
  ): Promise<Result>;
  /**
   * Parks the run until the poll says done: it holds no memory and no lease meanwhile, and polls when due or nudged. After
   * `timeoutSeconds` (counted by the database from the first poll) it fails for good with `unavailable`; after the commit point it waits on.
   */
  wait<Result>(
    name: string,
    poll: (context: StepContext) => Promise<Poll<Result>>,
    options: { readonly timeoutSeconds: number; readonly attempts?: number },
  ): Promise<Result>;
  /** The point of no return. From here failure goes forward only, and the run can no longer be cancelled. */
  commit(name: string): Promise<void>;
}
