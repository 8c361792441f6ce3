import type { Log } from '@virt8ra/engine';
import { startApp } from './app.js';
import { type Environment, parseConfig, printableConfig } from './config.js';
import { helpText } from './config-options.js';
import { problemOf } from './database/database-problem.js';
import { createLog, maskText } from './telemetry/log.js';
import { createToken } from './token-command.js';
import { serverVersion } from './version.js';

/** Longer than the parts' own graces together; what hangs beyond it is left behind. */
const stopWithinMs = 60_000;

const print = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

/** The program as its command line asks for it. */
export async function runProgram(argv: readonly string[] = process.argv.slice(2)): Promise<void> {
  // A reader that went away (a closed terminal, `| head`) is no reason to end.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  try {
    await run(argv);
  } catch (error) {
    const problem = problemOf(error);
    process.stderr.write(`virt8ra-server: ${maskText(problem.message)}\n`);
    if (problem.kind === 'internal' && error instanceof Error && error !== problem)
      process.stderr.write(`${maskText(error.stack ?? '')}\n`);
    process.exit(problem.exitCode);
  }
}

async function run(argv: readonly string[]): Promise<void> {
  const uid = process.getuid?.() ?? -1;
  if (argv.includes('--help') || argv.includes('-h')) return print(helpText);
  if (argv.includes('--version')) return print(serverVersion());
  if (argv.includes('--print-openapi')) {
    const { describedApi } = await import('./app-description.js');
    return print(JSON.stringify(describedApi()));
  }
  if (argv[0] === 'doctor') {
    // Loaded only here: a server that runs never needs it.
    const { runDoctor } = await import('./doctor/doctor.js');
    process.exitCode = await runDoctor(argv.slice(1), process.env, uid, print);
    return;
  }
  if (argv[0] === 'token' && argv[1] === 'create') return print(await createToken(argv.slice(2), process.env, uid));
  if (argv[0] === 'audit' && argv[1] === 'verify') {
    const { runAuditVerify } = await import('./audit/verify-command.js');
    process.exitCode = await runAuditVerify(argv.slice(2), process.env, uid, print);
    return;
  }
  if (argv[0] === 'backup') {
    const { runBackup } = await import('./plane-backup/backup-command.js');
    process.exitCode = await runBackup(argv.slice(1), process.env, uid, print);
    return;
  }
  if (argv[0] === 'restore') {
    const { runRestore } = await import('./plane-backup/restore-command.js');
    process.exitCode = await runRestore(argv.slice(1), process.env, uid, print);
    return;
  }
  const config = parseConfig(
    argv.filter((argument) => argument !== '--print-config'),
    process.env,
    uid,
  );
  if (argv.includes('--print-config')) return print(JSON.stringify(printableConfig(config), undefined, 2));

  const log = createLog((line) => process.stderr.write(line), config.log.level);
  const crash = (message: string) => (error: unknown) => {
    log.error(message, { error });
    // The database runs on and is found again at the next start.
    process.exit(1);
  };
  process.on('unhandledRejection', crash('a rejection was not handled'));
  process.on('uncaughtException', crash('an exception was not caught'));

  const signalled = firstSignal(log);
  const app = await startApp(config, log);
  const seconds = process.uptime().toFixed(1);
  if (app.adminToken.fresh !== undefined) print(adminTokenText(app.adminToken.path, app.adminToken.fresh, process.env));
  print(`virt8ra-server is ready at ${app.url} after ${seconds} s`);

  log.info('stopping', { signal: await signalled });
  const overdue = setTimeout(() => crash('the server did not stop in time')(undefined), stopWithinMs);
  await app.stop();
  clearTimeout(overdue);
  log.info('stopped');
  process.exit(0);
}

/** A journal keeps what is printed, and many may read it. */
function adminTokenText(path: string, token: string, environment: Environment): string {
  return isJournal(environment) ? `the admin token is in ${path}` : `admin token, shown this once and kept in ${path}:\n${token}`;
}

/** systemd says so of the streams it has given. */
function isJournal({ JOURNAL_STREAM }: Environment): boolean {
  return JOURNAL_STREAM !== undefined && JOURNAL_STREAM !== '';
}

/** The second signal ends the process at once. */
async function firstSignal(log: Log): Promise<string> {
  return await new Promise((resolve) => {
    let seen = false;
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => {
        if (seen) {
          log.warn('a second signal: ending at once', { signal });
          process.exit(130);
        }
        seen = true;
        resolve(signal);
      });
    }
  });
}
