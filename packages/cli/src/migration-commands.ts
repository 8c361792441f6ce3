import { type Command, Option } from 'commander';
import type { ReturnFlags } from './commands/migration-return.js';
import type { Session } from './session.js';

type WithSession = (command: Command, work: (session: Session) => Promise<void>) => Promise<void>;

/** Commands about a move that is done: its way back. */
export function addMigrationCommands(program: Command, withSession: WithSession): void {
  const migration = program.command('migration').description('the way back of a move that keeps one');
  migration
    .command('return')
    .description('bring the instance back to where it came from, with what was written since; an interrupt leaves it returning')
    .argument('<name>')
    .addOption(new Option('--mode <mode>', 'how; else warm when it runs and cold when it is off').choices(['live', 'warm', 'cold']))
    .option('--detach', 'do not follow it')
    .action((name: string, options: ReturnFlags, command: Command) =>
      withSession(command, async (session) => (await import('./commands/migration-return.js')).migrationReturn(session, name, options)),
    );
  migration
    .command('release')
    .description('give the way back up: the disks kept at the source are removed')
    .argument('<name>')
    .option('--wait', 'end when nothing of it is left')
    .action((name: string, options: { readonly wait?: boolean }, command: Command) =>
      withSession(command, async (session) => (await import('./commands/migration-release.js')).migrationRelease(session, name, options)),
    );
}
