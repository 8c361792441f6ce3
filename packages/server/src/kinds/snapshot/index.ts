/** Snapshot: a point in time of block storages, kept in them at their host. */
import { type InstanceSpec, instance, Problem, type SnapshotSpec, snapshot, toProblem } from '@virt8ra/contract';
import type { Handle, Observation, SnapshotRealizationStatus } from '@virt8ra/driver';
import type { Outcome } from '@virt8ra/engine';
import type { NewCondition } from '../../resources/conditions.js';
import type { Realization } from '../../resources/ledger-types.js';
import type { StoreTransaction } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import { assertNotBackedUp } from '../backing-up.js';
import type { KindBehaviour } from '../behaviour.js';
import type { KindContext } from '../context.js';
import { instancePower } from '../instance/index.js';
import { assertNotMoving } from '../moving.js';
import { realizedHandle, withdrawn } from '../realize.js';
import { assertNotReverting } from '../snapshotted.js';
import { admitNewSnapshot } from './admit.js';
import { placeOfVolumes, snapshotsAt, volumesOfSnapshot } from './place.js';
import type { SnapshotStatus } from './status.js';

type Snapshot = StoredResource<SnapshotSpec, SnapshotStatus>;
type Seen = Observation<SnapshotRealizationStatus>;

const lookSeconds = 2;
const unreachableSeconds = 15;

export function createSnapshotBehaviour(context: KindContext): KindBehaviour<SnapshotSpec, SnapshotStatus> {
  return {
    kind: snapshot,
    async admitPut(tx, { address, next, previous }) {
      if (previous === undefined) return await admitNewSnapshot(context, tx, address, next.spec);
      // What it is of is fixed; labels and the like may change.
      return { outcome: previous.status.phase === 'taken' ? 'active' : 'creating' };
    },
    actions: { revert: async (tx, resource) => await revert(context, tx, resource) },
    reconcile: async (resource) => (resource.deletedAt === undefined ? await keep(context, resource) : await drop(context, resource)),
  };
}

/** Raises `conflict` unless its block storages are used by no guest that runs, is to run, or moves. */
async function revert(context: KindContext, tx: StoreTransaction, { uid, address, status }: Snapshot): Promise<void> {
  const { name } = address;
  if (status.phase !== 'taken') throw new Problem('conflict', `snapshot ${name} is ${status.phase ?? 'waiting'}; it must be taken first`);
  const volumes = await volumesOfSnapshot(tx, uid);
  const [realization] = await tx.ledger.ofResource(uid);
  if (realization === undefined) throw new Problem('conflict', `snapshot ${name} is at no host`);
  const uids = volumes.map((volume) => volume.uid);
  await assertNotBackedUp(tx, uids, 'revert it');
  await assertNotReverting(tx, uids);
  for (const volume of volumes) {
    const [user] = await tx.usersOf(volume.uid, instance);
    if (user === undefined) continue;
    await assertNotMoving(context, tx, user.uid, 'revert it');
    const held = await tx.getByUid<InstanceSpec, { readonly activity?: { readonly value: string } }>(user.uid);
    const isOff = held?.status.activity?.value === 'stopped' && (await instancePower(tx.client, user.uid)).power === 'off';
    if (!isOff)
      throw new Problem(
        'conflict',
        `instance ${user.address.name} must be off while its disks become what they were: virt8ra stop ${user.address.name}`,
      );
  }
  await tx.ledger.setFacts(realization.id, { reverts: revertsOf(realization) + 1 });
  await tx.setStatus(uid, { phase: 'reverting' }, { state: 'updating', type: 'Reverted', reason: 'Asked' });
  await tx.nudge(snapshot.kind, uid);
}

function revertsOf({ facts }: Realization): number {
  return (facts['reverts'] as number | undefined) ?? 0;
}

/** Has it taken, and shows what its host says of it. */
async function keep(context: KindContext, resource: Snapshot): Promise<Outcome> {
  try {
    const realization = await intended(context, resource);
    if (realization === undefined) return { done: true };
    const { connection, snapshots } = await snapshotsAt(context, realization.site);
    const handles = realization.facts['handles'] as readonly Handle[];
    const spec = {
      volumes: handles,
      reverts: revertsOf(realization),
      ...(realization.host === undefined ? {} : { host: realization.host }),
    };
    const handle = await realizedHandle(context, connection, snapshots, realization, () => spec);
    await snapshots.update(handle, spec);
    const seen = await snapshots.observe(handle);
    await context.store.transaction(async (tx) => await show(tx, context, resource, realization, seen));
    return seen.type === 'present'
      ? { done: true }
      : { waitSeconds: seen.type === 'unknown' ? unreachableSeconds : lookSeconds, reason: seen.type };
  } catch (thrown) {
    const problem = toProblem(thrown);
    if (problem.retry === 'never') {
      await context.store.transaction(async (tx) => {
        if ((await tx.lock(resource.uid)) === undefined) return;
        await tx.setStatus(resource.uid, {}, { state: 'error', type: 'Taken', reason: 'Failed', message: problem.message });
      });
      if (problem.kind !== 'conflict') throw thrown;
      return { waitSeconds: unreachableSeconds, reason: problem.message };
    }
    return { waitSeconds: problem.retryAfterSeconds ?? lookSeconds, reason: problem.message };
  }
}

