import { Problem } from '@virt8ra/contract';
import type { Handle, Observation } from '@virt8ra/driver';
import type { StepContext } from '@virt8ra/engine';
import type { StoreTransaction } from '../resources/store.js';
import type { KindContext } from './context.js';

/** What steps of runs do at sites, so that they may be repeated. */

type SiteContext = Pick<KindContext, 'store'>;

/** Longest time that one call to a site, or one transaction of ours, may take effect after it was begun. */
const callMs = 30_000;

/** One call to the outside, made only while the run is still ours. */
export async function call<Value>(step: StepContext, act: () => Promise<Value>): Promise<Value> {
  await step.assertOwned(callMs);
  return await act();
}

/** One transaction of the store, begun only while the run is still ours. */
export async function write<Value>(
  context: SiteContext,
  step: StepContext,
  work: (tx: StoreTransaction) => Promise<Value>,
): Promise<Value> {
  return await call(step, async () => await context.store.transaction(work));
}

/** Troubles that pass by themselves; all others of a site are final for a run. */
const passing: readonly Problem['kind'][] = ['unavailable', 'throttled', 'unknown-outcome'];

/**
 * What is to be seen of something that must be there; undefined while the site cannot tell, or when it mends itself.
 * Raises `not-found` when it is gone, and `conflict` with the site's words when it is broken for good.
 */
export function statusOf<Status>(seen: Observation<Status>, what: string): Status | undefined {
  switch (seen.type) {
    case 'present':
    case 'changing':
      return seen.status;
    case 'unknown':
      return undefined;
    case 'absent':
      throw new Problem('not-found', `${what} is gone (${seen.source})`);
    case 'broken':
      if (passing.includes(seen.problem.kind)) return undefined;
      throw new Problem('conflict', `${what} failed: ${seen.problem.message}`, { facts: seen.problem.facts, cause: seen.problem });
  }
}

/** The same of something that may be gone, and of what is broken as it stands. */
export function lastStatusOf<Status>(seen: Observation<Status>): Status | 'absent' | undefined {
  if (seen.type === 'absent') return 'absent';
  return seen.type === 'unknown' ? undefined : seen.status;
}

/** Asks for the removal of what is known by `handle`, and answers whether it is positively gone. */
export async function removed(
  step: StepContext,
  facet: { observe(handle: Handle): Promise<Observation<unknown>>; remove(handle: Handle): Promise<void> },
  handle: Handle,
): Promise<boolean> {
  if ((await facet.observe(handle)).type === 'absent') return true;
  await call(step, async () => await facet.remove(handle));
  return (await facet.observe(handle)).type === 'absent';
}

/** Undo: looks for what an attempt may have made under the ledger's `key`, takes it away, and raises `unavailable` until it is gone. */
export async function removeByKey(
  context: SiteContext,
  step: StepContext,
  facet: {
    find(key: string): Promise<Handle | undefined>;
    observe(handle: Handle): Promise<Observation<unknown>>;
    remove(handle: Handle): Promise<void>;
  },
  key: string,
): Promise<void> {
  const realization = await context.store.ledger.byKey(key);
  const handle = realization?.handle ?? (await facet.find(key));
  if (handle === undefined) return;
  if (realization !== undefined && realization.state !== 'removing') {
    // Kept first, so that a repetition can still ask for it once it is no longer to be found.
    await write(context, step, async (tx) => {
      await tx.ledger.confirm(realization.id, handle);
      await tx.ledger.setRemoving(realization.id);
    });
  }
  if (!(await removed(step, facet, handle))) throw new Problem('unavailable', `${key} is still being removed`, { retryAfterSeconds: 1 });
}
