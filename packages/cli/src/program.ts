import { Command, CommanderError, Option } from 'commander';
import { addAuditCommands } from './audit-commands.js';
import type { EventFlags } from './commands/event-list.js';
import type { ImportFlags } from './commands/image-import.js';
import type { PowerFlags } from './commands/instance-power.js';
import type { RescueFlags } from './commands/instance-rescue.js';
import type { ResizeFlags } from './commands/instance-resize.js';
import type { PlanFlags } from './commands/migration-plan.js';
import type { MigrateFlags } from './commands/migration-start.js';
import type { ApplyFlags } from './commands/resource-apply.js';
import type { DeleteFlags } from './commands/resource-delete.js';
import type { GetFlags } from './commands/resource-get.js';
import type { WaitFlags } from './commands/resource-wait.js';
import type { WatchFlags } from './commands/resource-watch.js';
import type { CommandWords } from './completion/complete-words.js';
import { addContextCommands } from './context-commands.js';
import { addMigrationCommands } from './migration-commands.js';
import { formats } from './output/format.js';
import type { GlobalFlags, Session } from './session.js';
import { addStreamCommands } from './stream-commands.js';
import type { Terminal } from './terminal.js';
import { addTopologyCommands } from './topology-commands.js';
import { addTransferCommands } from './transfer-commands.js';
import { addUpdateCommands } from './update-commands.js';
import { cliVersion } from './version.js';
import { addVolumeCommands } from './volume-commands.js';
import { addWebhookCommands } from './webhook-commands.js';

/** Commands are loaded when they are called, so that help and completion answer at once. */

/** Runs one command line; answers the exit code: that of the problem table, 2 for wrong usage, 130 after an interrupt. */
export async function run(words: readonly string[], terminal: Terminal): Promise<number> {
  const surroundings: Surroundings = {};
  const program = buildProgram(terminal, surroundings);
  try {
    // Half a command line must not be parsed as one: its flags belong to what is being typed.
    if (words[0] === '__complete') await complete(program, terminal, words.slice(1));
    else await program.parseAsync(words, { from: 'user' });
    return surroundings.exitCode ?? 0;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.code === doctorFailed) return error.exitCode;
      return error.exitCode === 0 ? 0 : usageExitCode;
    }
    if (terminal.signal.aborted) return interruptExitCode;
    const [{ toProblem }, { problemText }] = await Promise.all([import('@virt8ra/contract'), import('./output/problem-text.js')]);
    const problem = toProblem(error);
    terminal.err(problemText(problem, surroundings));
    return problem.exitCode;
  }
}

async function complete(program: Command, terminal: Terminal, words: readonly string[]): Promise<void> {
  const { completeWords } = await import('./completion/complete-words.js');
  const candidates = await completeWords(terminal, words, commandWords(program));
  terminal.out(candidates.map((candidate) => `${candidate}\n`).join(''));
}

/** Its findings have been printed: they are the message. */
const doctorFailed = 'virt8ra.doctor';
const usageExitCode = 2;
const interruptExitCode = 130;

interface Surroundings {
  /** Of a program that had the terminal. */
  exitCode?: number;
  contextName?: string | undefined;
  server?: string | undefined;
}

const kindCommands = ['get', 'describe', 'delete', 'wait', 'watch'];
const targetHelp = 'KIND NAME…, or KIND/NAME…';

