// `npm run demo [-- --exit] [-- --report FILE]`: installs what is missing, makes the guest, then gives the tour (demo/).
import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { ensure, everySystemPart, NEEDS_INSTALL, progress, root } from './ensure.mjs';

const say = progress();
const asRoot = process.getuid?.() === 0;
// An ordinary user needs neither bridges nor packet filters.
if (!ensure({ system: asRoot ? everySystemPart : everySystemPart.filter((part) => part !== 'net'), say })) process.exit(NEEDS_INSTALL);

say('the guest');
const made = spawnSync('bash', [join(root, 'tools/guest/make-guest.sh')], { stdio: ['ignore', 'inherit', 'inherit'] });
if (made.status !== 0) {
  process.stderr.write('the guest could not be made: tools/guest/make-guest.sh says above what it lacks\n');
  process.exit(made.status ?? 1);
}

const tour = spawn(process.execPath, ['--enable-source-maps', join(root, 'demo/dist/main.js'), ...process.argv.slice(2)], {
  stdio: 'inherit',
});
// The tour tidies up at the first signal and takes further ones for the same.
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) process.on(signal, () => tour.kill(signal));
tour.on('error', (error) => {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
});
tour.on('exit', (code, signal) => {
  if (signal === null) process.exit(code ?? 1);
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
});
