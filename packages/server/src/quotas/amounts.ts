import {
  addressFromReference,
  type BlockStorageSpec,
  backup,
  blockStorage,
  type InstanceSpec,
  instance,
  instanceSku,
  network,
  nic,
  publicIp,
  type QuotaUnit,
  snapshot,
} from '@virt8ra/contract';
import type { Static } from 'typebox';
import type { StoreReader } from '../resources/store.js';
import type { StoredResource } from '../resources/stored-resource.js';

export type Amounts = Readonly<Partial<Record<QuotaUnit, number>>>;

const single: Readonly<Record<string, Amounts>> = {
  [snapshot.kind]: { snapshots: 1 },
  [backup.kind]: { backups: 1 },
  [network.kind]: { networks: 1 },
  [nic.kind]: { nics: 1 },
  [publicIp.kind]: { publicIps: 1 },
};

export const countedKinds: readonly string[] = [instance.kind, blockStorage.kind, ...Object.keys(single)];

/** What a resource counts for, as its owner wants it; undefined: it counts for nothing. */
export async function amountsOf(reader: Pick<StoreReader, 'get'>, resource: StoredResource): Promise<Amounts | undefined> {
  if (resource.kind === blockStorage.kind) return { blockStorages: 1, storageGB: (resource.spec as BlockStorageSpec).sizeGB };
  if (resource.kind !== instance.kind) return single[resource.kind];
  const { skuRef } = resource.spec as InstanceSpec;
  const sku =
    skuRef === undefined
      ? undefined
      : await reader.get<Static<typeof instanceSku.spec>>(
          instanceSku,
          addressFromReference(instanceSku, skuRef, resource.address, '/spec/skuRef'),
        );
  return { instances: 1, ...(sku === undefined ? {} : { vCPU: sku.spec.vCPU, ram: sku.spec.ram }) };
}
