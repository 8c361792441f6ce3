import type { BlockStorageSpec, ImageSpec } from '@virt8ra/contract';
import type { StoreReader } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import { type BlockStorageStatus, imagePointer } from './status.js';

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
