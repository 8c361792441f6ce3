import { type BackupSpec, type BlockStorageSpec, blockStorage, type InstanceSpec, instance, Problem, referenceTo } from '@virt8ra/contract';
import type { StoreReader } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import { bootOf } from '../block-storage/index.js';
import { partsOfInstance } from '../instance/index.js';
import type { BackedUpVolume } from './status.js';

export const instancePointer = '/spec/instanceRef';
export const blockStoragePointer = '/spec/blockStorageRef';

/** The block storages that a backup is of, the boot volume first. Raises `not-found` when what it is of is gone. */
export async function volumesOfBackup(
  reader: StoreReader,
  { uid, spec }: Pick<StoredResource<BackupSpec>, 'uid' | 'spec'>,
): Promise<readonly StoredResource<BlockStorageSpec>[]> {
  const pointer = 'instanceRef' in spec ? instancePointer : blockStoragePointer;
  const target = (await reader.referencesOf(uid)).find((reference) => reference.pointer === pointer);
  const found = target === undefined ? undefined : await reader.getByUid(target.uid);
  if (found === undefined || found.deletedAt !== undefined)
    throw new Problem('not-found', `the ${'instanceRef' in spec ? instance.kind : blockStorage.kind} it is of is gone`);
  if (found.kind === blockStorage.kind) return [found as StoredResource<BlockStorageSpec>];
  return (await partsOfInstance(reader, found as StoredResource<InstanceSpec>)).volumes;
}

/** What is said of a volume before its content is known. */
export async function describeVolume(
  reader: StoreReader,
  volume: StoredResource<BlockStorageSpec>,
  sizeBytes: number,
): Promise<BackedUpVolume> {
  return { blockStorageRef: referenceTo(blockStorage, volume.address), sizeBytes, ...(await bootOf(reader, volume)) };
}
