import type { Command } from 'commander';
import type { UpdateFlags } from './commands/host-update.js';
import type { ReleaseFlags } from './commands/release-add.js';
import type { Session } from './session.js';

type WithSession = (command: Command, work: (session: Session) => Promise<void>) => Promise<void>;

/** Commands about the releases of the agent. */
export function addUpdateCommands(program: Command, withSession: WithSession): void {
  program
    .command('release')
    .description('releases of the agent')
    .command('add')
    .description('bring a release of the agent in, from its tarball; repeat it to go on after a cut')
    .argument('<file>', 'virt8ra-agent-VERSION-linux-ARCHITECTURE.tar.gz')
    .option('--name <name>', 'of the agent release; default is that of the file')
    .option('--timeout <duration>', 'time limit of the wait')
    .action((file: string, options: ReleaseFlags, command: Command) =>
      withSession(command, async (session) => (await import('./commands/release-add.js')).releaseAdd(session, file, options)),
    );
  program
    .command('update')
    .description('have the agents of hosts run another release, one after the other; guests run on, and one that fails returns by itself')
    .argument('[hosts...]')
    .requiredOption('--to <version>', 'version of a release that is ready')
    .option('--site <site>', 'all hosts of a site')
    .option('-l, --selector <labels>', 'all hosts with these labels')
    .option('--trial <duration>', 'how long a new agent has to link and take over, 5s to 1h; default 3m')
    .option('--timeout <duration>', 'time limit of the wait for each host')
    .action((hosts: string[], options: UpdateFlags, command: Command) =>
      withSession(command, async (session) => (await import('./commands/host-update.js')).hostUpdate(session, hosts, options)),
    );
}
