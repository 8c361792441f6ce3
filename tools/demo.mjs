// `npm run demo [-- --exit] [-- --report FILE]`: installs what is missing, makes the guest, then gives the tour (demo/).
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { ensure, everySystemPart, NEEDS_INSTALL, progress, root } from './ensure.mjs';
import { handOver } from './hand-over.mjs';

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

handOver('demo/dist/main.js', process.argv.slice(2));
