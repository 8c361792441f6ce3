import { type BlockStorageSpec, blockStorage, type Id, type InstanceSpec, image, instanceSku, nic, Problem } from '@virt8ra/contract';
import type { Static } from 'typebox';
import type { StoreReader } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import { blockStorageBytes, bootOf } from '../block-storage/index.js';
import type { NicStatus } from '../nic/index.js';
import { type InstanceSize, sizeOf } from './size.js';

/** What an instance is made of, read through the references stored with it. */
export interface InstanceParts {
  readonly size: InstanceSize;
  /** Boot volume first. */
  readonly volumes: readonly StoredResource<BlockStorageSpec>[];
  /** Primary NIC first. */
  readonly nicUids: readonly Id<'resource'>[];
  readonly architecture: 'amd64' | 'arm64';
  readonly firmware: 'BIOS' | 'UEFI';
  readonly storageBytes: number;
}

export async function partsOfInstance(reader: StoreReader, resource: StoredResource<InstanceSpec>): Promise<InstanceParts> {
  const references = await reader.referencesOf(resource.uid);
  const byPointer = new Map(references.map(({ pointer, uid }) => [pointer, uid]));
  const targets = new Map((await reader.getManyByUid([...byPointer.values()])).map((target) => [target.uid, target]));
  const at = (pointer: string): StoredResource => {
    const uid = byPointer.get(pointer);
    const target = uid === undefined ? undefined : targets.get(uid);
    if (target === undefined) throw new Problem('internal', `instance ${resource.address.name} has lost what ${pointer} names`);
    return target;
  };
  const volumes = [
    at('/spec/bootVolume/deviceRef'),
    ...(resource.spec.dataVolumes ?? []).map((_, index) => at(`/spec/dataVolumes/${index}/deviceRef`)),
  ].map((volume) => volume as StoredResource<BlockStorageSpec>);
  const nics = [
    ...(resource.spec.primaryNicRef === undefined ? [] : [at('/spec/primaryNicRef')]),
    ...(resource.spec.additionalNicRefs ?? []).map((_, index) => at(`/spec/additionalNicRefs/${index}`)),
  ];
  const boot = volumes[0] === undefined ? {} : await bootOf(reader, volumes[0]);
  return {
    size: sizeOf(at('/spec/skuRef') as StoredResource<Static<typeof instanceSku.spec>>),
    volumes,
    nicUids: nics.map(({ uid }) => uid),
    architecture: boot.cpuArchitecture ?? 'amd64',
    firmware: boot.boot ?? 'BIOS',
    storageBytes: volumes.reduce((sum, volume) => sum + blockStorageBytes(volume.spec.sizeGB), 0),
  };
}

/**
 * Addresses of the NICs an instance names, the primary one's first. Of an instance that was deleted since it was read, those that are still
 * there: what is shown of it must not fail because it is going.
 */
export async function addressesOfInstance(reader: StoreReader, { uid, spec }: StoredResource<InstanceSpec>): Promise<readonly string[]> {
  const pointers = ['/spec/primaryNicRef', ...(spec.additionalNicRefs ?? []).map((_, index) => `/spec/additionalNicRefs/${index}`)];
  const addresses = await reader.statusOfReferred(uid, 'addresses');
  return pointers.flatMap((pointer) => (addresses.get(pointer) ?? []) as NonNullable<NicStatus['addresses']>);
}

/** The kinds an instance's references name, by pointer. */
export const instanceReferenceKinds = { sku: instanceSku, volume: blockStorage, nic, image } as const;
