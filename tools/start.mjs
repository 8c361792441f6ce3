// `npm start [-- ARGS]`: the control plane alone, with what it needs installed and built.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { ensure, NEEDS_INSTALL, root } from './ensure.mjs';

if (!ensure()) process.exit(NEEDS_INSTALL);

const server = spawn(process.execPath, ['--enable-source-maps', join(root, 'packages/server/dist/main.js'), ...process.argv.slice(2)], {
  stdio: 'inherit',
});
// A terminal sends Ctrl-C to the whole group; a service manager tells this process alone.
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) process.on(signal, () => server.kill(signal));
server.on('error', (error) => {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
});
server.on('exit', (code, signal) => {
  if (signal === null) process.exit(code ?? 1);
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
});
