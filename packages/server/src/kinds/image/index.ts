/** Image: a disk in the artifact store. Made by an image import; further images may be made of the same import. */
import { blockStorage, type ImageSpec, image, imageImport, Problem } from '@virt8ra/contract';
import { jsonEqual } from '../../resources/json-equal.js';
import type { StoreTransaction } from '../../resources/store.js';
import type { Admission, KindBehaviour, PutRequest } from '../behaviour.js';
import { type ImageImportStatus, type ImageStatus, imageStatus } from '../image-import/index.js';

const pointer = '/spec/blockStorageRef';

export const imageBehaviour: KindBehaviour<ImageSpec, ImageStatus> = {
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
};

async function admitImage(tx: StoreTransaction, request: PutRequest<ImageSpec, ImageStatus>): Promise<Admission<ImageStatus>> {
  const { address, next, previous } = request;
  const { blockStorageRef } = next.spec;
  if (previous !== undefined) {
    // Its content stands for good, also when the import has gone since.
    if (!jsonEqual(previous.spec.blockStorageRef, blockStorageRef))
      throw new Problem('validation', 'what an image was made from cannot change; make another image', { sources: [{ pointer }] });
    return { outcome: 'active' };
  }
  const named = typeof blockStorageRef === 'string' ? blockStorageRef : blockStorageRef.resource;
  if (!named.split('/').includes(imageImport.collection)) {
    throw new Problem('unsupported', 'an image is made from an image import; taking one of a block storage is not realised here yet', {
      sources: [{ pointer }],
    });
  }
  const { name: _, ...within } = address;
  const { target, reference } = await tx.resolve<unknown, ImageImportStatus>(imageImport, blockStorageRef, within, pointer);
  const { artifact } = target.status;
  if (artifact === undefined) {
    throw new Problem('validation', `image import ${target.address.name} is not done; wait for it`, { sources: [{ pointer }] });
  }
  return { references: [reference], status: imageStatus(artifact), outcome: 'active' };
}
