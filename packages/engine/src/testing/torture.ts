import { isDeepStrictEqual } from 'node:util';
import { newId, Problem, toProblem } from '@virt8ra/contract';
import type { Pool } from 'pg';
import type { Log } from '../log.js';
import type { RunHistory } from '../runs/run-record.js';
import { createRunner, keyFromRunId, type Runner } from '../runs/runner.js';
import type { Workflow } from '../runs/workflow.js';
import { createRecordedLog } from './recorded-log.js';
import { faults, interposerFromCues, type Plan, type Point, type Stage } from './torture-faults.js';

/** A fresh, clean world and a workflow that acts on it. */
export interface TortureWorld<Input, Output> {
  readonly workflow: Workflow<Input, Output>;
  readonly input: Input;
  /**
   * Everything outside the engine that the workflow may change, as plain JSON and without anything random. The run's id is replaced by
   * `<run>` before snapshots are compared. Things must show once per existence, so that a double shows.
   */
  snapshot(): unknown;
  /** Called whenever the run has parked, so that what it waits for can come about. */
  proceed?(): void | Promise<void>;
  close?(): void | Promise<void>;
}

export interface TortureOptions<Input, Output> {
  /** Of a database with `engineMigrations`. */
  readonly pool: Pool;
  /** Called once per scenario. */
  readonly world: () => TortureWorld<Input, Output> | Promise<TortureWorld<Input, Output>>;
  /** Only these faults; for narrowing down. */
  readonly only?: readonly string[];
  /** Only at these points; for a workflow whose other points another torture has. */
  readonly points?: readonly string[];
  readonly log?: Log;
  /** How often one replica may take the run up before it counts as never ending (60). */
  readonly turns?: number;
  /** How long a scenario may last (20). */
  readonly timeoutSeconds?: number;
}

export interface Violation {
  /** `none` for the run without faults. */
  readonly fault: string;
  readonly step: string;
  /** What is wrong, with what was expected and found. */
  readonly message: string;
}

export interface TortureReport {
  readonly points: readonly Point[];
  readonly scenarios: number;
  readonly violations: readonly Violation[];
}

/**
 * Runs a workflow once without faults and then once per fault and point: repeated, failing, losing replies, crashing, cancelled, taken
 * over from a paused owner, and the same while undoing. After every run the world must be what the plain run left (done) or what was
 * there before (undone). The replicas are driven by hand, so nothing depends on time.
 */
export async function torture<Input, Output>(options: TortureOptions<Input, Output>): Promise<TortureReport> {
  const plain = await perform(options, { ends: 'done', first: [] }, undefined);
  const points = pointsFromHistory(plain.history);
  const violations: Violation[] = [];
  if (plain.message !== undefined) return { points, scenarios: 1, violations: [{ fault: 'none', step: '', message: plain.message }] };
  let scenarios = 1;
  for (const fault of faults) {
    if (options.only !== undefined && !options.only.includes(fault.name)) continue;
    for (const point of points) {
      if (options.points !== undefined && !options.points.includes(point.name)) continue;
      const plan = fault.plan(point, points);
      if (plan === undefined) continue;
      scenarios += 1;
      const { message } = await perform(options, plan, plain.after);
      if (message !== undefined) violations.push({ fault: fault.name, step: point.name, message });
    }
  }
  return { points, scenarios, violations };
}

/** `torture` for a workflow that must withstand it: raises `internal` listing every violation. */
export async function expectTorture<Input, Output>(options: TortureOptions<Input, Output>): Promise<TortureReport> {
  const report = await torture(options);
  if (report.violations.length === 0) return report;
  const list = report.violations.map((violation) => `  ${violation.fault} at "${violation.step}": ${violation.message}`).join('\n');
  throw new Problem('internal', `the workflow did not withstand ${report.violations.length} of ${report.scenarios} scenarios:\n${list}`);
}

interface Performance {
  /** What went wrong. */
  readonly message: string | undefined;
  readonly history: RunHistory | undefined;
  readonly after: unknown;
}

/** One scenario. `reference` is the world after a plain run; undefined for the plain run itself. */
async function perform<Input, Output>(options: TortureOptions<Input, Output>, plan: Plan, reference: unknown): Promise<Performance> {
  const world = await options.world();
  const seconds = options.timeoutSeconds ?? 20;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Performance>((resolve) => {
    timer = setTimeout(() => {
      resolve({ message: `a step did not come to an end within ${seconds} s`, history: undefined, after: undefined });
    }, seconds * 1000);
  });
  const scenario = createScenario(options, world, plan);
  try {
    return await Promise.race([scenario.play(reference), late]);
  } catch (error) {
    return { message: toProblem(error).message, history: undefined, after: undefined };
  } finally {
    clearTimeout(timer);
    await scenario.close();
    await world.close?.();
  }
}

