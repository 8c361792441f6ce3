import { type Id, Problem } from '@virt8ra/contract';
import type { Poll, StepContext } from '@virt8ra/engine';
import { releaseClaim } from '../../../capacity/claims.js';
import type { Realization } from '../../../resources/ledger-types.js';
import type { StoreReader } from '../../../resources/store.js';
import type { KindContext } from '../../context.js';
import type { MoveInput, SourceObject } from '../plan.js';
import { facetsAt, removed, write } from '../site-facets.js';
import { showPhase } from '../subjects.js';

/** A disk that a migration has left at its source and keeps there. */
export interface RetainedDisk extends SourceObject {
  /** Of the block storage. */
  readonly uid: Id<'resource'>;
  readonly site: string;
  readonly host: string;
}

/** The disks that a migration keeps at its source, as the ledger has them. */
export async function retainedDisks(reader: StoreReader, { migration, instance }: MoveInput): Promise<readonly RetainedDisk[]> {
  const volumes = (await reader.referencesOf(instance)).filter(({ pointer }) => pointer.endsWith('/deviceRef')).map(({ uid }) => uid);
  const kept = (await reader.ledger.ofResources(volumes)).filter((each) => each.facts['keptBy'] === migration);
  return kept.map(({ id, resourceUid, site, host, handle }: Realization) => {
    if (host === undefined || handle === undefined) throw new Problem('internal', 'a disk is retained nowhere');
    return { id, uid: resourceUid, site, host, handle };
  });
}

/** From here on the disks at the source are going. Answers which. */
export async function beginGivingUp(context: KindContext, step: StepContext, input: MoveInput): Promise<readonly RetainedDisk[]> {
  return await write(context, step, async (tx) => {
    const retained = await retainedDisks(tx, input);
    await showPhase(tx, input.migration, 'clean');
    for (const { id } of retained) await tx.ledger.setRemoving(id);
    return retained;
  });
}

/** Removes the disks at the source, and gives their room back once they are positively gone. */
export async function pollGivenUp(
  context: KindContext,
  step: StepContext,
  input: MoveInput,
  retained: readonly RetainedDisk[],
): Promise<Poll<null>> {
  for (const { site, handle } of retained) {
    const { blockStorages } = await facetsAt(context, site);
    if (!(await removed(step, blockStorages, handle))) return { waitSeconds: 0.5 };
  }
  await write(context, step, async (tx) => {
    for (const { id, uid } of retained) {
      await tx.ledger.forget(id);
      await releaseClaim(tx.client, uid, 'retained');
    }
    await releaseClaim(tx.client, input.instance, 'retained');
  });
  return { done: null };
}
