import {
  type BlockStorageSpec,
  type ImageSpec,
  image,
  instance,
  type Placement,
  Problem,
  type StorageSkuSpec,
  storageSku,
} from '@virt8ra/contract';
import type { StoreTransaction } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import { assertNotBackedUp } from '../backing-up.js';
import type { Admission, PutRequest } from '../behaviour.js';
import type { KindContext } from '../context.js';
import { assertNotMoving } from '../moving.js';
import { assertNoSnapshots } from '../snapshotted.js';
import { claimStorage } from '../storage-claim.js';
import { assertLimits } from './limits.js';
import { type RequestedPlace, requestedPlace } from './requested-site.js';
import { assertSameBackup, requestedRestore } from './restore.js';
import { blockStorageBytes } from './size.js';
import { type BlockStorageStatus, type ImageFacts, imagePointer } from './status.js';

type Request = PutRequest<BlockStorageSpec, BlockStorageStatus>;

const waitingForConsumer = {
  type: 'Placed',
  reason: 'WaitingForFirstConsumer',
  message: 'its place is chosen with the first instance that uses it',
} as const;

/** Rules of a block storage that need more than its shape. */
export async function admitBlockStorage(
  context: KindContext,
  tx: StoreTransaction,
  request: Request,
): Promise<Admission<BlockStorageStatus>> {
  const { address, next, previous } = request;
  const { sizeGB, skuRef, sourceImageRef } = next.spec;
  if (previous !== undefined) return await admitChange(context, tx, request, previous);
  const { name: _, ...within } = address;
  const sku = await tx.resolve<StorageSkuSpec>(storageSku, skuRef, within, '/spec/skuRef');
  const { minVolumeSize } = sku.target.spec;
  assertLimits(next.extensions, sku.target.spec, sku.target.address.name);
  if (sizeGB < minVolumeSize) throw badSize(`SKU ${sku.target.address.name} starts at ${minVolumeSize} GB`);
  const source = sourceImageRef === undefined ? [] : [await tx.resolve<ImageSpec, ImageFacts>(image, sourceImageRef, within, imagePointer)];
  for (const { target } of source) assertFits(target, sizeGB);
  const restore = await requestedRestore(tx, next.extensions, within);
  if (restore !== undefined && sourceImageRef !== undefined)
    throw new Problem('validation', 'a block storage starts from an image or from a backup, not from both', {
      sources: [{ pointer: imagePointer }],
    });
  if (restore !== undefined && blockStorageBytes(sizeGB) < restore.from.sizeBytes)
    throw badSize(
      `backup ${restore.from.backup} holds a disk of ${restore.from.sizeBytes} bytes; ask for ${Math.ceil(restore.from.sizeBytes / 1_000_000_000)} GB or more`,
    );
  const references = [sku.reference, ...source.map(({ reference }) => reference), ...(restore === undefined ? [] : [restore.reference])];
  const admission = placed(await requestedPlace(tx, next.extensions, undefined), undefined, sizeGB);
  return { references, ...admission, status: { ...admission.status, ...(restore === undefined ? {} : { restoredFrom: restore.from }) } };
}

/** A block storage that is at no host yet: waiting for its first instance, or bound to a site before. */
function placed(place: RequestedPlace, before: Placement | undefined, sizeGB: number): Admission<BlockStorageStatus> {
  const placement = place === 'unchanged' ? before : place === 'unplaced' ? undefined : place.placement;
  if (placement === undefined) return { status: { sizeGB, placement: undefined }, outcome: 'active', ...waitingForConsumer };
  const message = `at ${placement.site}, as asked; its host there is chosen with the first instance that uses it`;
  return { status: { sizeGB, placement }, outcome: 'active', type: 'Placed', reason: 'Requested', message };
}

function assertFits(target: StoredResource<ImageSpec, ImageFacts>, sizeGB: number): void {
  const { name } = target.address;
  if (target.state !== 'active') {
    throw new Problem('conflict', `image ${name} is not ready (${target.state}); wait until it is active`, {
      sources: [{ pointer: imagePointer }],
    });
  }
  const { virtualSizeBytes = 0 } = target.status;
  if (blockStorageBytes(sizeGB) < virtualSizeBytes) {
    throw badSize(
      `image ${name} holds a disk of ${virtualSizeBytes} bytes; ask for ${Math.ceil(virtualSizeBytes / 1_000_000_000)} GB or more`,
    );
  }
}

async function admitChange(
  context: KindContext,
  tx: StoreTransaction,
  { next }: Request,
  previous: NonNullable<Request['previous']>,
): Promise<Admission<BlockStorageStatus>> {
  const { uid, spec } = previous;
  const { sizeGB } = next.spec;
  assertSameBackup(next.extensions, previous.extensions);
  const { name: _, ...within } = previous.address;
  const sku = await tx.resolve<StorageSkuSpec>(storageSku, next.spec.skuRef, within, '/spec/skuRef');
  assertLimits(next.extensions, sku.target.spec, sku.target.address.name);
  if (sizeGB < spec.sizeGB) throw badSize(`a block storage cannot shrink; it has ${spec.sizeGB} GB`);
  // A claim is written before the first realization, with the size of that moment.
  const claimed = await tx.client.query('select 1 from claim where resource_uid = $1', [uid]);
  const realized = claimed.rowCount !== 0 || (await tx.ledger.ofResource(uid)).length > 0;
  const place = await requestedPlace(tx, next.extensions, { ...previous, realized });
  if (!realized) return placed(place, previous.status.placement, sizeGB);
  if (sizeGB === spec.sizeGB) return { outcome: 'active' };
  const [user] = await tx.usersOf(uid, instance);
  if (user !== undefined) await assertNotMoving(context, tx, user.uid, `let block storage ${previous.address.name} grow`);
  const { placement } = previous.status;
  if (placement?.host === undefined)
    throw new Problem('conflict', `block storage ${previous.address.name} is being placed; let it grow once it is there`);
  await claimStorage(context, tx, uid, { site: placement.site, host: placement.host }, blockStorageBytes(sizeGB));
  return { outcome: 'creating', type: 'Grown', reason: 'Growing', message: `from ${spec.sizeGB} to ${sizeGB} GB` };
}

function badSize(message: string): Problem {
  return new Problem('validation', message, { sources: [{ pointer: '/spec/sizeGB' }] });
}

/** Raises `conflict` while an instance uses it. */
export async function admitBlockStorageDelete(tx: StoreTransaction, { uid, address }: StoredResource): Promise<void> {
  await assertNotBackedUp(tx, [uid], 'delete it');
  await assertNoSnapshots(tx, [uid], `block storage ${address.name} has snapshots, which would go with it`);
  const [user] = await tx.usersOf(uid, instance);
  if (user === undefined) return;
  throw new Problem('conflict', `block storage ${address.name} is attached to instance ${user.address.name}; delete the instance first`);
}
