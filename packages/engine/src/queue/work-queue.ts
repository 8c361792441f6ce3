import { Problem, toProblem } from '@virt8ra/contract';
import type { Pool } from 'pg';
import { type Backoff, backoffSeconds, defaultBackoff } from '../backoff.js';
import type { Queryable } from '../database.js';
import { LeaseLost } from '../lease-lost.js';
import type { Log } from '../log.js';
import type { EngineMetrics } from '../metrics.js';
import { createListener, type Listener } from './listener.js';
import type { Outcome } from './outcome.js';
import { type ClaimedWork, createQueueStore, type WorkStatus } from './queue-store.js';

/** What a handler is told besides the key. */
export interface WorkContext {
  /** Aborted when the lease is lost or the queue stops. What the handler does or throws after that is not counted as a failure. */
  readonly signal: AbortSignal;
  /** The fencing token of the lease on this key. */
  readonly fence: number;
  /** Failures in a row before this attempt. */
  readonly attempts: number;
  /** Called when the key is nudged while it is worked on. It will be worked on again in any case. */
  onNudge(callback: () => void): void;
  /** Makes the lease outlive `milliseconds` from now; raises `LeaseLost` when it is someone else's. */
  assertOwned(milliseconds: number): Promise<void>;
}

export type WorkHandler = (key: string, context: WorkContext) => Promise<Outcome>;

export interface WorkQueue {
  /**
   * Has the key (or keys) worked on as soon as possible, or at the latest after `afterSeconds`. Inside `tx` it happens, and is announced,
   * when that transaction commits. `lane` is the fairness group, usually the tenant; it is kept until another is given.
   */
  nudge(keys: string | readonly string[], options?: NudgeOptions, tx?: Queryable): Promise<void>;
  /** Like `nudge`, but does nothing for a key nobody ever nudged. */
  wake(key: string, tx?: Queryable): Promise<void>;
  /** Takes a key out. Whoever works on it at the moment loses the lease. */
  forget(key: string, tx?: Queryable): Promise<void>;
  /** Says who works on keys of a kind (what stands before the first `/`). `concurrency`: slots of its own, apart from the shared ones. */
  handle(kind: string, handler: WorkHandler, options?: { readonly concurrency?: number }): void;
  /** Begins to claim work of the kinds handled by this replica. Resolves when it listens. */
  start(): Promise<void>;
  /**
   * Claims nothing more, asks what is in flight to end, and waits for it up to `graceSeconds` (10). What is still not through then is
   * left to its lease. `abandon` stops as a crash would: nothing is prolonged or put back, and only a claim under way is waited for.
   */
  stop(options?: { readonly graceSeconds?: number; readonly abandon?: boolean }): Promise<void>;
  /** Works on one key here and now, due or not. False: someone else is at it, or there is no such key. For operators and tests. */
  work(key: string): Promise<boolean>;
  /** Ends the lease on a key as if it had run out. For an operator who knows that its owner is dead, and for tests. */
  expire(key: string): Promise<void>;
  /** What an operator wants to see; the same as view `engine.work_overview`. Most troubled first. */
  list(filter?: { readonly kind?: string; readonly failing?: boolean; readonly limit?: number }): Promise<readonly WorkStatus[]>;
  readonly signals: Listener;
}

export interface NudgeOptions {
  readonly afterSeconds?: number;
  readonly lane?: string;
}

export interface WorkQueueOptions {
  /** One connection is kept for LISTEN. */
  readonly pool: Pool;
  readonly log: Log;
  /**
   * Names this replica in leases; unique among living replicas. A process that comes back under the name of a dead one takes its work back
   * at once instead of waiting for the leases to run out.
   */
  readonly owner: string;
  readonly metrics?: EngineMetrics;
  /** Shared slots (16). */
  readonly concurrency?: number;
  /** How long a dead replica's work rests before another takes it (15). */
  readonly leaseSeconds?: number;
  /** The longest the queue sleeps without looking (10): finds what a dead replica left. */
  readonly idleSeconds?: number;
  readonly backoff?: Backoff;
}

interface Slots {
  readonly kinds: string[];
  readonly concurrency: number;
  working: number;
}

interface Working {
  readonly work: ClaimedWork;
  readonly controller: AbortController;
  readonly nudged: Set<() => void>;
  readonly through: Promise<void>;
}

/** A lease is never longer than this, so that a crash never blocks a key for longer. */
const longestLeaseSeconds = 300;
/** Rest when something is due but every row of it is locked by someone else. */
const contendedSeconds = 0.25;