function buildProgram(terminal: Terminal, surroundings: Surroundings): Command {
  const program = new Command('virt8ra')
    .description('One control plane over the hosts, virtual machines and clusters of many providers.')
    .version(cliVersion(), '-V, --version', 'print the version of the CLI')
    .option('--context <name>', 'context to use instead of the current one')
    .option('--tenant <name>', 'tenant to work in')
    .option('--workspace <name>', 'workspace to work in')
    .option('--network <name>', 'network of subnets')
    .option('--cluster <name>', 'cluster of node pools')
    .addOption(new Option('-o, --output <format>', 'how to print').choices(formats))
    .exitOverride()
    .configureOutput({ writeOut: terminal.out, writeErr: terminal.err, getOutHelpWidth: () => terminal.columns ?? 100 })
    .showHelpAfterError('(virt8ra --help shows what there is)')
    .addHelpText('after', helpEnd);

  /** Opens the session for a command and remembers whom it speaks to, for the hints of errors. */
  const withSession = async (command: Command, work: (session: Session) => Promise<void>) => {
    const flags = command.optsWithGlobals<GlobalFlags>();
    const { openSession } = await import('./session.js');
    const session = await openSession(terminal, flags);
    surroundings.contextName = session.contextName;
    surroundings.server = session.client.server;
    await work(session);
  };

  addResourceCommands(program, withSession);
  addWorkCommands(program, withSession);
  const exitWith = (code: number): void => {
    surroundings.exitCode = code;
  };
  addStreamCommands(program, withSession, exitWith);
  addAuditCommands(program, withSession, exitWith);
  addMigrationCommands(program, withSession);
  addVolumeCommands(program, withSession);
  addTransferCommands(program, withSession);
  addTopologyCommands(program, withSession);
  addUpdateCommands(program, withSession);
  addWebhookCommands(program, withSession);
  addContextCommands(program, terminal, withSession);
  addSelfCommands(program, terminal);
  return program;
}

export type WithSession = (command: Command, work: (session: Session) => Promise<void>) => Promise<void>;

function addResourceCommands(program: Command, withSession: WithSession): void {
  program
    .command('apply')
    .description('create or change what documents describe')
    .requiredOption('-f, --file <path...>', 'files or folders of YAML or JSON documents; - is standard input')
    .option('--wait', 'finish each kind before the next begins')
    .option('--timeout <duration>', 'time limit of each wait, such as 5m')
    .option('--dry-run', 'check the documents here and send nothing')
    .action((options: ApplyFlags, command: Command) =>
      withSession(command, async (session) => (await import('./commands/resource-apply.js')).resourceApply(session, options)),
    );
  program
    .command('get')
    .description('print resources')
    .argument('[words...]', `KIND, ${targetHelp}`)
    .option('-l, --selector <labels>', 'label selector, such as env=prod,tier!=edge')
    .option('--limit <count>', 'print no more than this many')
    .option('-A, --all-workspaces', 'of every workspace of the tenant')
    .action((words: string[], options: GetFlags, command: Command) =>
      withSession(command, async (session) => (await import('./commands/resource-get.js')).resourceGet(session, words, options)),
    );
  program
    .command('describe')
    .description('tell everything about resources: facts with source and age, placement, history')
    .argument('<words...>', targetHelp)
    .action((words: string[], _options: unknown, command: Command) =>
      withSession(command, async (session) => (await import('./commands/resource-describe.js')).resourceDescribe(session, words)),
    );
  program
    .command('delete')
    .description('delete resources by name, or those of documents')
    .argument('[words...]', targetHelp)
    .option('-f, --file <path...>', 'files or folders of documents; - is standard input')
    .option('--wait', 'end when they are gone')
    .option('--timeout <duration>', 'time limit of each wait')
    .action((words: string[], options: DeleteFlags, command: Command) =>
      withSession(command, async (session) => (await import('./commands/resource-delete.js')).resourceDelete(session, words, options)),
    );
  program
    .command('wait')
    .description('wait until resources reach a goal')
    .argument('<words...>', targetHelp)
    .requiredOption('--for <goal>', 'deleted, exists, state=…, power=…, activity=…, phase=…, site=… or /status/FIELD=VALUE')
    .option('--timeout <duration>', 'time limit, such as 90s')
    .action((words: string[], options: WaitFlags, command: Command) =>
      withSession(command, async (session) => (await import('./commands/resource-wait.js')).resourceWait(session, words, options)),
    );
  program
    .command('watch')
    .description('print resources and every change to them')
    .argument('<words...>', 'KIND, KIND NAME or KIND/NAME')
    .option('-l, --selector <labels>', 'label selector')
    .option('-A, --all-workspaces', 'of every workspace of the tenant')
    .action((words: string[], options: WatchFlags, command: Command) =>
      withSession(command, async (session) => (await import('./commands/resource-watch.js')).resourceWatch(session, words, options)),
    );
  program
    .command('events')
    .description('print the change feed')
    .option('--since <cursor>', 'go on after this cursor')
    .option('--kinds <kinds>', 'of these kinds only, with commas between')
    .option('-l, --selector <labels>', 'label selector')
    .option('--limit <count>', 'end after this many events')
    .action((options: EventFlags, command: Command) =>
      withSession(command, async (session) => (await import('./commands/event-list.js')).eventList(session, options)),
    );
}

