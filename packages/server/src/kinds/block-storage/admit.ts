import { type BlockStorageSpec, type ImageSpec, image, instance, type Placement, Problem, storageSku } from '@virt8ra/contract';
import type { Static } from 'typebox';
import type { StoreTransaction } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { Admission, PutRequest } from '../behaviour.js';
import { type RequestedPlace, requestedPlace } from './requested-site.js';
import { blockStorageBytes } from './size.js';
import { type BlockStorageStatus, type ImageFacts, imagePointer } from './status.js';

type Request = PutRequest<BlockStorageSpec, BlockStorageStatus>;

const waitingForConsumer = {
  type: 'Placed',
  reason: 'WaitingForFirstConsumer',
  message: 'its place is chosen with the first instance that uses it',
} as const;

/** Rules of a block storage that need more than its shape. */
export async function admitBlockStorage(tx: StoreTransaction, request: Request): Promise<Admission<BlockStorageStatus>> {
  const { address, next, previous } = request;
  const { sizeGB, skuRef, sourceImageRef } = next.spec;
  if (previous !== undefined) return await admitChange(tx, request, previous);
  const { name: _, ...within } = address;
  const sku = await tx.resolve<Static<typeof storageSku.spec>>(storageSku, skuRef, within, '/spec/skuRef');
  const { minVolumeSize } = sku.target.spec;
  if (sizeGB < minVolumeSize) throw badSize(`SKU ${sku.target.address.name} starts at ${minVolumeSize} GB`);
  const source = sourceImageRef === undefined ? [] : [await tx.resolve<ImageSpec, ImageFacts>(image, sourceImageRef, within, imagePointer)];
  for (const { target } of source) assertFits(target, sizeGB);
  const references = [sku.reference, ...source.map(({ reference }) => reference)];
  return { references, ...placed(await requestedPlace(tx, next.extensions, undefined), undefined, sizeGB) };
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
  tx: StoreTransaction,
  { next }: Request,
  previous: NonNullable<Request['previous']>,
): Promise<Admission<BlockStorageStatus>> {
  const { uid, spec } = previous;
  const { sizeGB } = next.spec;
  if (sizeGB < spec.sizeGB) throw badSize(`a block storage cannot shrink; it has ${spec.sizeGB} GB`);
  // A claim is written before the first realization, with the size of that moment.
  const claimed = await tx.client.query('select 1 from claim where resource_uid = $1', [uid]);
  const realized = claimed.rowCount !== 0 || (await tx.ledger.ofResource(uid)).length > 0;
  const place = await requestedPlace(tx, next.extensions, { ...previous, realized });
  if (!realized) return placed(place, previous.status.placement, sizeGB);
  if (sizeGB > spec.sizeGB) {
    throw new Problem('unsupported', 'a block storage cannot grow yet once it is at a site', { sources: [{ pointer: '/spec/sizeGB' }] });
  }
  return { outcome: 'active' };
}

function badSize(message: string): Problem {
  return new Problem('validation', message, { sources: [{ pointer: '/spec/sizeGB' }] });
}

/** Raises `conflict` while an instance uses it. */
export async function admitBlockStorageDelete(tx: StoreTransaction, { uid, address }: StoredResource): Promise<void> {
  const [user] = await tx.usersOf(uid, instance);
  if (user === undefined) return;
  throw new Problem('conflict', `block storage ${address.name} is attached to instance ${user.address.name}; delete the instance first`);
}
