/** Image: a disk in the artifact store. Made by an image import, or of a block storage that nothing has been written to yet. */
import { createHash } from 'node:crypto';
import { type BlockStorageSpec, blockStorage, type ImageSpec, image, imageImport, Problem } from '@virt8ra/contract';
import type { Outcome } from '@virt8ra/engine';
import type { ArtifactStore } from '../../artifacts/artifact-store.js';
import { blankDisk } from '../../artifacts/blank-disk.js';
import { jsonEqual } from '../../resources/json-equal.js';
import type { StoreTransaction } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { Admission, KindBehaviour, PutRequest } from '../behaviour.js';
import { type BlockStorageStatus, blockStorageBytes, imageOf } from '../block-storage/index.js';
import type { KindContext } from '../context.js';
import { type ImageImportStatus, type ImageStatus, imageStatus } from '../image-import/index.js';

type Image = StoredResource<ImageSpec, ImageStatus>;

const pointer = '/spec/blockStorageRef';

export function createImageBehaviour(
  context: Pick<KindContext, 'store'>,
  artifacts: Pick<ArtifactStore, 'accept' | 'append' | 'begin' | 'discard'>,
): KindBehaviour<ImageSpec, ImageStatus> {
  return {
    kind: image,
    admitPut: admitImage,
    async admitDelete(tx, { uid, address }) {
      const users = await tx.usersOf(uid, blockStorage);
      const realized = new Set((await tx.ledger.ofResources(users.map((user) => user.uid))).map(({ resourceUid }) => resourceUid));
      const waiting = users.find((user) => !realized.has(user.uid));
      if (waiting !== undefined) {
        throw new Problem(
          'conflict',
          `block storage ${waiting.address.name} is still to be made from image ${address.name}; delete it first`,
        );
      }
    },
    reconcile: async (resource) => await reconcileImage(context, artifacts, resource),
  };
}

async function admitImage(tx: StoreTransaction, request: PutRequest<ImageSpec, ImageStatus>): Promise<Admission<ImageStatus>> {
  const { address, next, previous } = request;
  const { blockStorageRef } = next.spec;
  if (previous !== undefined) {
    // Its content stands for good, also when the import or the disk has gone since.
    if (!jsonEqual(previous.spec.blockStorageRef, blockStorageRef))
      throw new Problem('validation', 'what an image was made from cannot change; make another image', { sources: [{ pointer }] });
    return { outcome: previous.status.sha256 === undefined ? 'creating' : 'active' };
  }
  const named = typeof blockStorageRef === 'string' ? blockStorageRef : blockStorageRef.resource;
  const { name: _, ...within } = address;
  if (!named.split('/').includes(imageImport.collection)) return await admitOfBlockStorage(tx, blockStorageRef, within);
  const { target, reference } = await tx.resolve<unknown, ImageImportStatus>(imageImport, blockStorageRef, within, pointer);
  const { artifact } = target.status;
  if (artifact === undefined) {
    throw new Problem('validation', `image import ${target.address.name} is not done; wait for it`, { sources: [{ pointer }] });
  }
  return { references: [reference], status: imageStatus(artifact), outcome: 'active' };
}

/** What nobody has written to holds what it was made from, or nothing: that is known without asking its site. */
async function admitOfBlockStorage(
  tx: StoreTransaction,
  given: ImageSpec['blockStorageRef'],
  within: Omit<StoredResource['address'], 'name'>,
): Promise<Admission<ImageStatus>> {
  const { target, reference } = await tx.resolve<BlockStorageSpec, BlockStorageStatus>(blockStorage, given, within, pointer);
  const { uid, address, spec, status } = target;
  const claimed = await tx.client.query('select 1 from claim where resource_uid = $1', [uid]);
  if (claimed.rowCount !== 0 || (await tx.ledger.ofResource(uid)).length > 0 || status.restoredFrom !== undefined) {
    throw new Problem(
      'unsupported',
      `block storage ${address.name} has content of its own, of which no image can be made yet; back it up and start another from the backup (virt8ra backup)`,
      { sources: [{ pointer }] },
    );
  }
  const source = await imageOf(tx, uid);
  if (source !== undefined) return { references: [reference], status: { ...(source.status as ImageStatus) }, outcome: 'active' };
  return { references: [reference], status: { virtualSizeBytes: blockStorageBytes(spec.sizeGB) }, outcome: 'creating' };
}

async function reconcileImage(
  { store }: Pick<KindContext, 'store'>,
  artifacts: Pick<ArtifactStore, 'accept' | 'append' | 'begin' | 'discard'>,
  { uid, status, deletedAt }: Image,
): Promise<Outcome> {
  if (deletedAt !== undefined) {
    await artifacts.discard(uid);
    await store.transaction(async (tx) => await tx.remove(uid));
    return { gone: true };
  }
  if (status.sha256 !== undefined || status.virtualSizeBytes === undefined) return { done: true };
  const content = blankDisk(status.virtualSizeBytes);
  const sha256 = createHash('sha256').update(content).digest('hex');
  const { offset, complete } = await artifacts.begin(uid, { sha256, sizeBytes: content.length });
  if (!complete) await artifacts.append(uid, offset, octetsOf(content.subarray(offset)));
  const made = await artifacts.accept(uid, 'qcow2').catch((error: unknown) => {
    if (error instanceof Problem && error.kind === 'validation') return error;
    throw error;
  });
  await store.transaction(async (tx) => {
    const held = await tx.lock<ImageSpec, ImageStatus>(uid);
    if (held === undefined || held.deletedAt !== undefined) return;
    if (made instanceof Problem) await tx.setStatus(uid, {}, { state: 'error', type: 'Made', reason: 'Refused', message: made.message });
    else await tx.setStatus(uid, { ...imageStatus(made) }, { state: 'active' });
  });
  await artifacts.discard(uid);
  return { done: true };
}

async function* octetsOf(content: Uint8Array): AsyncGenerator<Uint8Array> {
  yield content;
}
