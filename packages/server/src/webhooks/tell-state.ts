import type { Condition, Id } from '@virt8ra/contract';
import type { Store } from '../resources/store.js';

export type Telling = Omit<Condition, 'lastTransitionAt'>;

/** Says on the webhook what has become of its deliveries; nothing when it is gone. */
export async function tellState(store: Store, uid: string, condition: Telling): Promise<void> {
  await store.transaction(async (tx) => {
    const id = uid as Id<'resource'>;
    if ((await tx.lock(id)) !== undefined) await tx.setStatus(id, {}, condition);
  });
}
