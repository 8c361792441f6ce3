import { Problem } from '@virt8ra/contract';
import type { Queryable } from './database.js';
import type { Log } from './log.js';
import type { Outcome } from './queue/outcome.js';
import type { WorkStatus } from './queue/queue-store.js';
import type { NudgeOptions, WorkContext, WorkQueue } from './queue/work-queue.js';

/**
 * Brings the world to what is desired of one thing. It is told nothing but which thing: it reads what is desired, observes, and does at
 * most one next act, so that it makes no difference why, when or how often it is called.
 */
export type ReconcileHandler = (id: string, context: WorkContext) => Promise<Outcome>;

export interface Reconciler {
  nudge(kind: string, id: string, options?: NudgeOptions, tx?: Queryable): Promise<void>;
  /** Last outcome, last error, next due time and attempts per key, most troubled first. */
  list(filter?: { readonly kind?: string; readonly failing?: boolean; readonly limit?: number }): Promise<readonly WorkStatus[]>;
}

/** One handler per kind over the work queue, where the key is `<kind>/<id>`. The queue is started by whoever made it. */
export function createReconciler(options: {
  readonly queue: WorkQueue;
  readonly handlers: Readonly<Record<string, ReconcileHandler>>;
  readonly log: Log;
}): Reconciler {
  const { queue, handlers, log } = options;
  for (const [kind, handler] of Object.entries(handlers)) {
    if (kind === '' || kind.includes('/')) throw new Problem('internal', `"${kind}" cannot name a kind of work`);
    queue.handle(kind, async (key, context) => {
      const outcome = await handler(key.slice(kind.length + 1), context);
      log.debug('reconciled', { key, outcome });
      return outcome;
    });
  }
  return {
    nudge: async (kind, id, nudgeOptions, tx) => await queue.nudge(`${kind}/${id}`, nudgeOptions, tx),
    list: async (filter) => await queue.list(filter),
  };
}