/** The work queue in table `engine.work`: at-least-once, level-triggered, one worker per key at a time. */
export function createWorkQueue(options: WorkQueueOptions): WorkQueue {
  const { pool, log, owner, metrics } = options;
  const leaseSeconds = options.leaseSeconds ?? 15;
  const idleSeconds = options.idleSeconds ?? 10;
  const backoff = options.backoff ?? defaultBackoff;
  const store = createQueueStore(pool);
  const signals = createListener({ pool, log });
  const shared: Slots = { kinds: [], concurrency: options.concurrency ?? 16, working: 0 };
  const allSlots: Slots[] = [shared];
  const handlers = new Map<string, { readonly handler: WorkHandler; readonly slots: Slots }>();
  const working = new Map<string, Working>();
  let phase: 'new' | 'started' | 'stopping' | 'stopped' = 'new';
  let abandoned = false;
  let pumping: Promise<void> | undefined;
  let pumpAgain = false;
  let failures = 0;
  /** A lease may be ours without anyone here at work: of a claim or of putting back, the database or its answer was lost. */
  let astray = false;
  let timer: { readonly handle: NodeJS.Timeout; readonly at: number } | undefined;
  let renewal: NodeJS.Timeout | undefined;

  /** Wakes the pump after so many seconds unless it wakes earlier anyway. */
  function pumpWithin(seconds: number): void {
    if (phase !== 'started') return;
    const at = performance.now() + seconds * 1000;
    if (timer !== undefined && timer.at <= at) return;
    clearTimeout(timer?.handle);
    timer = {
      at,
      handle: setTimeout(() => {
        timer = undefined;
        pump();
      }, seconds * 1000),
    };
  }

  function pump(): void {
    if (pumping !== undefined) pumpAgain = true;
    else
      pumping = claimAll().finally(() => {
        pumping = undefined;
      });
  }

  async function claimAll(): Promise<void> {
    try {
      do {
        pumpAgain = false;
        if (astray) await reclaimAstray();
        pumpWithin(await claimOnce());
      } while (pumpAgain && phase === 'started');
      failures = 0;
    } catch (error) {
      failures += 1;
      astray = true;
      log.warn('work could not be claimed', { error: toProblem(error).message, failures });
      pumpWithin(backoffSeconds({ baseSeconds: 1, capSeconds: idleSeconds }, failures));
    }
  }

  /** Otherwise such work would rest until its lease runs out. */
  async function reclaimAstray(): Promise<void> {
    const left = await store.reclaim(owner, [...working.keys()]);
    astray = false;
    if (left > 0) log.info('took back work whose lease had gone astray', { owner, count: left });
  }

  /** Fills the free slots; answers after how many seconds to look again. */
  async function claimOnce(): Promise<number> {
    let rest = idleSeconds;
    for (const slots of allSlots) {
      const free = slots.concurrency - slots.working;
      if (slots.kinds.length === 0 || free <= 0) continue;
      const claim = await store.claim(slots.kinds, free, owner, leaseSeconds);
      if (abandoned) return rest;
      for (const work of claim.works) void begin(work);
      // With all slots full the next one that ends looks again.
      if (claim.works.length === free) continue;
      if (claim.nextDueSeconds !== undefined) rest = Math.min(rest, claim.nextDueSeconds > 0 ? claim.nextDueSeconds : contendedSeconds);
    }
    return rest;
  }

  function begin(work: ClaimedWork): Promise<void> {
    const registered = handlers.get(work.kind);
    if (registered === undefined) throw new Problem('internal', `nobody handles work of kind ${work.kind}`);
    const controller = new AbortController();
    const nudged = new Set<() => void>();
    registered.slots.working += 1;
    const through = perform(work, registered.handler, controller.signal, nudged).finally(() => {
      registered.slots.working -= 1;
      if (working.get(work.key)?.work === work) working.delete(work.key);
      if (working.size === 0) stopRenewing();
      pumpWithin(0);
    });
    working.set(work.key, { work, controller, nudged, through });
    renewal ??= setInterval(() => void renew(), (leaseSeconds * 1000) / 3);
    // Claimed by a query that was under way when the stop came.
    if (phase === 'stopping') controller.abort(new Problem('unavailable', 'this replica is stopping'));
    return through;
  }

  async function perform(work: ClaimedWork, handler: WorkHandler, signal: AbortSignal, nudged: Set<() => void>): Promise<void> {
    const startedAt = performance.now();
    const seconds = (): number => (performance.now() - startedAt) / 1000;
    const context: WorkContext = {
      signal,
      fence: work.fence,
      attempts: work.attempts,
      onNudge: (callback) => nudged.add(callback),
      async assertOwned(milliseconds) {
        if (milliseconds > longestLeaseSeconds * 1000)
          throw new Problem('internal', `a call of ${milliseconds} ms is longer than the longest lease, ${longestLeaseSeconds} s`);
        if (abandoned || signal.aborted || !(await store.extend(work, milliseconds / 1000))) throw new LeaseLost(work.key);
      },
    };
    let settle: () => Promise<boolean>;
    try {
      const outcome = await handler(work.key, context);
      if ('gone' in outcome) {
        settle = async () => await store.settleGone(work);
        metrics?.worked?.(work.kind, 'gone', seconds());
      } else {
        const waitSeconds = 'waitSeconds' in outcome ? outcome.waitSeconds : undefined;
        const name = waitSeconds === undefined ? 'done' : 'wait';
        metrics?.worked?.(work.kind, name, seconds());
        settle = async () =>
          await store.settle(work, { outcome: name, reason: outcome.reason, waitSeconds, attempts: 0, workedSeconds: seconds() });
      }
    } catch (thrown) {
      const problem = toProblem(thrown);
      const interrupted = signal.aborted || problem instanceof LeaseLost;
      const attempts = interrupted ? work.attempts : work.attempts + 1;
      const waitSeconds = interrupted ? 0 : backoffSeconds(backoff, attempts, problem.retryAfterSeconds);
      const outcome = interrupted ? 'interrupted' : 'failed';
      metrics?.worked?.(work.kind, outcome, seconds());
      if (!interrupted) log.warn('work failed and will be repeated', { key: work.key, problem: problem.message, attempts, waitSeconds });
      settle = async () => await store.settle(work, { outcome, reason: problem.message, waitSeconds, attempts, workedSeconds: seconds() });
    }
    if (abandoned) return;
    try {
      if (!(await settle())) log.warn('work went to another replica while this one was at it', { key: work.key });
    } catch (error) {
      // This replica takes it back as soon as the database answers; if it dies before, the lease runs out.
      astray = true;
      log.warn('work could not be put back', { key: work.key, error: toProblem(error).message });
    }
  }

  async function renew(): Promise<void> {
    const held = [...working.values()];
    if (held.length === 0) return;
    try {
      const lost = await store.renew(
        held.map((each) => each.work),
        leaseSeconds,
      );
      for (const each of held) if (lost.includes(each.work.key)) each.controller.abort(new LeaseLost(each.work.key));
    } catch (error) {
      log.warn('leases could not be prolonged', { error: toProblem(error).message });
    }
  }

  function stopRenewing(): void {
    clearInterval(renewal);
    renewal = undefined;
  }

  signals.on((signal) => {
    if (signal.type === 'due') pumpWithin(signal.afterSeconds);
    else if (signal.type === 'connected') pumpWithin(0);
    else if (signal.type === 'held') for (const callback of working.get(signal.key)?.nudged ?? []) callback();
  });

  return {
    async nudge(keys, nudgeOptions = {}, tx = pool) {
      const all = typeof keys === 'string' ? [keys] : keys;
      if (all.length > 0) await store.nudge(tx, all, nudgeOptions.afterSeconds ?? 0, nudgeOptions.lane);
    },
    wake: async (key, tx = pool) => await store.wake(tx, key),
    forget: async (key, tx = pool) => await store.forget(tx, key),
    handle(kind, handler, handleOptions = {}) {
      if (handlers.has(kind)) throw new Problem('internal', `work of kind ${kind} has a handler already`);
      const slots = handleOptions.concurrency === undefined ? shared : { kinds: [], concurrency: handleOptions.concurrency, working: 0 };
      if (slots !== shared) allSlots.push(slots);
      slots.kinds.push(kind);
      handlers.set(kind, { handler, slots });
      pumpWithin(0);
    },
    async start() {
      if (phase !== 'new') throw new Problem('internal', 'the work queue was started before');
      const left = await store.reclaim(owner);
      if (left > 0) log.info('took back work of an earlier process', { owner, count: left });
      phase = 'started';
      await signals.start();
    },
    async stop(stopOptions = {}) {
      if (phase === 'stopped') return;
      phase = 'stopping';
      abandoned = stopOptions.abandon === true;
      clearTimeout(timer?.handle);
      timer = undefined;
      if (abandoned) {
        // A claim that reached the database after an heir of the same name took everything back would hold its keys for nobody.
        await withinSeconds(stopOptions.graceSeconds ?? 10, async () => await pumping);
      } else {
        for (const each of working.values()) each.controller.abort(new Problem('unavailable', 'this replica is stopping'));
        await withinSeconds(stopOptions.graceSeconds ?? 10, async () => {
          await pumping;
          await Promise.all([...working.values()].map((each) => each.through));
        });
      }
      stopRenewing();
      signals.stop();
      phase = 'stopped';
    },
    async work(key) {
      if (!handlers.has(key.slice(0, key.indexOf('/')))) throw new Problem('internal', `nobody handles ${key}`);
      const work = await store.claimOne(key, owner, leaseSeconds);
      if (work === undefined) return false;
      await begin(work);
      return true;
    },
    expire: async (key) => await store.expire(key),
    list: async (filter = {}) => await store.list(filter),
    signals,
  };
}

async function withinSeconds(seconds: number, work: () => Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, seconds * 1000);
  });
  await Promise.race([work(), late]);
  clearTimeout(timer);
}