function createScenario<Input, Output>(options: TortureOptions<Input, Output>, world: TortureWorld<Input, Output>, plan: Plan) {
  const log = options.log ?? createRecordedLog();
  const hung = gate();
  const release = gate();
  let cancellation: 'accepted' | 'refused' | undefined;
  const stage: Stage = {
    async hang() {
      hung.open();
      await release.opened;
    },
    async cancel(runId) {
      cancellation = await first.cancel(runId, 'torture: cancelled').then(
        () => 'accepted',
        () => 'refused',
      );
    },
  };
  const played = interposerFromCues(plan.first, stage);
  const playedBySecond = interposerFromCues(plan.second ?? [], stage);
  const first = replica('first', played.interposer);
  const second = replica('second', playedBySecond.interposer);

  function replica(owner: string, interposer: ReturnType<typeof interposerFromCues>['interposer']): Runner {
    return createRunner({
      pool: options.pool,
      workflows: [world.workflow],
      log,
      owner,
      // Long, so that only the torture ends a lease.
      leaseSeconds: 600,
      backoff: { baseSeconds: 0.001, capSeconds: 0.001 },
      interposer,
    });
  }

  /** As text at once, because a world may hand out what it goes on changing. */
  async function capture(): Promise<string> {
    return JSON.stringify(await world.snapshot()) ?? 'null';
  }

  /** Has the replica take the run up until it has ended, or hangs: then answers what it hangs in. */
  async function drive(runner: Runner, runId: string): Promise<{ readonly history: RunHistory } | { readonly hanging: Promise<unknown> }> {
    for (let turn = 0; turn < (options.turns ?? 60); turn += 1) {
      const history = await known(runner, runId);
      if (history.endedAt !== undefined || history.state === 'stuck') return { history };
      if (turn > 0) await world.proceed?.();
      const work = runner.queue.work(keyFromRunId(runId));
      const hanging = await Promise.race([
        work.then(() => false),
        runner === first ? hung.opened.then(() => true) : new Promise<never>(() => undefined),
      ]);
      if (hanging) return { hanging: work };
    }
    const { state, problem, steps } = await known(runner, runId);
    const failing = steps.filter((step) => step.error !== undefined).map((step) => `${step.name}: ${step.error}`);
    throw new Problem(
      'internal',
      `it does not end; it is ${state} (${problem?.message ?? 'no problem'}), failing: ${failing.join('; ') || 'nothing'}`,
    );
  }

  async function play(reference: unknown): Promise<Performance> {
    const before = await capture();
    const runId = await first.start(world.workflow, { subject: `torture/${newId('run')}`, input: world.input });
    const driven = await drive(first, runId);
    let history: RunHistory;
    let message: string | undefined;
    if ('history' in driven) history = driven.history;
    else {
      await first.queue.expire(keyFromRunId(runId));
      const takenOver = await drive(second, runId);
      if (!('history' in takenOver)) throw new Problem('internal', 'the second owner hangs');
      history = takenOver.history;
      if (plan.wakes === true) {
        release.open();
        await driven.hanging;
        if (!isDeepStrictEqual(await known(first, runId), history)) message = 'the paused ex-owner wrote to the journal';
      }
    }
    const after = normalised(await capture(), runId);
    message ??= verdict(history, after, plan.ends === 'done' ? (reference ?? after) : normalised(before, runId));
    return { message, history, after };
  }

  function verdict(history: RunHistory, after: unknown, expected: unknown): string | undefined {
    if (history.state !== plan.ends)
      return `it ended ${history.state}, not ${plan.ends}: ${history.stuck?.message ?? history.problem?.message ?? 'no problem'}`;
    if (plan.cancellation !== cancellation)
      return `the cancellation was ${cancellation ?? 'never asked for'}, not ${plan.cancellation ?? 'absent'}`;
    if (plan.optional !== true && !(played.struck() && playedBySecond.struck())) return 'the fault found nothing to strike';
    if (isDeepStrictEqual(after, expected)) return undefined;
    const what = plan.ends === 'done' ? 'the world differs from that of a run without faults' : 'the undone run left something behind';
    return `${what}: expected ${JSON.stringify(expected)}, found ${JSON.stringify(after)}`;
  }

  return {
    play,
    async close() {
      await Promise.all([first, second].map(async (runner) => await runner.queue.stop({ abandon: true })));
    },
  };
}

async function known(runner: Runner, runId: string): Promise<RunHistory> {
  const history = await runner.get(runId);
  if (history === undefined) throw new Problem('internal', `run ${runId} vanished`);
  return history;
}

function pointsFromHistory(history: RunHistory | undefined): readonly Point[] {
  const steps = history?.steps ?? [];
  const commit = steps.findIndex((step) => step.kind === 'commit');
  return steps.map((step, index) => ({ name: step.name, kind: step.kind, committed: commit !== -1 && index > commit }));
}

function normalised(snapshot: string, runId: string): unknown {
  return JSON.parse(snapshot.replaceAll(runId, '<run>'));
}

function gate(): { readonly opened: Promise<void>; open(): void } {
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open: () => open() };
}
