import { type BackupSpec, type Id, type InstanceSpec, Problem } from '@virt8ra/contract';
import type { WrittenMachine } from '../../ovf/write-ovf.js';
import type { StoreReader } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import { partsOfInstance } from '../instance/index.js';
import { nicsForInstance } from '../nic/index.js';

/** The instance that a backup is of, as it is now. Raises `conflict` when there is none: then only the disks are known. */
export async function machineOfBackup(
  reader: StoreReader,
  { uid, address, spec }: Pick<StoredResource<BackupSpec>, 'uid' | 'address' | 'spec'>,
): Promise<Omit<WrittenMachine, 'disks'>> {
  const found = 'instanceRef' in spec ? await instanceOf(reader, uid) : undefined;
  if (found === undefined)
    throw new Problem(
      'conflict',
      `backup ${address.name} is of ${'instanceRef' in spec ? 'an instance that has gone' : 'a block storage alone'}, so that there is no machine to describe; export its disks: qcow2, raw or vmdk`,
      { sources: [{ pointer: '/spec/format' }] },
    );
  const { size, firmware, nicUids } = await partsOfInstance(reader, found);
  const nics: { network: string; macAddress: string }[] = [];
  for (const { networkUid, mac } of await nicsForInstance(reader, nicUids)) {
    const network = await reader.getByUid(networkUid);
    nics.push({ network: network?.address.name ?? 'network', macAddress: mac });
  }
  return { name: found.address.name.slice(0, 90), vCPU: size.vCPU, memoryMiB: size.memoryMiB, boot: firmware, nics };
}

async function instanceOf(reader: StoreReader, backup: Id<'resource'>): Promise<StoredResource<InstanceSpec> | undefined> {
  const reference = (await reader.referencesOf(backup)).find(({ pointer }) => pointer === '/spec/instanceRef');
  const found = reference === undefined ? undefined : await reader.getByUid<InstanceSpec>(reference.uid);
  return found?.deletedAt === undefined ? found : undefined;
}
