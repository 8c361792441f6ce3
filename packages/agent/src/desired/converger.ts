import { toProblem } from '@virt8ra/contract';
import type { Log } from '../log.js';
import { type HostObject, objectFromId, objectId } from './host-object.js';

/** Milliseconds after which an object wants to be looked at again; undefined: only when nudged. */
export type NextLook = number | undefined;

/** Brings one object closer to what is desired of it. Everything in it may be repeated. `signal` aborts when the object's desired state changes. */
export type Pass = (object: HostObject, signal: AbortSignal) => Promise<NextLook>;

interface Loop {
  running: boolean;
  /** Nudged while a pass ran. */
  again: boolean;
  failures: number;
  timer: NodeJS.Timeout | undefined;
  /** When the timer fires, by `performance.now()`. */
  dueAt: number;
  /** When a pass ended last, by the same clock. */
  lookedAt: number;
  abort: AbortController | undefined;
}

const longestPauseMs = 15_000;
/** A nudge during the pause after a failure is heard after this long at the latest, so that objects that fail cannot spin each other. */
const nudgedPauseMs = 1_000;

/**
 * Level-triggered convergence: passes of one object run one after the other, different objects side by side. A failed pass is repeated
 * after a pause that doubles from 0.2 s to 15 s.
 */
export class Converger {
  readonly #pass: Pass;
  readonly #log: Log;
  readonly #loops = new Map<string, Loop>();
  readonly #running = new Set<Promise<void>>();
  #stopped = false;

  constructor(pass: Pass, log: Log) {
    this.#pass = pass;
    this.#log = log;
  }

  /** Asks for a pass of this object, now or right after the one that runs. */
  nudge(object: HostObject): void {
    const loop = this.#loopOf(object);
    if (loop.running) loop.again = true;
    else this.#schedule(object, loop, loop.failures === 0 ? 0 : nudgedPauseMs);
  }

  /** The same, unless a pass of it ended within so many milliseconds. */
  nudgeAfter(object: HostObject, restMs: number): void {
    if (performance.now() - this.#loopOf(object).lookedAt >= restMs) this.nudge(object);
  }

  /** Objects whose last pass failed. */
  failing(): HostObject[] {
    return [...this.#loops].flatMap(([id, { failures }]) => (failures > 0 ? [objectFromId(id)] : []));
  }

  /** The object's desired state changed: what the running pass is doing may be pointless, and earlier failures say nothing any more. */
  interrupt(object: HostObject): void {
    const loop = this.#loopOf(object);
    loop.failures = 0;
    loop.abort?.abort();
    if (loop.running) loop.again = true;
    else this.#schedule(object, loop, 0);
  }

  /** The object is gone: nothing is remembered of it. */
  forget(object: HostObject): void {
    const loop = this.#loops.get(objectId(object));
    if (loop?.running !== false) return;
    clearTimeout(loop.timer);
    this.#loops.delete(objectId(object));
  }

  /** Ends after the running passes; none begins any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const loop of this.#loops.values()) {
      clearTimeout(loop.timer);
      loop.abort?.abort();
    }
    await Promise.allSettled(this.#running);
  }

  #loopOf(object: HostObject): Loop {
    const id = objectId(object);
    const known = this.#loops.get(id);
    if (known !== undefined) return known;
    const loop: Loop = { running: false, again: false, failures: 0, timer: undefined, dueAt: 0, lookedAt: 0, abort: undefined };
    this.#loops.set(id, loop);
    return loop;
  }

  #schedule(object: HostObject, loop: Loop, pauseMs: number): void {
    if (this.#stopped) return;
    const dueAt = performance.now() + pauseMs;
    if (loop.timer !== undefined && loop.dueAt <= dueAt) return;
    clearTimeout(loop.timer);
    loop.dueAt = dueAt;
    loop.timer = setTimeout(() => {
      loop.timer = undefined;
      const run = this.#run(object, loop);
      this.#running.add(run);
      void run.finally(() => this.#running.delete(run));
    }, pauseMs);
  }

  async #run(object: HostObject, loop: Loop): Promise<void> {
    loop.running = true;
    loop.again = false;
    loop.abort = new AbortController();
    let next: NextLook;
    try {
      next = await this.#pass(object, loop.abort.signal);
      loop.failures = 0;
      if (loop.again) next = 0;
    } catch (error) {
      next = this.#pauseAfter(error, object, loop);
    }
    loop.running = false;
    loop.lookedAt = performance.now();
    if (next !== undefined) this.#schedule(object, loop, next);
  }

  #pauseAfter(error: unknown, object: HostObject, loop: Loop): number {
    const problem = toProblem(error);
    if (problem.kind === 'cancelled' || loop.abort?.signal.aborted === true) return 0;
    loop.failures += 1;
    const pauseMs = Math.min(100 * 2 ** loop.failures, longestPauseMs);
    this.#log.warn('a pass failed and will be repeated', {
      object: objectId(object),
      code: problem.kind,
      problem: problem.message,
      failures: loop.failures,
      pauseMs,
      stack: problem.kind === 'internal' ? problem.stack : undefined,
    });
    return loop.again ? Math.min(pauseMs, nudgedPauseMs) : pauseMs;
  }
}
