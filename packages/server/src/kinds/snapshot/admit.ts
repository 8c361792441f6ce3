import {
  type Address,
  type BlockStorageSpec,
  blockStorage,
  type InstanceSpec,
  instance,
  Problem,
  referenceTo,
  type SnapshotSpec,
  snapshot,
  urnFromAddress,
} from '@virt8ra/contract';
import type { StoreTransaction } from '../../resources/store.js';
import type { ResolvedReference, StoredResource } from '../../resources/stored-resource.js';
import type { Admission } from '../behaviour.js';
import { type BlockStorageStatus, blockStorageBytes } from '../block-storage/index.js';
import type { KindContext } from '../context.js';
import { assertDisksSettled, assertNotInRescue, type InstanceStatus, partsOfInstance } from '../instance/index.js';
import { assertNotMoving } from '../moving.js';
import { snapshotsAt } from './place.js';
import type { SnapshotStatus } from './status.js';

type Volume = StoredResource<BlockStorageSpec, BlockStorageStatus>;

/** Snapshots of one block storage at the same time. */
const snapshotsMost = 32;

/** Rules of a new snapshot that need more than its shape. It refers to every block storage that has it. */
export async function admitNewSnapshot(
  context: KindContext,
  tx: StoreTransaction,
  address: Omit<Address, 'name'>,
  spec: SnapshotSpec,
): Promise<Admission<SnapshotStatus>> {
  const { reference, volumes } =
    'instanceRef' in spec
      ? await ofInstance(context, tx, address, spec.instanceRef)
      : await ofDisk(context, tx, address, spec.blockStorageRef);
  const references: ResolvedReference[] = [reference];
  for (const [index, volume] of volumes.entries()) {
    const { name } = volume.address;
    if (volume.status.placement?.host === undefined)
      throw new Problem('conflict', `block storage ${name} is at no host yet: there is nothing to take a snapshot of`);
    await snapshotsAt(context, volume.status.placement.site);
    if ((await tx.usersOf(volume.uid, snapshot)).length >= snapshotsMost)
      throw new Problem('exhausted', `block storage ${name} has ${snapshotsMost} snapshots; delete one first`);
    const given = urnFromAddress(blockStorage, volume.address);
    if (volume.uid !== reference.uid) references.push({ pointer: `/volumes/${index}`, given, uid: volume.uid });
  }
  const shown = volumes.map((volume) => ({
    blockStorageRef: referenceTo(blockStorage, volume.address),
    sizeBytes: blockStorageBytes(volume.spec.sizeGB),
  }));
  const status: SnapshotStatus = { phase: 'waiting', volumes: shown };
  return { references, status, outcome: 'creating', type: 'Taken', reason: 'Waiting' };
}

interface Found {
  readonly reference: ResolvedReference;
  readonly volumes: readonly Volume[];
}

async function ofInstance(
  context: KindContext,
  tx: StoreTransaction,
  address: Omit<Address, 'name'>,
  given: Extract<SnapshotSpec, { instanceRef: unknown }>['instanceRef'],
): Promise<Found> {
  const { target, reference } = await tx.resolve<InstanceSpec, InstanceStatus>(instance, given, address, '/spec/instanceRef');
  await assertNotMoving(context, tx, target.uid, 'take a snapshot of it');
  assertDisksSettled(target);
  assertNotInRescue(target);
  return { reference, volumes: (await partsOfInstance(tx, target)).volumes as readonly Volume[] };
}

async function ofDisk(
  context: KindContext,
  tx: StoreTransaction,
  address: Omit<Address, 'name'>,
  given: Extract<SnapshotSpec, { blockStorageRef: unknown }>['blockStorageRef'],
): Promise<Found> {
  const { target, reference } = await tx.resolve<BlockStorageSpec, BlockStorageStatus>(
    blockStorage,
    given,
    address,
    '/spec/blockStorageRef',
  );
  const [user] = await tx.usersOf(target.uid, instance);
  if (user !== undefined) await assertNotMoving(context, tx, user.uid, 'take a snapshot of its disk');
  return { reference, volumes: [target] };
}
