import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Account, PostgresBinaries } from './postgres-binaries.js';

const execute = promisify(execFile);

/** Beside what else this clone keeps of what is slow to make. */
const cache = fileURLToPath(new URL('../../../../.cache', import.meta.url));

/**
 * Makes a cluster at `cluster`, in `home`. The first of a version is made by initdb, which takes a second, and kept; all others are copies of that. One
 * that cannot be kept, as where nothing may be written, is made anew each time.
 */
export async function makeCluster(binaries: PostgresBinaries, cluster: string, home: string, account: Account | undefined): Promise<void> {
  const kept = join(
    cache,
    `postgres-${binaries.source}-${binaries.version.replace(/[^\w.+-]+/g, '-')}-${account?.uid ?? process.getuid?.() ?? 0}`,
  );
  if (existsSync(kept)) {
    await copy(kept, cluster);
    return;
  }
  const options = ['-D', cluster, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'];
  await execute(join(binaries.directory, 'initdb'), options, { cwd: home, ...account });
  await keep(cluster, kept).catch(() => {});
}

async function keep(cluster: string, kept: string): Promise<void> {
  await mkdir(dirname(kept), { recursive: true });
  const folder = await mkdtemp(`${kept}.`);
  try {
    await copy(cluster, join(folder, 'cluster'));
    // Another may have been quicker: a folder that is not empty is not replaced.
    await rename(join(folder, 'cluster'), kept);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** With its owner and modes, which PostgreSQL insists on. */
async function copy(from: string, to: string): Promise<void> {
  await execute('cp', ['-a', '--reflink=auto', from, to]);
}
