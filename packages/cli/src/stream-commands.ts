import type { Command } from 'commander';
import type { ConsoleFlags } from './commands/instance-console.js';
import type { ForwardFlags } from './commands/instance-port-forward.js';
import type { SshFlags } from './commands/instance-ssh.js';
import type { VncFlags } from './commands/instance-vnc.js';
import type { Session } from './session.js';

type WithSession = (command: Command, work: (session: Session) => Promise<void>) => Promise<void>;

/** Commands that lead into an instance: nothing listens beside it, and it needs no address that is reached from here. */
export function addStreamCommands(program: Command, withSession: WithSession, exitWith: (code: number) => void): void {
  program
    .command('console')
    .description('the serial console of an instance; ~. at the beginning of a line ends it, ~? tells more')
    .argument('<instance>')
    .option('--read-only', 'watch, and write nothing')
    .option('--take', 'take the writing over from whoever has it')
    .option('--log', 'print what is kept of its output, and end')
    .action((name: string, options: ConsoleFlags, command: Command) =>
      withSession(command, async (session) => (await import('./commands/instance-console.js')).instanceConsole(session, name, options)),
    );
  program
    .command('port-forward')
    .description('make TCP ports of an instance ports of this machine, until interrupted')
    .argument('<instance>')
    .argument('[ports...]', 'LOCAL:REMOTE, or PORT for the same on both sides; LOCAL 0 takes any free one')
    .option('--stdio <port>', 'join standard input and output to one port instead, as a ProxyCommand')
    .action((name: string, ports: string[], options: ForwardFlags, command: Command) =>
      withSession(command, async (session) =>
        (await import('./commands/instance-port-forward.js')).instancePortForward(session, name, ports, options),
      ),
    );
  program
    .command('ssh')
    .description('ssh to an instance, through the control plane; what follows -- goes to ssh')
    .argument('<instance>')
    .argument('[words...]', 'options and command for ssh, after --')
    .option('-l, --login <user>', 'user in the instance')
    .option('-p, --port <port>', 'port of its SSH server', '22')
    .action((name: string, words: string[], options: SshFlags, command: Command) =>
      withSession(command, async (session) =>
        exitWith(await (await import('./commands/instance-ssh.js')).instanceSsh(session, name, words, options)),
      ),
    );
  program
    .command('vnc')
    .description('offer the screen of an instance to a VNC viewer on this machine, until interrupted')
    .argument('<instance>')
    .option('--port <port>', 'local port; default is any free one')
    .action((name: string, options: VncFlags, command: Command) =>
      withSession(command, async (session) => (await import('./commands/instance-vnc.js')).instanceVnc(session, name, options)),
    );
}
