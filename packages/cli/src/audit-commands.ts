import type { Command } from 'commander';
import type { AuditListFlags } from './commands/audit-list.js';
import type { AuditVerifyFlags } from './commands/audit-verify.js';
import type { UsageFlags } from './commands/usage-export.js';
import type { Session } from './session.js';

type WithSession = (command: Command, work: (session: Session) => Promise<void>) => Promise<void>;

/** Commands about who did what, and used what. */
export function addAuditCommands(program: Command, withSession: WithSession, exitWith: (code: number) => void): void {
  const audit = program.command('audit').description('who did what, from where, and what was decided');
  audit
    .command('list')
    .description('print the audit, newest first: of one resource, of the tenant, or of all')
    .argument('[words...]', 'KIND NAME or KIND/NAME')
    .option('--all', 'of all tenants and of what has none; the operator may')
    .option('--limit <count>', 'print no more than this many; default 50')
    .action((words: string[], options: AuditListFlags, command: Command) =>
      withSession(command, async (session) => (await import('./commands/audit-list.js')).auditList(session, words, options)),
    );
  audit
    .command('verify')
    .description('see whether the audit is what was written; ends with 1 when a row was changed, removed, added or moved')
    .option('--head <position:hash>', 'what an earlier verification has told: shows when the end was cut off')
    .action((options: AuditVerifyFlags, command: Command) =>
      withSession(command, async (session) => exitWith(await (await import('./commands/audit-verify.js')).auditVerify(session, options))),
    );
  program
    .command('usage')
    .description('print what was used, hour by hour, by the workspace or, without one, by the tenant')
    .option('--from <time>', 'hours that begin at or after it, such as 2026-01-31')
    .option('--to <time>', 'and before this')
    .option('--csv', 'comma-separated, with titles')
    .option('--lines', 'one JSON object a line')
    .action((options: UsageFlags, command: Command) =>
      withSession(command, async (session) => (await import('./commands/usage-export.js')).usageExport(session, options)),
    );
}
