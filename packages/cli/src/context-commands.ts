import type { Command } from 'commander';
import type { Session } from './session.js';
import type { Terminal } from './terminal.js';

type WithSession = (command: Command, work: (session: Session) => Promise<void>) => Promise<void>;

/** Which control plane, and who one is there. */
export function addContextCommands(program: Command, terminal: Terminal, withSession: WithSession): void {
  program
    .command('login')
    .description(
      'save a control plane and a token as a context; the token comes from a file, VIRT8RA_TOKEN, standard input, or with --device from an issuer',
    )
    .option('--server <url>', 'URL of the control plane')
    .option('--token-file <path>', 'file with the token; - is standard input')
    .option('--device', 'log in at an issuer of the control plane, in a browser on any device')
    .option('--issuer <name>', 'which issuer, when there are several')
    .option('--ca-file <path>', 'PEM certificates to trust')
    .option('--name <name>', 'name of the context; default is the host of the URL')
    .action(async (_options: unknown, command: Command) =>
      (await import('./commands/context-login.js')).contextLogin(terminal, command.optsWithGlobals()),
    );
  program
    .command('logout')
    .description('forget the token of a context, and have its issuer forget it')
    .action(async (_options: unknown, command: Command) =>
      (await import('./commands/context-logout.js')).contextLogout(terminal, command.optsWithGlobals()),
    );
  program
    .command('whoami')
    .description('print who the control plane takes you for')
    .action((_options: unknown, command: Command) =>
      withSession(command, async (session) => (await import('./commands/identity-whoami.js')).identityWhoami(session)),
    );
  const context = program.command('context').description('contexts: which control plane, tenant and workspace');
  context
    .command('list')
    .description('print contexts')
    .action(async (_options: unknown, command: Command) =>
      (await import('./commands/context-list.js')).contextList(terminal, command.optsWithGlobals()),
    );
  context
    .command('use')
    .description('make a context the current one; --tenant and --workspace change it')
    .argument('<name>')
    .action(async (name: string, _options: unknown, command: Command) =>
      (await import('./commands/context-use.js')).contextUse(terminal, name, command.optsWithGlobals()),
    );
  context
    .command('show')
    .description('print what is in use now')
    .action(async (_options: unknown, command: Command) =>
      (await import('./commands/context-show.js')).contextShow(terminal, command.optsWithGlobals()),
    );
  context
    .command('delete')
    .description('forget a context and its token')
    .argument('<name>')
    .action(async (name: string) => (await import('./commands/context-delete.js')).contextDelete(terminal, name));
}
