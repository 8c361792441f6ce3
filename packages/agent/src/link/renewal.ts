import { toProblem } from '@virt8ra/contract';
import type { Log } from '../log.js';
import { renew, renewalTime } from './enrol.js';
import type { Identity, IdentityStore } from './identity.js';

const retryMs = 60_000;
/** Timers longer than this would wrap; waking early only means looking again. */
const longestTimerMs = 6 * 60 * 60_000;

/**
 * Renews the host's certificate from the middle of its life on, also after its end, again and again until it works. Answers how to stop.
 */
export function keepRenewed(
  identity: () => Identity,
  store: IdentityStore,
  onRenewed: (identity: Identity) => void,
  log: Log,
  now: () => number = Date.now,
): () => void {
  let timer: NodeJS.Timeout | undefined;
  const look = async () => {
    const dueMs = renewalTime(identity().certificate) - now();
    if (dueMs > 0) return Math.min(dueMs, longestTimerMs);
    try {
      onRenewed(await renew(identity(), store));
      log.info('the certificate was renewed', { host: identity().host });
      return longestTimerMs;
    } catch (error) {
      log.warn('the certificate could not be renewed', { problem: toProblem(error).message });
      return retryMs;
    }
  };
  const tick = () => {
    void look().then((pauseMs) => {
      timer = setTimeout(tick, pauseMs);
      timer.unref();
    });
  };
  tick();
  return () => clearTimeout(timer);
}
