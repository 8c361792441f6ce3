import type { Command } from 'commander';
import type { RestoreFlags } from './commands/backup-restore.js';
import type { BackupFlags } from './commands/backup-start.js';
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
    .command('restore')
    .description('make a block storage from a backup')
    .argument('<backup>', 'BACKUP, or BACKUP/DISK for one of several disks')
    .requiredOption('--as <name>', 'name of the new block storage')
    .option('--size <GB>', 'size; default is that of the original')
    .option('--sku <sku>', 'SKU; default is that of the original')
    .option('--site <site>', 'where it is to be; default is where its first instance is')
    .action((what: string, options: RestoreFlags, command: Command) =>
      withSession(command, async (session) => (await import('./commands/backup-restore.js')).backupRestore(session, what, options)),
    );
}
