import { type BlockStorageSpec, blockStorage, instance, type Placement, referenceTo, toProblem } from '@virt8ra/contract';
import type { BlockStorageRealizationStatus, Observation } from '@virt8ra/driver';
import type { Outcome } from '@virt8ra/engine';
import { releaseClaim } from '../../capacity/claims.js';
import type { NewCondition } from '../../resources/conditions.js';
import type { Realization } from '../../resources/ledger-types.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { KindBehaviour } from '../behaviour.js';
import type { KindContext } from '../context.js';
import { withdrawn } from '../realize.js';
import { admitBlockStorage, admitBlockStorageDelete } from './admit.js';
import { blockStoragesAt } from './realize-block-storage.js';
import type { BlockStorageStatus } from './status.js';

type BlockStorage = StoredResource<BlockStorageSpec, BlockStorageStatus>;
type Seen = Observation<BlockStorageRealizationStatus>;

const lookAgainSeconds = 2;
const unreachableSeconds = 15;
/** Seconds between looks when nothing is expected to change; observations nudge sooner. */
const quietSeconds = 60;

export function createBlockStorageBehaviour(context: KindContext): KindBehaviour<BlockStorageSpec, BlockStorageStatus> {
  return {
    kind: blockStorage,
    admitPut: admitBlockStorage,
    admitDelete: admitBlockStorageDelete,
    reconcile: async (resource) =>
      resource.deletedAt === undefined ? await refresh(context, resource) : await deleteBlockStorage(context, resource),
    async present(reader, resources) {
      return await Promise.all(
        resources.map(async ({ uid }) => {
          const [user] = await reader.usersOf(uid, instance);
          return user === undefined ? {} : { attachedTo: referenceTo(instance, user.address) };
        }),
      );
    },
  };
}

/** Takes it away everywhere, one place after the other, then its claims and its row. */
async function deleteBlockStorage(context: KindContext, resource: BlockStorage): Promise<Outcome> {
  for (const realization of await context.store.ledger.ofResource(resource.uid)) {
    const waiting = await removeFrom(context, realization);
    if (waiting === undefined) continue;
    await context.store.transaction(async (tx) => {
      await tx.setStatus(resource.uid, {}, { state: 'deleting', type: 'Removed', reason: 'Waiting', message: waiting.reason });
    });
    return waiting;
  }
  await context.store.transaction(async (tx) => {
    await releaseClaim(tx.client, resource.uid, 'primary');
    await releaseClaim(tx.client, resource.uid, 'incoming');
    await tx.remove(resource.uid);
  });
  return { gone: true };
}

async function removeFrom(
  context: KindContext,
  realization: Realization,
): Promise<{ readonly waitSeconds: number; readonly reason: string } | undefined> {
  try {
    const { connection, blockStorages } = await blockStoragesAt(context, realization.site);
    const left = await withdrawn(context, connection, blockStorages, realization);
    if (left !== undefined) return { waitSeconds: left.reachable ? lookAgainSeconds : unreachableSeconds, reason: left.reason };
    await context.store.transaction(async (tx) => await tx.ledger.forget(realization.id));
    return undefined;
  } catch (thrown) {
    const problem = toProblem(thrown);
    if (problem.retry === 'never') throw thrown;
    const reason = `site ${realization.site} cannot be asked: ${problem.message}`;
    return { waitSeconds: problem.retryAfterSeconds ?? unreachableSeconds, reason };
  }
}

/** Writes what is seen of it where it is; making and moving it is the work of instances and migrations. */
async function refresh(context: KindContext, resource: BlockStorage): Promise<Outcome> {
  const primary = (await context.store.ledger.ofResource(resource.uid)).find(({ role }) => role === 'primary');
  if (primary?.handle === undefined) return { done: true };
  const seen = await look(context, primary, primary.handle);
  await context.store.transaction(async (tx) => {
    const held = await tx.lock<BlockStorageSpec, BlockStorageStatus>(resource.uid);
    if (held === undefined || held.deletedAt !== undefined) return;
    // A migration may have moved it while its old place was asked.
    if ((await tx.ledger.ofResource(held.uid)).find(({ id }) => id === primary.id)?.role !== 'primary') return;
    await tx.setStatus(held.uid, { placement: placementAt(primary, held.status.placement) }, conditionFrom(seen, held, primary));
  });
  return seen.type === 'changing'
    ? { waitSeconds: seen.retryAfterSeconds, reason: seen.status.state }
    : { waitSeconds: quietSeconds, reason: seen.type };
}

/** A site that cannot be asked is something seen, too. */
async function look(context: KindContext, { site }: Realization, handle: NonNullable<Realization['handle']>): Promise<Seen> {
  try {
    return await (await blockStoragesAt(context, site)).blockStorages.observe(handle);
  } catch (thrown) {
    const problem = toProblem(thrown);
    if (problem.retry === 'never') throw thrown;
    return { type: 'unknown', reason: `site ${site} cannot be asked: ${problem.message}`, source: site };
  }
}

function placementAt({ site, host }: Realization, held: Placement | undefined): Placement {
  if (held !== undefined && held.site === site && held.host === host) return held;
  const revision = (held?.revision ?? 0) + 1;
  const why = held === undefined ? ({ cause: 'consumer', reason: 'its instance is there' } as const) : moved;
  return { site, ...(host === undefined ? {} : { host }), ...why, revision };
}

const moved = { cause: 'migration', reason: 'a migration moved it' } as const;

/** The history entry an observation calls for, if any; it repeats nothing. */
function conditionFrom(seen: Seen, { state }: BlockStorage, { site, host = site }: Realization): NewCondition | undefined {
  switch (seen.type) {
    case 'broken':
      return { state: 'error', type: 'Observed', reason: 'Failed', message: seen.problem.message };
    case 'absent':
      return { state: 'error', type: 'Observed', reason: 'Absent', message: `${host} at ${site} does not have it any more` };
    case 'unknown':
      return { state, type: 'Observed', reason: 'Unknown', message: seen.reason };
    case 'present':
      return { state: 'active', type: 'Observed', reason: 'Ready', message: `${site}/${host}` };
    case 'changing':
      return undefined;
  }
}
