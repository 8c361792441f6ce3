import { parseConfig } from '../../config.js';
import { startDatabase } from '../supervisor.js';

/** A process that starts the database of a configuration, says so in one line, and stops it when its standard input ends. For tests. */
const log = (level: string) => (message: string, facts?: object) => {
  process.stderr.write(`${JSON.stringify({ level, message, ...facts })}\n`);
};
const config = parseConfig(process.argv.slice(2), process.env, process.getuid?.() ?? -1);
const database = await startDatabase({
  config,
  log: { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') },
  ...(process.env['DEBIAN_ROOT'] === undefined ? {} : { debianRoot: process.env['DEBIAN_ROOT'] }),
}).catch((error: unknown) => {
  process.stdout.write(`${JSON.stringify({ failed: (error as Error).message, kind: (error as { kind?: string }).kind })}\n`);
  process.exit(1);
});
process.stdout.write(`${JSON.stringify({ origin: database.origin, connection: database.connection })}\n`);
process.stdin.resume();
process.stdin.once('end', () => {
  database.stop().then(
    () => process.exit(0),
    () => process.exit(1),
  );
});
