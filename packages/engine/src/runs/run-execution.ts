import { Problem, toProblem } from '@virt8ra/contract';
import type { PoolClient } from 'pg';
import { type Backoff, backoffSeconds } from '../backoff.js';
import { asJson } from '../json.js';
import { LeaseLost } from '../lease-lost.js';
import type { Log } from '../log.js';
import type { Outcome } from '../queue/outcome.js';
import type { WorkContext } from '../queue/work-queue.js';
import type { Interception, Interposer } from './interposer.js';
import type { RunJournal } from './run-journal.js';
import type { JournalEntry, RunRecord } from './run-record.js';
import type { Poll, Run, StepContext, Workflow } from './workflow.js';

export interface ExecutionOptions {
  readonly record: RunRecord;
  readonly entries: readonly JournalEntry[];
  readonly workflow: Workflow;
  readonly journal: RunJournal;
  readonly work: WorkContext;
  readonly interposer: Interposer;
  readonly backoff: Backoff;
  readonly log: Log;
  readonly wakeSubject: (client: PoolClient) => Promise<void>;
  readonly ended: (state: 'done' | 'undone' | 'stuck', seconds: number) => void;
}

/** Why the workflow function does not go on. */
type Halt =
  | { readonly type: 'returned'; readonly output: unknown }
  | { readonly type: 'parked'; readonly seconds: number; readonly reason: string }
  | { readonly type: 'undo'; readonly problem: Problem }
  | { readonly type: 'stuck'; readonly problem: Problem }
  /** The lease is lost, the replica stops or the database is away: nothing may be concluded, someone will come again. */
  | { readonly type: 'broken'; readonly error: unknown };

interface Undo {
  readonly position: number;
  readonly name: string;
  readonly undo: (context: StepContext) => Promise<void>;
}

/** A step at its place in the journal. */
interface Place {
  readonly position: number;
  readonly name: string;
  readonly recorded: JournalEntry | undefined;
}

const defaultAttempts = 30;

/**
 * One stretch of a run: replays what the journal knows, goes on from there until the run ends, parks, or this replica must let go.
 * Control never returns into the workflow function to stop it; the function is left waiting on a promise that nobody keeps, and is
 * collected. So no catch or finally of a workflow can swallow a take-over or make up a second ending.
 */
