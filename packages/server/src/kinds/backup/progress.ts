import type { AgentMessageOf } from '@virt8ra/contract';
import type { Store } from '../../resources/store.js';

/** Shows what an agent tells of a backup beside it. What is told of one that has ended is dropped. */
export async function recordBackupProgress(store: Store, told: Omit<AgentMessageOf<'progress'>, 'type'>): Promise<void> {
  const { transferId, ...progress } = told;
  await store.transaction(async (tx) => {
    const made = await tx.ledger.byKey(transferId);
    if (made?.facet !== 'backups' || made.state === 'removing') return;
    if ((await tx.lock(made.resourceUid)) !== undefined) await tx.setProgress(made.resourceUid, progress);
  });
}
