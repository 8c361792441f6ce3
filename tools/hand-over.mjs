// Runs a built program in place of this one: same terminal, same signals, same end.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { root } from './ensure.mjs';

/** @param {string} program path in the repository @param {string[]} words its arguments */
export function handOver(program, words) {
  const child = spawn(process.execPath, ['--enable-source-maps', join(root, program), ...words], { stdio: 'inherit' });
  // A terminal sends Ctrl-C to the whole group; a service manager tells this process alone. Programs take the second signal for the same.
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => {
    process.stderr.write(`${error.message}\n`);
    process.exit(1);
  });
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code ?? 1);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}