function addWorkCommands(program: Command, withSession: WithSession): void {
  for (const verb of ['start', 'stop', 'restart'] as const) {
    program
      .command(verb)
      .description(`${verb} instances`)
      .argument('<instances...>')
      .option('--wait', 'end when it is seen to be so')
      .option('--timeout <duration>', 'time limit of the wait')
      .action((names: string[], options: PowerFlags, command: Command) =>
        withSession(command, async (session) =>
          (await import('./commands/instance-power.js')).instancePower(session, verb, names, options),
        ),
      );
  }
  program
    .command('resize')
    .description('give an instance another SKU; a guest that runs is restarted on the same disks')
    .argument('<instance>')
    .requiredOption('--sku <sku>', 'its new size')
    .option('--later', 'leave a guest that runs as it is until its next restart')
    .option('--timeout <duration>', 'time limit of the wait')
    .action((name: string, options: ResizeFlags, command: Command) =>
      withSession(command, async (session) => (await import('./commands/instance-resize.js')).instanceResize(session, name, options)),
    );
  program
    .command('rescue')
    .description('restart an instance from an image, with its own block storages beside it')
    .argument('<instance>')
    .option('--image <image>', 'what it boots from; else the image of its boot volume')
    .option('--end', 'give it its own boot volume back')
    .option('--timeout <duration>', 'time limit of the wait')
    .action((name: string, options: RescueFlags, command: Command) =>
      withSession(command, async (session) => (await import('./commands/instance-rescue.js')).instanceRescue(session, name, options)),
    );
  program
    .command('migrate')
    .description('move an instance with its disks to another site; an interrupt leaves it running')
    .argument('<instance>')
    .requiredOption('--to <site>', 'where to')
    .option('--host <host>', 'which host of it; needed to move within a site')
    .addOption(
      new Option('--mode <mode>', 'live: memory goes along; warm: short pause, then a boot; cold: stopped while it is copied')
        .choices(['live', 'warm', 'cold'])
        .default('warm'),
    )
    .addOption(new Option('--fallback <mode>', 'what a live move becomes where it is not possible; refused without').choices(['warm']))
    .option('--name <name>', 'name of the migration; one that exists is followed')
    .option('--min-passes <count>', 'change-tracked passes before cut-over (warm)')
    .addOption(
      new Option('--guest-changes <which>', 'needed: change the copy inside, so that its guest starts on the other machine').choices([
        'needed',
        'none',
      ]),
    )
    .option('--no-guest-changes', 'look inside the guest first, and refuse where it would have to be changed')
    .option('--cutover <when>', 'asked, now (the default), FROM/UNTIL as times, or below:300ms for a pause that is foreseen to be as short')
    .option(
      '--boot-probe <where>',
      'the copy must be seen to boot, else it returns: isolation (before the source stops) or place; isolation:5m for a time limit',
    )
    .option('--lose-public-ips', 'move it although public IPs of its site will not lead to it any more')
    .option('--keep <hours>', 'keep the source’s disks for so long, such as 24h or 7d, for a way back')
    .option('--detach', 'do not follow it')
    .option('--plan', 'change nothing: say where it would go, how, what stands in the way, and what it would take')
    .option('--inspect', 'with --plan: look inside the guest, while it runs on')
    .option('--no-measure', 'with --plan: do not have the link measured, be its figures as old as they are')
    .action((name: string, options: MigrateFlags & PlanFlags, command: Command) =>
      withSession(command, async (session) => {
        if (options.plan === true) await (await import('./commands/migration-plan.js')).migrationPlan(session, name, options);
        else await (await import('./commands/migration-start.js')).migrationStart(session, name, options);
      }),
    );
  program
    .command('cutover')
    .description('have a migration cut over: as soon as it can, or when --at says')
    .argument('<migration>')
    .option('--at <when>', 'now, FROM/UNTIL as times, or below:300ms; a long pause is consented to in this way, too', 'now')
    .action((name: string, options: { readonly at: string }, command: Command) =>
      withSession(command, async (session) => (await import('./commands/migration-cutover.js')).migrationCutover(session, name, options)),
    );
  program
    .command('cancel')
    .description(
      'call off a migration (or image-import/NAME, instance-import/NAME, backup/NAME, backup-export/NAME, or the drain of host/NAME)',
    )
    .argument('<migration>')
    .option('--wait', 'end when it has returned')
    .action((name: string, options: { readonly wait?: boolean }, command: Command) =>
      withSession(command, async (session) => (await import('./commands/migration-cancel.js')).migrationCancel(session, name, options)),
    );
  const image = program.command('image').description('bring images in');
  image
    .command('import')
    .description('make image NAME of a disk; repeat it to go on after a cut')
    .argument('<name>')
    .option('--file <path>', 'disk on this machine')
    .option('--url <url>', 'disk that the control plane fetches')
    .option('--sha256 <hex>', 'digest of the disk; required with --url')
    .addOption(new Option('--arch <architecture>', 'of the guest').choices(['amd64', 'arm64']).default('amd64'))
    .addOption(new Option('--boot <firmware>', 'how it boots').choices(['UEFI', 'BIOS']))
    .addOption(
      new Option('--format <format>', 'of the disk; a raw one must be called so')
        .choices(['qcow2', 'raw', 'vmdk', 'vhdx', 'vhd'])
        .default('qcow2'),
    )
    .addOption(new Option('--initializer <kind>', 'what sets the guest up').choices(['none', 'cloudinit-22']))
    .option('--detach', 'do not wait until the image is there')
    .option('--timeout <duration>', 'time limit of the wait')
    .action((name: string, options: ImportFlags, command: Command) =>
      withSession(command, async (session) => (await import('./commands/image-import.js')).imageImportRun(session, name, options)),
    );
}

