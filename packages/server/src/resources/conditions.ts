import { type Condition, conditionsKept } from '@virt8ra/contract';

export type NewCondition = Omit<Condition, 'lastTransitionAt'>;

/** The history with `added` (newest first) before it, bounded. */
export function grownHistory(history: readonly Condition[], added: readonly NewCondition[], at: string): readonly Condition[] {
  return [...added.map((condition) => ({ ...condition, lastTransitionAt: at })), ...history].slice(0, conditionsKept);
}

/** True when `condition` says what the newest entry says already. */
export function repeatsNewest(history: readonly Condition[], condition: NewCondition): boolean {
  const newest = history[0];
  return (
    newest !== undefined &&
    newest.state === condition.state &&
    newest.type === condition.type &&
    newest.reason === condition.reason &&
    newest.message === condition.message
  );
}

/** The newest entry is what a resource is in now. A resource that is going never looks alive again, whatever a late reconcile says. */
export function stateWhileGoing(going: boolean, condition: NewCondition): NewCondition {
  return going && condition.state !== 'deleting' && condition.state !== 'error' ? { ...condition, state: 'deleting' } : condition;
}
