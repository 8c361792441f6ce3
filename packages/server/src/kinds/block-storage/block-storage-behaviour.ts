import { type BlockStorageSpec, blockStorage, instance, type Placement, referenceTo, toProblem } from '@virt8ra/contract';
import type { BlockStorageRealizationStatus, Handle, Observation } from '@virt8ra/driver';
import type { Outcome } from '@virt8ra/engine';
import { releaseClaim } from '../../capacity/claims.js';
import type { NewCondition } from '../../resources/conditions.js';
import type { Realization } from '../../resources/ledger-types.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { KindBehaviour } from '../behaviour.js';
import type { KindContext } from '../context.js';
import { withdrawn } from '../realize.js';
import { admitBlockStorage, admitBlockStorageDelete } from './admit.js';
import { limitsOf } from './limits.js';
import { blockStoragesAt, originOfVolume } from './realize-block-storage.js';
import { blockStorageBytes } from './size.js';
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
    admitPut: async (tx, request) => await admitBlockStorage(context, tx, request),
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
  await follow(context, resource, primary, primary.handle);
  const seen = await look(context, primary, primary.handle);
  await context.store.transaction(async (tx) => {
    const held = await tx.lock<BlockStorageSpec, BlockStorageStatus>(resource.uid);
    if (held === undefined || held.deletedAt !== undefined) return;
    // A migration may have moved it while its old place was asked.
    if ((await tx.ledger.ofResource(held.uid)).find(({ id }) => id === primary.id)?.role !== 'primary') return;
    await tx.setStatus(
      held.uid,
      { placement: placementAt(primary, held.status.placement), ...sizeOf(seen) },
      conditionFrom(seen, held, primary),
    );
  });
  return seen.type === 'changing'
    ? { waitSeconds: seen.retryAfterSeconds, reason: seen.status.state }
    : { waitSeconds: quietSeconds, reason: seen.type };
}

/** Asks the site for what its owner has changed since. A disk that a move brings is the move's until it is over. */
async function follow(context: KindContext, resource: BlockStorage, primary: Realization, handle: Handle): Promise<void> {
  if (primary.state === 'removing' || primary.host === undefined) return;
  const [user] = await context.store.usersOf(resource.uid, instance);
  const moves = user === undefined ? [] : await context.runner.list({ subject: `${instance.kind}/${user.uid}`, live: true, limit: 1 });
  if (moves.length > 0) return;
  try {
    const { blockStorages } = await blockStoragesAt(context, primary.site);
    const seen = await blockStorages.observe(handle);
    if (seen.type !== 'present') return;
    const sizeBytes = Math.max(blockStorageBytes(resource.spec.sizeGB), seen.status.sizeBytes);
    const limits = await limitsOf(context.store, resource);
    const source = await originOfVolume(context, resource, primary);
    await blockStorages.update(handle, { sizeBytes, host: primary.host, source, settle: primary.facts['settle'] === true, limits });
  } catch (thrown) {
    // A site that cannot be asked is asked again; what it is, is seen next. What is not there any more is seen to be so.
    const problem = toProblem(thrown);
    if (problem.retry === 'never' && problem.kind !== 'not-found') throw thrown;
  }
}

/** What a guest sees, in whole GB. */
function sizeOf(seen: Seen): Pick<BlockStorageStatus, 'sizeGB' | 'allocatedBytes'> {
  if (seen.type !== 'present' && seen.type !== 'changing') return {};
  const { sizeBytes, allocatedBytes } = seen.status;
  return { sizeGB: Math.floor(sizeBytes / 1_000_000_000), ...(allocatedBytes === undefined ? {} : { allocatedBytes }) };
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
      return seen.status.problem === undefined
        ? undefined
        : { state: state === 'active' ? 'updating' : state, type: 'Observed', reason: 'Waiting', message: seen.status.problem.message };
  }
}
