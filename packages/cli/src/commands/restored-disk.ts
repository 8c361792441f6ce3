import type { ResourceOf } from '@virt8ra/client';
import { type BlockStorageSpec, type backup, blockStorage, Problem } from '@virt8ra/contract';
import { referenceName } from '../output/columns.js';
import { addressOf, type Session } from '../session.js';

/** One disk of a backup, and the name of the block storage that it was. */
export interface DiskOfBackup {
  readonly disk: string;
  readonly sizeBytes: number;
}

export interface RestoredDiskWishes {
  readonly sizeGB?: number | undefined;
  readonly sku?: string | undefined;
  readonly site?: string | undefined;
}

const gigabyte = 1_000_000_000;
/** Names the disk of a backup that a block storage starts from. */
const backupExtension = 'virt8ra.backup';

/** The disks of a backup, boot disk first. */
export function disksOfBackup({ status }: ResourceOf<typeof backup>): readonly DiskOfBackup[] {
  return (status?.volumes ?? []).map(({ blockStorageRef, sizeBytes }) => ({ disk: referenceName(blockStorageRef) ?? '', sizeBytes }));
}

/**
 * Makes a block storage from one disk of a backup, with the size and SKU of the original unless others are wished; one that was made so before is
 * taken as it is. Raises `conflict` for a block storage of that name that is another, `invalid-request` when the original has gone and its SKU with it.
 */
export async function restoreDisk(
  session: Session,
  name: string,
  of: DiskOfBackup & { readonly backup: string },
  wishes: RestoredDiskWishes,
): Promise<ResourceOf<typeof blockStorage>> {
  const { client } = session;
  const address = addressOf(session, blockStorage, name);
  const from = `${of.backup}/${of.disk}`;
  const existing = await client.find(blockStorage, address);
  if (existing !== undefined) {
    if (existing.extensions?.[backupExtension] === from) return existing;
    throw new Problem('conflict', `block-storage/${name} exists and was not made from ${from}; give another name`);
  }
  const original = await client.find(blockStorage, addressOf(session, blockStorage, of.disk));
  const skuRef = wishes.sku === undefined ? original?.spec.skuRef : `skus/${wishes.sku.replace(/^skus\//, '')}`;
  if (skuRef === undefined)
    throw new Problem('invalid-request', `block storage ${of.disk} has gone; say of which SKU the new one is to be: --sku`);
  const spec: BlockStorageSpec = { sizeGB: wishes.sizeGB ?? smallestFor(of.sizeBytes, original), skuRef };
  const extensions = { [backupExtension]: from, ...(wishes.site === undefined ? {} : { 'virt8ra.site': wishes.site }) };
  return (await client.put(blockStorage, address, { spec, extensions }, { ifUnmodifiedSince: 0 })).resource;
}

/** The original's own size when the backup fits, else the smallest that it fits into. */
function smallestFor(sizeBytes: number, original: ResourceOf<typeof blockStorage> | undefined): number {
  const least = Math.floor(sizeBytes / gigabyte);
  return Math.max(original?.spec.sizeGB ?? 0, least, 1);
}
