import { type BlockStorageSpec, backup, blockStorage, Problem } from '@virt8ra/contract';
import type { ResourceOf } from '../client/index.js';
import { countOfFlag } from '../duration-flag.js';
import { referenceName } from '../output/columns.js';
import { printResources } from '../output/print-resources.js';
import { addressOf, type Session, titleOf } from '../session.js';

export interface RestoreFlags {
  readonly as: string;
  readonly size?: string;
  readonly sku?: string;
  readonly site?: string;
}

const gigabyte = 1_000_000_000;

/**
 * Makes a block storage from a backup (`NAME`, or `NAME/DISK` for one of several disks), with the size and SKU of the original unless others are
 * given. It comes about at the host of its first instance. Raises `invalid-request` when there are several disks and none is named, or when the
 * original has gone and its SKU with it.
 */
export async function backupRestore(session: Session, word: string, flags: RestoreFlags): Promise<void> {
  const [name = '', disk] = word.replace(/^backups?\//, '').split('/');
  const { status } = await session.client.get(backup, addressOf(session, backup, name));
  const volumes = status?.volumes ?? [];
  const named = volumes.map((volume) => ({ ...volume, disk: referenceName(volume.blockStorageRef) ?? '' }));
  const found = disk === undefined ? (named.length === 1 ? named[0] : undefined) : named.find((volume) => volume.disk === disk);
  if (found === undefined) {
    const choice = named.map((volume) => `${name}/${volume.disk}`).join(', ');
    throw new Problem('invalid-request', `say which disk to restore: ${choice === '' ? `backup ${name} has none yet` : choice}`);
  }
  const original = await session.client.find(blockStorage, addressOf(session, blockStorage, found.disk));
  const skuRef = flags.sku === undefined ? original?.spec.skuRef : `skus/${flags.sku.replace(/^skus\//, '')}`;
  if (skuRef === undefined)
    throw new Problem('invalid-request', `block storage ${found.disk} has gone; say of which SKU the new one is to be: --sku`);
  const sizeGB = countOfFlag('--size', flags.size) ?? smallestFor(found.sizeBytes, original);
  const target = { kind: blockStorage, address: addressOf(session, blockStorage, flags.as) };
  const spec: BlockStorageSpec = { sizeGB, skuRef };
  const extensions = { 'virt8ra.backup': `${name}/${found.disk}`, ...(flags.site === undefined ? {} : { 'virt8ra.site': flags.site }) };
  const { resource } = await session.client.put(blockStorage, target.address, { spec, extensions }, { ifUnmodifiedSince: 0 });
  if (session.format === 'table' || session.format === 'wide') {
    session.terminal.out(
      `${titleOf(target)} of ${sizeGB} GB starts from ${name}/${found.disk} of ${status?.takenAt ?? 'an unknown time'}; it is filled at the host of its first instance\n`,
    );
  } else await printResources(session, blockStorage, [resource], { single: true });
}

/** The original's own size when the backup fits, else the smallest that it fits into. */
function smallestFor(sizeBytes: number, original: ResourceOf<typeof blockStorage> | undefined): number {
  const least = Math.floor(sizeBytes / gigabyte);
  return Math.max(original?.spec.sizeGB ?? 0, least, 1);
}
