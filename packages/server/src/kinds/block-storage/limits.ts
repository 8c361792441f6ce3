import { Problem, type StorageSkuSpec, type VolumeLimits } from '@virt8ra/contract';
import type { StoreReader } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';

const iopsKey = 'virt8ra.iops';
const bytesKey = 'virt8ra.bytesPerSecond';
const leastBytes = 1_048_576;

/** Raises `validation` for limits that are none, or that are beyond what the SKU gives. */
export function assertLimits(extensions: Readonly<Record<string, string>> | undefined, sku: StorageSkuSpec, skuName: string): void {
  const iops = numberOf(extensions, iopsKey, 1);
  if (iops !== undefined && iops > sku.iops) {
    throw new Problem('validation', `SKU ${skuName} gives ${sku.iops} operations a second; ${iopsKey} can only ask for fewer`, {
      sources: [{ pointer: `/extensions/${iopsKey}` }],
    });
  }
  numberOf(extensions, bytesKey, leastBytes);
}

function numberOf(extensions: Readonly<Record<string, string>> | undefined, key: string, least: number): number | undefined {
  const text = extensions?.[key];
  if (text === undefined) return undefined;
  const value = Number(text);
  if (/^\d{1,12}$/.test(text) && value >= least) return value;
  throw new Problem('validation', `${key} is a whole number of at least ${least}`, { sources: [{ pointer: `/extensions/${key}` }] });
}

/** What a guest may ask of a block storage in a second: what its SKU gives, or less where its owner asks for less. */
export async function limitsOf(
  reader: StoreReader,
  { uid, extensions }: Pick<StoredResource, 'uid' | 'extensions'>,
): Promise<VolumeLimits> {
  const reference = (await reader.referencesOf(uid)).find(({ pointer }) => pointer === '/spec/skuRef');
  const sku = reference === undefined ? undefined : await reader.getByUid<StorageSkuSpec>(reference.uid);
  const iops = numberOf(extensions, iopsKey, 1) ?? sku?.spec.iops;
  const bytesPerSecond = numberOf(extensions, bytesKey, leastBytes);
  return { ...(iops === undefined ? {} : { iops }), ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }) };
}
