import type { ResourceOf } from '@virt8ra/client';
import { backup, blockStorage, type InstanceSpec, instance, Problem } from '@virt8ra/contract';
import { referenceName } from '../output/columns.js';
import { printResources } from '../output/print-resources.js';
import { addressOf, type Session, titleOf } from '../session.js';
import { disksOfBackup, restoreDisk } from './restored-disk.js';

export interface InstanceRestoreFlags {
  readonly asInstance: string;
  readonly instanceSku?: string;
  readonly sku?: string;
  readonly nic?: string;
  readonly site?: string;
  readonly start?: boolean;
}

/**
 * Makes an instance from a backup: a block storage `NAME-DISK` from each disk, and the instance NAME on them, as the original was set up where that
 * is still there. A NIC is of one instance only, so that it has none unless one is named. May be repeated: what was made so before is taken
 * as it is. Raises `invalid-request` when the original has gone and what it was is not said, `conflict` for names that are others'.
 */
export async function instanceRestore(session: Session, word: string, flags: InstanceRestoreFlags): Promise<void> {
  const { client, terminal } = session;
  const name = word.replace(/^backups?\//, '');
  const kept = await client.get(backup, addressOf(session, backup, name));
  const disks = disksOfBackup(kept);
  if (kept.status?.phase !== 'done' || disks.length === 0)
    throw new Problem('conflict', `backup ${name} is ${kept.status?.phase ?? 'not begun'}; nothing can be made from it yet`);
  const original = await originalOf(session, kept);
  const target = { kind: instance, address: addressOf(session, instance, flags.asInstance) };
  const nameOf = (disk: string) => `${flags.asInstance}-${disk}`;
  const [boot = '', ...data] = disks.map(({ disk }) => nameOf(disk));
  const existing = await client.find(instance, target.address);
  if (existing !== undefined && referenceName(existing.spec.bootVolume.deviceRef) !== boot)
    throw new Problem('conflict', `${titleOf(target)} exists and was not made from backup ${name}; give another name`);
  const skuRef = flags.instanceSku === undefined ? original?.spec.skuRef : `skus/${flags.instanceSku.replace(/^skus\//, '')}`;
  if (skuRef === undefined)
    throw new Problem('invalid-request', 'the instance that it is of has gone; say of which size the new one is to be: --instance-sku');
  for (const disk of disks) await restoreDisk(session, nameOf(disk.disk), { ...disk, backup: name }, { sku: flags.sku, site: flags.site });
  const spec: InstanceSpec = {
    zone: flags.site ?? original?.spec.zone ?? 'any',
    skuRef,
    bootVolume: { deviceRef: `${blockStorage.collection}/${boot}` },
    ...(data.length === 0 ? {} : { dataVolumes: data.map((disk) => ({ deviceRef: `${blockStorage.collection}/${disk}` })) }),
    ...(flags.nic === undefined ? {} : { primaryNicRef: `nics/${flags.nic.replace(/^nics?\//, '')}` }),
    ...(original?.spec.antiAffinityGroup === undefined ? {} : { antiAffinityGroup: original.spec.antiAffinityGroup }),
    ...(original?.spec.sshKeys === undefined ? {} : { sshKeys: original.spec.sshKeys }),
    ...(original?.spec.userData === undefined ? {} : { userData: original.spec.userData }),
  };
  const extensions = { ...original?.extensions, 'virt8ra.power': flags.start === true ? 'on' : 'off' };
  const made = existing ?? (await client.put(instance, target.address, { spec, extensions }, { ifUnmodifiedSince: 0 })).resource;
  if (session.format === 'table' || session.format === 'wide') {
    terminal.out(
      `${titleOf(target)} starts from backup ${name} of ${kept.status.takenAt ?? 'an unknown time'}, on ${disks.length} disks\n`,
    );
    if (flags.start !== true) terminal.out(`  start it: virt8ra start ${flags.asInstance}\n`);
    if (made.spec.primaryNicRef === undefined)
      terminal.err(`  it has no NIC: a NIC is of one instance only, and one is named when it is made, with --nic\n`);
  } else await printResources(session, instance, [made], { single: true });
}

/** The instance that a backup is of; undefined when it has gone, or when the backup is of a block storage alone. */
async function originalOf(session: Session, { spec }: ResourceOf<typeof backup>): Promise<ResourceOf<typeof instance> | undefined> {
  const name = 'instanceRef' in spec ? referenceName(spec.instanceRef) : undefined;
  return name === undefined ? undefined : await session.client.find(instance, addressOf(session, instance, name));
}
