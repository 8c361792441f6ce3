import { backup, blockStorage, Problem } from '@virt8ra/contract';
import { countOfFlag } from '../duration-flag.js';
import { printResources } from '../output/print-resources.js';
import { addressOf, type Session, titleOf } from '../session.js';
import { disksOfBackup, restoreDisk } from './restored-disk.js';

export interface RestoreFlags {
  readonly as: string;
  readonly size?: string;
  readonly sku?: string;
  readonly site?: string;
}

/**
 * Makes a block storage from a backup (`NAME`, or `NAME/DISK` for one of several disks), with the size and SKU of the original unless others are
 * given. It comes about at the host of its first instance. Raises `invalid-request` when there are several disks and none is named, or when the
 * original has gone and its SKU with it.
 */
export async function backupRestore(session: Session, word: string, flags: RestoreFlags): Promise<void> {
  const [name = '', disk] = word.replace(/^backups?\//, '').split('/');
  const kept = await session.client.get(backup, addressOf(session, backup, name));
  const disks = disksOfBackup(kept);
  const found = disk === undefined ? (disks.length === 1 ? disks[0] : undefined) : disks.find((each) => each.disk === disk);
  if (found === undefined) {
    const choice = disks.map((each) => `${name}/${each.disk}`).join(', ');
    throw new Problem('invalid-request', `say which disk to restore: ${choice === '' ? `backup ${name} has none yet` : choice}`);
  }
  const sizeGB = countOfFlag('--size', flags.size);
  const resource = await restoreDisk(session, flags.as, { ...found, backup: name }, { sizeGB, sku: flags.sku, site: flags.site });
  if (session.format === 'table' || session.format === 'wide') {
    const title = titleOf({ kind: blockStorage, address: addressOf(session, blockStorage, flags.as) });
    session.terminal.out(
      `${title} of ${resource.spec.sizeGB} GB starts from ${name}/${found.disk} of ${kept.status?.takenAt ?? 'an unknown time'}; it is filled at the host of its first instance\n`,
    );
  } else await printResources(session, blockStorage, [resource], { single: true });
}
