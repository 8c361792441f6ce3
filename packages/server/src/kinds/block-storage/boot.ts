import type { BlockStorageSpec, Id, ImageSpec } from '@virt8ra/contract';
import type { StoreReader } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import { type BlockStorageStatus, type ImageFacts, imagePointer } from './status.js';

/** The image that a block storage was made from, while it is there. */
export async function imageOf(reader: StoreReader, uid: Id<'resource'>): Promise<StoredResource<ImageSpec, ImageFacts> | undefined> {
  const source = (await reader.referencesOf(uid)).find(({ pointer }) => pointer === imagePointer);
  return source === undefined ? undefined : await reader.getByUid<ImageSpec, ImageFacts>(source.uid);
}

/** What a guest needs to boot from a disk, as far as what it started from says so. */
export async function bootOf(
  reader: StoreReader,
  volume: StoredResource<BlockStorageSpec>,
): Promise<{ readonly cpuArchitecture?: 'amd64' | 'arm64'; readonly boot?: 'UEFI' | 'BIOS' }> {
  const { restoredFrom } = volume.status as BlockStorageStatus;
  const source = (await reader.referencesOf(volume.uid)).find(({ pointer }) => pointer === imagePointer);
  const image = source === undefined ? undefined : (await reader.getByUid<ImageSpec>(source.uid))?.spec;
  const cpuArchitecture = image?.cpuArchitecture ?? restoredFrom?.cpuArchitecture;
  const boot = image?.boot ?? restoredFrom?.boot;
  return { ...(cpuArchitecture === undefined ? {} : { cpuArchitecture }), ...(boot === undefined ? {} : { boot }) };
}
