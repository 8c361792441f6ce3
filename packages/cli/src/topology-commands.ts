import { type Command, Option } from 'commander';
import type { CredentialsFlags } from './commands/account-credentials.js';
import type { DrainFlags } from './commands/host-drain.js';
import type { EnrolFlags } from './commands/host-enrol.js';
import type { GetFlags } from './commands/resource-get.js';
import type { Session } from './session.js';

type WithSession = (command: Command, work: (session: Session) => Promise<void>) => Promise<void>;

const drainModeNames = ['auto', 'live', 'warm', 'cold'] as const;

/** Commands about sites, hosts and what they use. */
export function addTopologyCommands(program: Command, withSession: WithSession): void {
  for (const noun of ['sites', 'hosts'] as const) {
    program
      .command(noun)
      .description(`print ${noun}`)
      .option('-l, --selector <labels>', 'label selector')
      .action((options: GetFlags, command: Command) =>
        withSession(command, async (session) => (await import('./commands/resource-get.js')).resourceGet(session, [noun], options)),
      );
  }
  program
    .command('top')
    .description('print what hosts or instances use now, those with most processor first; or what paths between hosts carry')
    .argument('<noun>', 'hosts, instances or paths')
    .option('--limit <count>', 'print no more than this many')
    .action((noun: string, options: { readonly limit?: string }, command: Command) =>
      withSession(command, async (session) => (await import('./commands/usage-top.js')).usageTop(session, noun, options)),
    );
  program
    .command('account')
    .description('our access to providers')
    .command('credentials')
    .description('give an account its credentials, in place of those before; nobody is told them again')
    .argument('<name>')
    .requiredOption('--file <path>', 'lines such as applicationCredentialId: 4f2c…, or one JSON object; - is standard input')
    .action((name: string, options: CredentialsFlags, command: Command) =>
      withSession(command, async (session) =>
        (await import('./commands/account-credentials.js')).accountCredentials(session, name, options),
      ),
    );
  program
    .command('enrol')
    .description("make a host known and print its agent's one-line command")
    .argument('<host>')
    .option('--site <site>', 'where it stands; required for a host not known yet')
    .action((name: string, options: EnrolFlags, command: Command) =>
      withSession(command, async (session) => (await import('./commands/host-enrol.js')).hostEnrol(session, name, options)),
    );
  for (const [verb, text] of [
    ['cordon', 'place nothing new on hosts'],
    ['uncordon', 'place on hosts again; ends maintenance'],
    ['maintenance', 'have hosts without instances start none'],
    ['rekey', 'have hosts change the keys of their tunnels'],
  ] as const) {
    const command = program.command(verb).description(text).argument('<hosts...>');
    if (verb === 'cordon') command.option('--reason <text>', 'shown wherever placement passes the host by');
    command.action((names: string[], options: { readonly reason?: string }, self: Command) =>
      withSession(self, async (session) => (await import('./commands/host-cordon.js')).hostCordon(session, verb, names, options)),
    );
  }
  program
    .command('drain')
    .description('cordon a host and move every instance off it; an interrupt leaves it running')
    .argument('<host>')
    .addOption(new Option('--mode <mode>', 'auto: as gently as both ends can').choices(drainModeNames))
    .option('--allow-cold', 'stop instances that cannot be moved while they run')
    .option('--parallel <count>', 'moves at once')
    .option('--reason <text>', 'shown wherever placement passes the host by')
    .option('--dry-run', 'print what would become of each instance')
    .option('--wait', 'show how it goes; end when it has')
    .option('--timeout <duration>', 'time limit of the wait')
    .action((name: string, options: DrainFlags, command: Command) =>
      withSession(command, async (session) => (await import('./commands/host-drain.js')).hostDrain(session, name, options)),
    );
}