export async function executeRun(options: ExecutionOptions): Promise<Outcome> {
  const { record, workflow, journal, work, interposer, backoff, log } = options;
  const halted = deferred<Halt>();
  const entries = options.entries;
  const undos: Undo[] = [];
  const names = new Set<string>();
  const undoing = record.state === 'undoing';
  const cancelled = new AbortController();
  let position = 0;
  let over = false;
  let busy: string | undefined;
  let committed = false;

  work.onNudge(() => {
    if (committed || undoing) return;
    journal.cancelReason().then(
      (reason) => {
        if (reason !== undefined && !committed) cancelled.abort(cancellation(reason));
      },
      // A lost lease or an absent database shows at the next write anyway.
      () => undefined,
    );
  });

  function halt(reason: Halt): Promise<never> {
    over = true;
    halted.resolve(reason);
    return new Promise<never>(() => undefined);
  }

  function context(name: string, attempt: number, signal: AbortSignal): StepContext {
    return {
      key: `${record.id}/${name}`,
      runId: record.id,
      signal,
      fence: work.fence,
      attempt,
      assertOwned: async (timeoutMs) => await work.assertOwned(timeoutMs),
      guarded: async (inside) => await journal.guarded(inside),
    };
  }

  async function intercepted<Value>(act: Interception['act'], step: string, attempt: number, run: () => Promise<Value>): Promise<Value> {
    return (await interposer({ runId: record.id, step, act, attempt }, run)) as Value;
  }

  /** The place of the next step, or why there is none. */
  function take(name: string, kind: JournalEntry['kind']): Place | Halt {
    if (busy !== undefined) return stuck(`step "${name}" began while "${busy}" was still at work; steps go one after another`);
    if (names.has(name)) return stuck(`two steps are named "${name}"`);
    const recorded = entries[position];
    if (recorded === undefined && undoing) return { type: 'undo', problem: undoProblem(record) };
    if (recorded !== undefined && (recorded.name !== name || recorded.kind !== kind))
      return stuck(`the replay met ${kind} "${name}" where ${recorded.kind} "${recorded.name}" is recorded`);
    names.add(name);
    const place = { position, name, recorded };
    position += 1;
    return place;
  }

  /** Runs the engine's side of one step; whatever goes wrong there is not the workflow's to handle. */
  async function enter<Result>(name: string, kind: JournalEntry['kind'], inside: (place: Place) => Promise<Result>): Promise<Result> {
    if (over) return await new Promise<never>(() => undefined);
    const place = take(name, kind);
    if ('type' in place) return await halt(place);
    busy = name;
    let result: Result;
    try {
      result = await inside(place);
    } catch (error) {
      return await halt({ type: 'broken', error });
    }
    busy = undefined;
    return result;
  }

  /** What a failure of a step leads to. */
  async function failed(place: Place, attempts: number, thrown: unknown): Promise<Halt> {
    if (thrown instanceof LeaseLost || work.signal.aborted) return { type: 'broken', error: thrown };
    const problem = toProblem(thrown);
    const { failures, cancelReason } = await journal.fail(place.position, problem);
    if (!committed) {
      if (cancelReason !== undefined) return { type: 'undo', problem: cancellation(cancelReason) };
      if (problem.retry === 'never' || failures >= attempts) return { type: 'undo', problem };
    }
    const seconds = backoffSeconds(backoff, failures, problem.retryAfterSeconds);
    log.info('a step failed and will be repeated', { run: record.id, step: place.name, problem: problem.message, failures, seconds });
    return { type: 'parked', seconds, reason: `${place.name}: ${problem.message}` };
  }

  /** Notes the beginning; the stop of a replica and a cancellation take effect here, between steps. */
  async function begin(place: Place, kind: JournalEntry['kind']): Promise<{ readonly attempt: number; readonly begunSeconds: number }> {
    if (work.signal.aborted) return await halt({ type: 'broken', error: work.signal.reason });
    const leave = await journal.begin(place.position, place.name, kind);
    if (!leave.go) return await halt({ type: 'undo', problem: cancellation(leave.reason) });
    return leave;
  }

  function stepSignal(): AbortSignal {
    return AbortSignal.any([work.signal, cancelled.signal]);
  }

  const run: Run = {
    id: record.id,
    subject: record.subject,

    step: async <Result>(
      name: string,
      act: (context: StepContext) => Promise<Result>,
      undo?: (context: StepContext, result: Result | undefined) => Promise<void>,
      stepOptions: { readonly attempts?: number } = {},
    ) =>
      await enter<Result>(name, 'step', async (place) => {
        let known = place.recorded?.endedAt === undefined ? undefined : (place.recorded.result as Result);
        const undoThis: Undo | undefined = undo && {
          position: place.position,
          name,
          undo: async (undoContext) => {
            await undo(undoContext, known);
          },
        };
        if (place.recorded !== undefined && undoThis !== undefined) undos.push(undoThis);
        if (place.recorded?.endedAt !== undefined) return known as Result;
        if (undoing) return await halt({ type: 'undo', problem: undoProblem(record) });
        const { attempt } = await begin(place, 'step');
        if (place.recorded === undefined && undoThis !== undefined) undos.push(undoThis);
        let result: Result;
        try {
          const signal = stepSignal();
          const answer = await intercepted('step', name, attempt, async () => await act(context(name, attempt, signal)));
          result = asJson(answer, `the result of step "${name}"`) as Result;
        } catch (thrown) {
          return await halt(await failed(place, stepOptions.attempts ?? defaultAttempts, thrown));
        }
        await journal.end(place.position, result);
        known = result;
        return result;
      }),

    wait: async <Result>(
      name: string,
      poll: (context: StepContext) => Promise<Poll<Result>>,
      waitOptions: { readonly timeoutSeconds: number; readonly attempts?: number },
    ) =>
      await enter<Result>(name, 'wait', async (place) => {
        if (place.recorded?.endedAt !== undefined) return place.recorded.result as Result;
        if (undoing) return await halt({ type: 'undo', problem: undoProblem(record) });
        const { attempt, begunSeconds } = await begin(place, 'wait');
        let answer: Poll<Result>;
        try {
          const signal = stepSignal();
          answer = await intercepted('wait', name, attempt, async () => await poll(context(name, attempt, signal)));
          if ('done' in answer) answer = { done: asJson(answer.done, `the result of wait "${name}"`) as Result };
        } catch (thrown) {
          return await halt(await failed(place, waitOptions.attempts ?? defaultAttempts, thrown));
        }
        if ('done' in answer) {
          await journal.end(place.position, answer.done);
          return answer.done;
        }
        const left = waitOptions.timeoutSeconds - begunSeconds;
        if (left <= 0 && !committed) {
          const problem = new Problem('unavailable', `waited ${waitOptions.timeoutSeconds} s for "${name}" in vain`);
          await journal.fail(place.position, problem);
          return await halt({ type: 'undo', problem });
        }
        await journal.forgiveFailures(place.position);
        const seconds = committed ? answer.waitSeconds : Math.min(answer.waitSeconds, left);
        return await halt({ type: 'parked', seconds, reason: `waits for ${name}` });
      }),

    commit: async (name) => {
      await enter(name, 'commit', async (place) => {
        if (place.recorded === undefined) {
          if (work.signal.aborted) return await halt({ type: 'broken', error: work.signal.reason });
          const leave = await intercepted('commit', name, 1, async () => await journal.commit(place.position, name));
          if (!leave.go) return await halt({ type: 'undo', problem: cancellation(leave.reason) });
        }
        committed = true;
      });
    },
  };

  /** Newest first; what an earlier stretch undid stays undone. Answers undefined when all is undone. */
  async function undoAll(): Promise<Outcome | undefined> {
    for (const { position: at, name, undo } of undos.toReversed()) {
      if (entries[at]?.undoneAt !== undefined) continue;
      if (work.signal.aborted) throw work.signal.reason;
      const attempt = await journal.beginUndo(at);
      try {
        await intercepted('undo', name, attempt, async () => {
          await undo(context(name, attempt, work.signal));
        });
      } catch (thrown) {
        if (thrown instanceof LeaseLost || work.signal.aborted) throw thrown;
        const problem = toProblem(thrown);
        const failures = await journal.failUndo(at, problem);
        const seconds = backoffSeconds(backoff, failures, problem.retryAfterSeconds);
        log.warn('an undo failed and will be repeated', { run: record.id, step: name, problem: problem.message, failures, seconds });
        return { waitSeconds: seconds, reason: `undo of ${name}: ${problem.message}` };
      }
      await journal.endUndo(at);
    }
    return undefined;
  }

  async function conclude(reason: Halt): Promise<Outcome> {
    switch (reason.type) {
      case 'broken':
        throw reason.error;
      case 'parked':
        await journal.setState('waiting');
        return { waitSeconds: reason.seconds, reason: reason.reason };
      case 'stuck':
        await journal.freeze(reason.problem);
        log.error('a run is stuck and needs a person', { run: record.id, workflow: record.workflow, problem: reason.problem.message });
        options.ended('stuck', 0);
        return { done: true, reason: reason.problem.message };
      case 'undo': {
        if (!undoing) {
          await journal.beginUndoing(reason.problem);
          log.info('a run is being undone', { run: record.id, workflow: record.workflow, problem: reason.problem.message });
        }
        const later = await undoAll();
        if (later !== undefined) return later;
        options.ended('undone', (await journal.finish('undone', undefined, options.wakeSubject)) ?? 0);
        return { gone: true };
      }
      case 'returned': {
        const seconds = await journal.finish('done', reason.output, options.wakeSubject);
        if (seconds === undefined) return await conclude({ type: 'undo', problem: cancellation((await journal.cancelReason()) ?? '') });
        options.ended('done', seconds);
        return { gone: true };
      }
    }
  }

  /** How the workflow function's own ending counts. */
  function ending(outcome: { readonly output: unknown } | { readonly thrown: unknown }): Halt {
    if (busy !== undefined) return stuck(`the workflow ended while step "${busy}" was still at work`);
    if (position < entries.length)
      return stuck(`the replay ended without meeting step "${entries[position]?.name ?? ''}" that is recorded`);
    if (undoing) return { type: 'undo', problem: undoProblem(record) };
    try {
      if ('thrown' in outcome) throw outcome.thrown;
      return { type: 'returned', output: asJson(outcome.output, 'the output') };
    } catch (thrown) {
      const problem = toProblem(thrown);
      if (!committed) return { type: 'undo', problem };
      // Nothing but another version of the code can mend this, so it is said loudly and tried rarely.
      log.error('a workflow fails after its commit point', { run: record.id, workflow: record.workflow, problem: problem.message });
      return { type: 'parked', seconds: backoff.capSeconds, reason: problem.message };
    }
  }

  if (!undoing && record.state !== 'running') await journal.setState('running');
  const finished = workflow.run(run, record.input).then(
    (output) => ending({ output }),
    (thrown: unknown) => ending({ thrown }),
  );
  return await conclude(await Promise.race([halted.promise, finished]));
}

function stuck(message: string): Halt {
  return { type: 'stuck', problem: new Problem('internal', message) };
}

function cancellation(reason: string): Problem {
  return new Problem('cancelled', reason);
}

function undoProblem(record: RunRecord): Problem {
  return record.problem === undefined
    ? new Problem('internal', 'undone for an unrecorded reason')
    : new Problem(record.problem.kind, record.problem.message, { facts: record.problem.facts });
}

function deferred<Value>(): { readonly promise: Promise<Value>; readonly resolve: (value: Value) => void } {
  let resolve: (value: Value) => void = () => undefined;
  const promise = new Promise<Value>((keep) => {
    resolve = keep;
  });
  return { promise, resolve };
}