function addSelfCommands(program: Command, terminal: Terminal): void {
  program
    .command('kinds')
    .description('print the nouns')
    .action(async (_options: unknown, command: Command) =>
      (await import('./commands/kind-list.js')).kindList(terminal, command.optsWithGlobals<GlobalFlags>().output),
    );
  program
    .command('version')
    .description('print the versions of CLI and control plane')
    .action(async (_options: unknown, command: Command) =>
      (await import('./commands/version-show.js')).versionShow(terminal, command.optsWithGlobals()),
    );
  program
    .command('doctor')
    .description('look at the way to the control plane, at the server, sites and hosts; ends with 1 when something fails')
    .action(async (_options: unknown, command: Command) => {
      const code = await (await import('./commands/doctor-run.js')).doctorRun(terminal, command.optsWithGlobals());
      if (code !== 0) throw new CommanderError(code, doctorFailed, 'something fails');
    });
  program
    .command('support-bundle')
    .description('pack what helps to help, without secrets, as FILE.tar.gz')
    .argument('<file>')
    .action(async (file: string, _options: unknown, command: Command) =>
      (await import('./commands/support-bundle.js')).supportBundle(terminal, file, command.optsWithGlobals()),
    );
  program
    .command('completion')
    .description('print a completion script')
    .argument('<shell>', 'bash, zsh or fish')
    .action(async (shell: string) =>
      (await import('./commands/completion-print.js')).completionPrint(terminal, shell, commandWords(program)),
    );
}

function commandWords(program: Command): CommandWords {
  const visible = program.commands;
  const optionsOf = (name: string) => [...(visible.find((command) => command.name() === name)?.options ?? []), ...program.options];
  return {
    names: visible.map((command) => command.name()),
    kindCommands,
    flagsOf: (name) => [...optionsOf(name).flatMap((option) => option.long ?? []), '--help'],
    takesValue: (name, flag) =>
      optionsOf(name).some((option) => (option.long === flag || option.short === flag) && (option.required || option.optional)),
    subcommandsOf: (name) => visible.find((command) => command.name() === name)?.commands.map((command) => command.name()) ?? [],
  };
}

const helpEnd = `
Environment: VIRT8RA_SERVER, VIRT8RA_TOKEN, VIRT8RA_TENANT and VIRT8RA_WORKSPACE go before the context; NO_COLOR.
Exit codes: 0 done, 1 failed, 2 wrong input, 3 not allowed, 4 not found, 5 conflict, 6 no capacity, 7 cancelled, 8 try again, 130 interrupted.`;