/** The row of the ledger, made where its block storages are. Undefined: it is going. */
async function intended(context: KindContext, { uid }: Snapshot): Promise<Realization | undefined> {
  const [known] = await context.store.ledger.ofResource(uid);
  if (known !== undefined) return known;
  return await context.store.transaction(async (tx) => {
    const held = await tx.lock(uid);
    if (held === undefined || held.deletedAt !== undefined) return undefined;
    const [made] = await tx.ledger.ofResource(uid);
    if (made !== undefined) return made;
    const { site, host, handles } = await placeOfVolumes(tx, await volumesOfSnapshot(tx, uid));
    return await tx.ledger.intend({ resourceUid: uid, role: 'primary', facet: 'snapshots', site, host, facts: { handles, reverts: 0 } });
  });
}

async function show(tx: StoreTransaction, context: KindContext, resource: Snapshot, realization: Realization, seen: Seen): Promise<void> {
  const held = await tx.lock<SnapshotSpec, SnapshotStatus>(resource.uid);
  if (held === undefined || held.deletedAt !== undefined) return;
  if (seen.type === 'absent')
    return await tx.setStatus(
      held.uid,
      {},
      { state: 'error', type: 'Observed', reason: 'Gone', message: `it is not at ${realization.host ?? realization.site} any more` },
    );
  if (seen.type === 'unknown')
    return await tx.setStatus(held.uid, {}, { state: held.state, type: 'Observed', reason: 'Unknown', message: seen.reason });
  const { takenAt, consistency, waitingFor, problem, volumes, reverted } = seen.status;
  const now = await tx.ledger.ofResource(held.uid);
  const isReverting = now.some((each) => each.id === realization.id && revertsOf(each) > reverted);
  const facts = {
    ...(takenAt === undefined ? {} : { takenAt }),
    ...(consistency === undefined ? {} : { consistency }),
    ...(takenAt === undefined
      ? {}
      : {
          volumes: held.status.volumes?.map((volume, index) => ({ ...volume, sizeBytes: volumes[index]?.sizeBytes ?? volume.sizeBytes })),
        }),
  };
  const inTheWay = problem?.message ?? (waitingFor === undefined ? undefined : `its host waits for ${waitingFor}`);
  const waiting: NewCondition | undefined =
    inTheWay === undefined
      ? undefined
      : { state: isReverting ? 'updating' : 'creating', type: 'Taken', reason: 'Waiting', message: inTheWay };
  if (seen.status.state === 'waiting') return await tx.setStatus(held.uid, { phase: 'waiting', ...facts }, waiting);
  if (isReverting) return await tx.setStatus(held.uid, { phase: 'reverting', ...facts }, waiting);
  const wasReverting = held.status.phase === 'reverting';
  const revertedAt = wasReverting ? { revertedAt: context.now().toISOString() } : {};
  const done: NewCondition = wasReverting
    ? { state: 'active', type: 'Reverted', reason: 'Done', message: `its disks are as they were at ${takenAt ?? 'that moment'}` }
    : {
        state: 'active',
        type: 'Taken',
        reason: 'Taken',
        message: `of ${takenAt ?? 'an unknown time'}, ${consistency ?? 'crash'}-consistent`,
      };
  await tx.setStatus(held.uid, { phase: 'taken', ...facts, ...revertedAt }, held.state === 'active' && !wasReverting ? undefined : done);
}

async function drop(context: KindContext, { uid }: Snapshot): Promise<Outcome> {
  for (const realization of await context.store.ledger.ofResource(uid)) {
    const { connection, snapshots } = await snapshotsAt(context, realization.site);
    const left = await withdrawn(context, connection, snapshots, realization);
    if (left !== undefined) return { waitSeconds: left.reachable ? lookSeconds : unreachableSeconds, reason: left.reason };
    await context.store.transaction(async (tx) => await tx.ledger.forget(realization.id));
  }
  await context.store.transaction(async (tx) => {
    if ((await tx.lock(uid)) !== undefined) await tx.remove(uid);
  });
  return { gone: true };
}
