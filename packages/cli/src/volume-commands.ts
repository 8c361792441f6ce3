import { Problem } from '@virt8ra/contract';
import { type Command, Option } from 'commander';
import type { RestoreFlags } from './commands/backup-restore.js';
import type { BackupFlags } from './commands/backup-start.js';
import type { InstanceRestoreFlags } from './commands/instance-restore.js';
import type { ReleaseFlags } from './commands/plane-restore.js';
import type { SnapshotFlags } from './commands/snapshot-take.js';
import type { AttachFlags } from './commands/volume-attach.js';
import type { Session } from './session.js';

type WithSession = (command: Command, work: (session: Session) => Promise<void>) => Promise<void>;

/** Commands about the disks of instances and what they hold. */
export function addVolumeCommands(program: Command, withSession: WithSession): void {
  for (const [verb, text] of [
    ['attach', 'give block storages to an instance; a running guest gets them at once'],
    ['detach', 'take data volumes from an instance; a running guest is asked to let go of them'],
  ] as const) {
    program
      .command(verb)
      .description(text)
      .argument('<instance>')
      .argument('<disks...>', 'block storages')
      .option('--wait', 'end when the guest has them, or has let go of them')
      .option('--timeout <duration>', 'time limit of the wait')
      .action((name: string, disks: string[], options: AttachFlags, command: Command) =>
        withSession(command, async (session) =>
          (await import('./commands/volume-attach.js')).volumeAttach(session, verb, name, disks, options),
        ),
      );
  }
  program
    .command('backup')
    .description('keep the content of an instance with its disks, or of disk/NAME, in the artifact store; an interrupt leaves it running')
    .argument('<what>', 'INSTANCE or disk/NAME')
    .option('--name <name>', 'name of the backup; one that exists is followed')
    .option('--detach', 'do not follow it')
    .option('--timeout <duration>', 'time limit of the wait')
    .action((what: string, options: BackupFlags, command: Command) =>
      withSession(command, async (session) => (await import('./commands/backup-start.js')).backupStart(session, what, options)),
    );
  program
    .command('snapshot')
    .description('keep a point in time of an instance with its disks, or of disk/NAME, at their host')
    .argument('<what>', 'INSTANCE or disk/NAME')
    .option('--name <name>', 'name of the snapshot; one that exists is awaited')
    .option('--timeout <duration>', 'time limit of the wait')
    .action((what: string, options: SnapshotFlags, command: Command) =>
      withSession(command, async (session) => (await import('./commands/snapshot-take.js')).snapshotTake(session, what, options)),
    );
  program
    .command('revert')
    .description('make the disks of a snapshot what they were; their instance must be off, and what was written since is lost')
    .argument('<snapshot>')
    .option('--timeout <duration>', 'time limit of the wait')
    .action((name: string, options: SnapshotFlags, command: Command) =>
      withSession(command, async (session) => (await import('./commands/snapshot-take.js')).snapshotRevert(session, name, options)),
    );
  const fromBackup = program
    .command('restore')
    .description('make a block storage, or an instance with all its disks, from a backup')
    .argument('<backup>', 'BACKUP, or BACKUP/DISK for one of several disks')
    .option('--as <name>', 'name of the new block storage')
    .option('--as-instance <name>', 'name of the new instance; its disks are NAME-DISK')
    .option('--size <GB>', 'size of the block storage; default is that of the original')
    .option('--sku <sku>', 'SKU of the block storages; default is that of the originals')
    .option('--instance-sku <sku>', 'SKU of the instance; default is that of the original')
    .option('--nic <nic>', 'NIC of the instance; default is none')
    .option('--site <site>', 'where it is to be; default is where the original was, of a block storage where its first instance is')
    .option('--start', 'start the instance')
    .action((what: string, options: Partial<RestoreFlags & InstanceRestoreFlags>, command: Command) =>
      withSession(command, async (session) => await restore(session, what, options)),
    );
  // Of the whole control plane, not of a backup: a backup that is called so is named BACKUP/DISK, or by the API.
  fromBackup
    .command('show')
    .description('after the control plane itself was restored: print what differs between it and its hosts')
    .action((_options: unknown, command: Command) =>
      withSession(command, async (session) => (await import('./commands/plane-restore.js')).restoreShow(session)),
    );
  fromBackup
    .command('release')
    .description('let the restored control plane go on; the operator may')
    .addOption(
      new Option('--changed <choice>', 'what hosts were told otherwise since the backup').choices(['keep', 'apply']).default('keep'),
    )
    .option('--without-hosts', 'although hosts were not compared; they stay held until they were')
    .action((options: ReleaseFlags, command: Command) =>
      withSession(command, async (session) => (await import('./commands/plane-restore.js')).restoreRelease(session, options)),
    );
}

async function restore(session: Session, what: string, options: Partial<RestoreFlags & InstanceRestoreFlags>): Promise<void> {
  const { as, asInstance, ...flags } = options;
  if (asInstance !== undefined && as === undefined && !what.replace(/^backups?\//, '').includes('/'))
    return await (await import('./commands/instance-restore.js')).instanceRestore(session, what, { ...flags, asInstance });
  if (as !== undefined && asInstance === undefined)
    return await (await import('./commands/backup-restore.js')).backupRestore(session, what, { ...flags, as });
  throw new Problem(
    'invalid-request',
    'say what to make: --as NAME for a block storage, or BACKUP --as-instance NAME for an instance with all disks',
  );
}
