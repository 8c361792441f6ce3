import { type BackupConsistency, Problem, toProblem } from '@virt8ra/contract';
import { holdsAgentChannel, openGuestAgent } from '../guest-agent/guest-agent.js';
import type { Log } from '../log.js';
import { type Guest, guestStatus } from '../qemu/guest.js';

export interface PointInTime {
  readonly guest: Guest;
  readonly log: Log;
  /** Takes it, at once. */
  take(): Promise<void>;
  /** Durable when it returns: from now on, or no longer, a guest may be at rest that must be woken. */
  note(resting: boolean): Promise<void>;
}

/**
 * Takes a point in time of a running guest's disks, with its file systems at rest for that moment if an agent inside the guest answers. Answers
 * what it is: file systems were at rest only if the guest's agent says so before and after. Whatever fails, the guest goes on.
 */
export async function takePointInTime({ guest, log, take, note }: PointInTime): Promise<BackupConsistency> {
  const agent = (await guestStatus(guest)) === 'running' ? await openGuestAgent(guest) : undefined;
  if (agent === undefined) {
    await take();
    return 'crash';
  }
  try {
    await note(true);
    const rests = await agent.freeze().catch((error: unknown) => {
      log.warn('a guest does not bring its file systems to rest', { launch: guest.launchId, problem: toProblem(error).message });
      return 0;
    });
    await take();
    return rests > 0 && (await agent.isFrozen().catch(() => false)) ? 'file-system' : 'crash';
  } finally {
    await agent.thaw().then(
      async () => await note(false),
      (error: unknown) =>
        log.error('a guest does not wake its file systems yet', { launch: guest.launchId, problem: toProblem(error).message }),
    );
    agent.close();
  }
}

/** A guest's agent that is still at what an earlier agent of ours asked answers nobody before that is done. */
const wakeMs = 15_000;
const wakePauseMs = 200;

/**
 * Wakes file systems that an earlier attempt left at rest. Raises Problem unavailable when the guest's agent is there and does not answer: it is to be
 * asked again.
 */
export async function wakeGuest(guest: Guest, patienceMs = wakeMs): Promise<void> {
  const end = performance.now() + patienceMs;
  for (;;) {
    const agent = await openGuestAgent(guest);
    if (agent !== undefined) {
      try {
        return await agent.thaw();
      } finally {
        agent.close();
      }
    }
    // Without an agent there is nobody who could have gone to rest for one, or it is too late.
    if (!(await holdsAgentChannel(guest))) return;
    if (performance.now() > end)
      throw new Problem('unavailable', 'the agent inside the guest does not answer, and may have its file systems at rest still');
    await new Promise((resolve) => setTimeout(resolve, wakePauseMs));
  }
}
