import {
  type Address,
  type BackupSpec,
  type BlockStorageSpec,
  backup,
  blockStorage,
  type Id,
  type InstanceSpec,
  instance,
  Problem,
} from '@virt8ra/contract';
import type { StoreTransaction } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { Admission } from '../behaviour.js';
import type { BlockStorageStatus } from '../block-storage/index.js';
import type { KindContext } from '../context.js';
import { assertDisksSettled, assertNotInRescue, type InstanceStatus } from '../instance/index.js';
import { assertNotMoving } from '../moving.js';
import { backupsAt } from './plan.js';
import { type BackupStatus, isOver } from './status.js';

type Subject = StoredResource<unknown, { readonly placement?: { readonly site: string; readonly host?: string } }>;

/** Rules of a new backup that need more than its shape. What it is of is locked, so that no move of it begins at the same moment. */
export async function admitNewBackup(
  context: KindContext,
  tx: StoreTransaction,
  address: Omit<Address, 'name'>,
  spec: BackupSpec,
  base: '/spec' | '/spec/of' = '/spec',
): Promise<Admission<BackupStatus>> {
  const { target, reference } =
    'instanceRef' in spec
      ? await tx.resolve<InstanceSpec, InstanceStatus>(instance, spec.instanceRef, address, `${base}/instanceRef`)
      : await tx.resolve<BlockStorageSpec, BlockStorageStatus>(blockStorage, spec.blockStorageRef, address, `${base}/blockStorageRef`);
  const held = ((await tx.lock(target.uid)) ?? target) as Subject;
  const what = `${held.kind} ${held.address.name}`;
  const { placement } = held.status;
  if (placement?.host === undefined) throw new Problem('conflict', `${what} is at no host yet: there is nothing to back up`);
  await backupsAt(context, placement.site);
  const [user] = held.kind === instance.kind ? [held] : await tx.usersOf(held.uid, instance);
  if (user !== undefined) await assertNotMoving(context, tx, user.uid, 'back it up');
  if (held.kind === instance.kind) {
    assertDisksSettled(held as StoredResource<unknown, InstanceStatus>);
    assertNotInRescue(held as StoredResource<unknown, InstanceStatus>);
  }
  await assertNoOther(tx, held.uid, what);
  return { references: [reference], status: { phase: 'waiting' }, outcome: 'creating', type: 'BackedUp', reason: 'Waiting' };
}

async function assertNoOther(tx: StoreTransaction, uid: Id<'resource'>, what: string): Promise<void> {
  const others = (await tx.usersOf(uid, backup)) as readonly StoredResource<unknown, BackupStatus>[];
  const other = others.find(({ deletedAt, status }) => deletedAt === undefined && !isOver(status));
  if (other !== undefined) throw new Problem('conflict', `${what} is being backed up by backup ${other.address.name}`);
}

/** Raises `conflict` while it is under way, or while a block storage is still to be made from it. */
export async function admitBackupDelete(
  tx: StoreTransaction,
  { uid, address, status }: StoredResource<BackupSpec, BackupStatus>,
): Promise<void> {
  if (!isOver(status))
    throw new Problem('conflict', `backup ${address.name} is under way; cancel it first: virt8ra cancel backup/${address.name}`);
  const waiting = await unmadeFrom(tx, uid);
  if (waiting !== undefined)
    throw new Problem('conflict', `block storage ${waiting} is still to be made from backup ${address.name}; delete it first`);
}

/** Name of a block storage that needs the backup's content still. */
export async function unmadeFrom(tx: StoreTransaction, uid: Id<'resource'>): Promise<string | undefined> {
  const users = await tx.usersOf(uid, blockStorage);
  const realized = new Set((await tx.ledger.ofResources(users.map((user) => user.uid))).map(({ resourceUid }) => resourceUid));
  return users.find((user) => !realized.has(user.uid))?.address.name;
}
