import { type Command, Option } from 'commander';
import type { ExportFlags } from './commands/instance-export.js';
import type { MachineImportFlags } from './commands/machine-import.js';
import type { Session } from './session.js';

type WithSession = (command: Command, work: (session: Session) => Promise<void>) => Promise<void>;

/** Commands that bring whole machines in and take them elsewhere. */
export function addTransferCommands(program: Command, withSession: WithSession): void {
  const bringIn = program.command('import').description('bring machines of other hypervisors in');
  bringIn
    .command('machine')
    .description('make an instance of an OVA, or of an OVF with its files beside it; repeat it to go on after a cut')
    .argument('<source>', 'file, or URL that the control plane fetches an OVA from')
    .option('--name <name>', 'of the import and the instance; default is that of the file')
    .option('--site <site>', 'where it is to be; default is where it fits best')
    .option('--network <theirs=ours...>', 'network here, or NETWORK/SUBNET, for one of the package')
    .option('--sku <sku>', 'size of the instance; default is the smallest that has what it had')
    .option('--storage-sku <sku>', 'SKU of its disks')
    .addOption(new Option('--arch <architecture>', 'of the guest; default is amd64').choices(['amd64', 'arm64']))
    .addOption(new Option('--boot <firmware>', 'how it boots; default is as the package says').choices(['UEFI', 'BIOS']))
    .option('--sha256 <hex>', 'digest of the file; required with a URL')
    .option('--plan', 'show what would be made, and make nothing')
    .option('--start', 'start the instance')
    .option('--timeout <duration>', 'time limit of the wait')
    .action((source: string, options: MachineImportFlags, command: Command) =>
      withSession(command, async (session) => (await import('./commands/machine-import.js')).machineImport(session, source, options)),
    );
  program
    .command('export')
    .description('write an instance, or one disk, as files of an open format; running or not')
    .argument('<words...>', 'instance NAME, or disk NAME')
    .addOption(
      new Option('--format <format>', 'ova: the machine with its disks; else a file for each disk')
        .choices(['ova', 'qcow2', 'raw', 'vmdk'])
        .default('ova'),
    )
    .requiredOption('-f, --file <path>', 'file to write; a folder where there are several')
    .option('--backup <name>', 'backup to write; default is a new one, which is deleted afterwards')
    .option('--name <name>', 'name of the export; one that exists is gone on with')
    .option('--keep', 'keep the export, and the backup that was made for it, at the control plane')
    .option('--timeout <duration>', 'time limit of each wait')
    .action((words: string[], options: ExportFlags, command: Command) =>
      withSession(command, async (session) => (await import('./commands/instance-export.js')).instanceExport(session, words, options)),
    );
}
