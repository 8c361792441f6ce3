// Makes the guest that tests boot, as the demo does, before the first of them: a fresh clone has none. Where it cannot be made they are skipped.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { root } from './ensure.mjs';

export function setup(): void {
  const { status } = spawnSync('bash', [join(root, 'tools/guest/make-guest.sh')], { stdio: ['ignore', 'inherit', 'inherit'] });
  if (status !== 0) process.stdout.write('the guest could not be made; tests that boot it are skipped\n');
}
