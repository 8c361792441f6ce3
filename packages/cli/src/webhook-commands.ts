import type { Command } from 'commander';
import type { RedeliverFlags, ResumeFlags, SecretFlags, TestFlags } from './commands/webhook-act.js';
import type { Session } from './session.js';

type WithSession = (command: Command, work: (session: Session) => Promise<void>) => Promise<void>;

/** Commands about receivers of changes; `apply`, `get`, `describe` and `delete` do the rest. */
export function addWebhookCommands(program: Command, withSession: WithSession): void {
  const webhook = program.command('webhook').description('receivers of changes: secrets, tests, deliveries');
  webhook
    .command('secret')
    .description('give a webhook a new secret and print it, once; the one before signs as well for a while')
    .argument('<name>')
    .option('--secret-file <path>', 'a secret of your own (whsec_…); - is standard input')
    .option('--overlap <duration>', 'how long the one before still signs; default 24h, 0s: not at all')
    .action((name: string, options: SecretFlags, command: Command) =>
      withSession(command, async (session) => (await import('./commands/webhook-act.js')).webhookSecret(session, name, options)),
    );
  webhook
    .command('test')
    .description('have a test delivered, and say what the receiver answers')
    .argument('<name>')
    .option('--timeout <duration>', 'time limit; default 30s')
    .action((name: string, options: TestFlags, command: Command) =>
      withSession(command, async (session) => (await import('./commands/webhook-act.js')).webhookTest(session, name, options)),
    );
  webhook
    .command('deliveries')
    .description('print the last deliveries, newest first')
    .argument('<name>')
    .action((name: string, _options: unknown, command: Command) =>
      withSession(command, async (session) => (await import('./commands/webhook-deliveries.js')).webhookDeliveries(session, name)),
    );
  webhook
    .command('redeliver')
    .description('have one of the last deliveries made again, under its own id')
    .argument('<name>')
    .argument('<id>')
    .option('--timeout <duration>', 'time limit; default 30s')
    .action((name: string, id: string, options: RedeliverFlags, command: Command) =>
      withSession(command, async (session) => (await import('./commands/webhook-act.js')).webhookRedeliver(session, name, id, options)),
    );
  webhook
    .command('resume')
    .description('have a webhook that is suspended, or waits for its next attempt, go on now')
    .argument('<name>')
    .option('--from <where>', 'position (default): where it stands; now: what has come since then is left out')
    .option('--own', 'from now on it tells what you may read')
    .action((name: string, options: ResumeFlags, command: Command) =>
      withSession(command, async (session) => (await import('./commands/webhook-act.js')).webhookResume(session, name, options)),
    );
}
