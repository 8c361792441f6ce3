import type { Id, InstanceSpec } from '@virt8ra/contract';
import type { StoreReader } from '../../resources/store.js';
import { partsOfInstance, publicIpsOfInstance } from '../instance/index.js';

/** What leads to an instance at its site and does not follow it to another, in words. */
export async function publicIpsLostBy(reader: StoreReader, uid: Id<'resource'>, from: string): Promise<readonly string[]> {
  const instance = await reader.getByUid<InstanceSpec>(uid);
  if (instance === undefined) return [];
  const { nicUids } = await partsOfInstance(reader, instance);
  const ips = await publicIpsOfInstance(reader, nicUids);
  return ips.filter(({ site }) => site === from).map(({ name, address }) => `public IP ${name} (${address})`);
}
