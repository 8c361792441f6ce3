import { awaitExit } from '../system/process-identity.js';
import type { Guest } from './guest.js';

const lookMs = 10_000;

/**
 * Tells of the end of a guest's process once there is nothing left of it: one that is killed closes its sockets first, and on a busy machine is
 * still to be seen for a while; whoever looked at once would find it alive, and never look again. `isKept`: it has not been let go meanwhile.
 */
export async function watchEnd(guest: Pick<Guest, 'monitor' | 'process'>, isKept: () => boolean, look: () => void): Promise<void> {
  await guest.monitor.closed;
  while (isKept() && !(await awaitExit(guest.process, lookMs))) look();
  look();
}
