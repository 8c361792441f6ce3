import {
  addressFromReference,
  type BackupExportSpec,
  type BackupSpec,
  type BlockStorageSpec,
  backup,
  backupExport,
  blockStorage,
  type InstanceSpec,
  instance,
  instanceSku,
  network,
  nic,
  publicIp,
  type QuotaUnit,
  type Reference,
  snapshot,
} from '@virt8ra/contract';
import type { Static } from 'typebox';
import type { StoreReader } from '../resources/store.js';
import type { StoredResource } from '../resources/stored-resource.js';

export type Amounts = Readonly<Partial<Record<QuotaUnit, number>>>;

const single: Readonly<Record<string, Amounts>> = {
  [network.kind]: { networks: 1 },
  [nic.kind]: { nics: 1 },
  [publicIp.kind]: { publicIps: 1 },
};

/** Of a kind that counts: a unit that each of it has, by which it is seen that one was never counted so. */
export const countedKinds: Readonly<Record<string, QuotaUnit>> = {
  [instance.kind]: 'instances',
  [blockStorage.kind]: 'blockStorages',
  [snapshot.kind]: 'snapshotGB',
  [backup.kind]: 'backupGB',
  [backupExport.kind]: 'backupGB',
  [network.kind]: 'networks',
  [nic.kind]: 'nics',
  [publicIp.kind]: 'publicIps',
};

/** What a resource counts for, as its owner wants it; undefined: it counts for nothing. */
export async function amountsOf(reader: Pick<StoreReader, 'get'>, resource: StoredResource): Promise<Amounts | undefined> {
  switch (resource.kind) {
    case blockStorage.kind:
      return { blockStorages: 1, storageGB: (resource.spec as BlockStorageSpec).sizeGB };
    case snapshot.kind:
      return { snapshots: 1, snapshotGB: await keptGB(reader, resource) };
    case backup.kind:
      return { backups: 1, backupGB: await keptGB(reader, resource) };
    case backupExport.kind:
      return { backupGB: await exportedGB(reader, resource) };
    case instance.kind:
      return { instances: 1, ...(await amountsOfSku(reader, resource)) };
    default:
      return single[resource.kind];
  }
}

async function amountsOfSku(reader: Pick<StoreReader, 'get'>, { spec, address }: StoredResource): Promise<Amounts> {
  const { skuRef } = spec as Partial<InstanceSpec>;
  if (skuRef === undefined) return {};
  const sku = await reader.get<Static<typeof instanceSku.spec>>(
    instanceSku,
    addressFromReference(instanceSku, skuRef, address, '/spec/skuRef'),
  );
  return sku === undefined ? {} : { vCPU: sku.spec.vCPU, ram: sku.spec.ram };
}

/** The most that a snapshot or backup may take: by what was seen of its block storages, or else by what they are now. */
async function keptGB(reader: Pick<StoreReader, 'get'>, { spec, status, address }: StoredResource): Promise<number> {
  const { volumes } = status as { readonly volumes?: readonly { readonly sizeBytes: number }[] };
  if (volumes !== undefined) return Math.ceil(volumes.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) / 1e9);
  const sizes = (await devicesOf(reader, spec as BackupSpec, address)).map(async ({ reference, from }) => {
    const found = await reader.get<BlockStorageSpec>(blockStorage, addressFromReference(blockStorage, reference, from, '/spec'));
    return found?.spec.sizeGB ?? 0;
  });
  return (await Promise.all(sizes)).reduce((sum, sizeGB) => sum + sizeGB, 0);
}

/** The most that the files of an export may take: as much as the backup's disks; once it has them, what they take. */
async function exportedGB(reader: Pick<StoreReader, 'get'>, { spec, status, address }: StoredResource): Promise<number> {
  const { phase, files } = status as { readonly phase?: string; readonly files?: readonly { readonly fileBytes: number }[] };
  if (phase === 'done' && files !== undefined) return Math.ceil(files.reduce((sum, { fileBytes }) => sum + fileBytes, 0) / 1e9);
  const { backupRef } = spec as BackupExportSpec;
  const found = await reader.get<BackupSpec>(backup, addressFromReference(backup, backupRef, address, '/spec/backupRef'));
  return found === undefined ? 0 : await keptGB(reader, found);
}

async function devicesOf(
  reader: Pick<StoreReader, 'get'>,
  spec: BackupSpec,
  address: StoredResource['address'],
): Promise<readonly { readonly reference: Reference; readonly from: StoredResource['address'] }[]> {
  if ('blockStorageRef' in spec) return [{ reference: spec.blockStorageRef, from: address }];
  const found = await reader.get<InstanceSpec>(instance, addressFromReference(instance, spec.instanceRef, address, '/spec/instanceRef'));
  if (found === undefined) return [];
  return [found.spec.bootVolume, ...(found.spec.dataVolumes ?? [])].map(({ deviceRef }) => ({ reference: deviceRef, from: found.address }));
}
