// `npm run bench [-- --quick] [-- --report FILE]`: measures what it costs and how that grows (bench/).
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { ensure, NEEDS_INSTALL, root } from './ensure.mjs';

if (!ensure({ system: process.getuid?.() === 0 ? ['qemu', 'nbd', 'net'] : ['qemu', 'nbd'] })) process.exit(NEEDS_INSTALL);

const bench = spawn(process.execPath, ['--enable-source-maps', join(root, 'bench/dist/main.js'), ...process.argv.slice(2)], {
  stdio: 'inherit',
});
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) process.on(signal, () => bench.kill(signal));
bench.on('error', (error) => {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
});
bench.on('exit', (code, signal) => {
  if (signal === null) process.exit(code ?? 1);
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
});
