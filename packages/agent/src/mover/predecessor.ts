import { join } from 'node:path';
import { Problem } from '@virt8ra/contract/plain';
import { readJson, writeJsonAtomic } from '../disk/atomic-file.js';
import { awaitExit, isAlive, type ProcessIdentity, readProcessIdentity, signalProcess } from '../system/process-identity.js';

const graceMs = 3_000;
const killMs = 5_000;

/**
 * Makes this process the only mover of a transfer: an agent that died may have left one that has not noticed yet, and two must not write to the
 * same journal. It may be killed at any time; it gets a moment to end by itself. Raises Problem unavailable when it does not end.
 */
export async function replacePredecessor(directory: string, bootId: string): Promise<void> {
  const path = join(directory, 'mover.json');
  const left = (await readJson(path)) as (ProcessIdentity & { readonly bootId: string }) | undefined;
  if (left !== undefined && left.bootId === bootId && left.pid !== process.pid && (await isAlive(left))) {
    if (!(await awaitExit(left, graceMs))) await signalProcess(left, 'SIGKILL');
    if (!(await awaitExit(left, killMs)))
      throw new Problem('unavailable', `process ${left.pid}, an earlier mover of this transfer, does not end`);
  }
  const own = await readProcessIdentity(process.pid);
  if (own !== undefined) await writeJsonAtomic(path, { ...own, bootId });
}
