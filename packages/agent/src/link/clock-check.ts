import { request } from 'node:https';
import { Problem } from '@virt8ra/contract/plain';
import { agentThrough, type Proxies } from '@virt8ra/outbound';
import { errorCode } from '../disk/atomic-file.js';
import type { Log } from '../log.js';

interface Trust {
  readonly ca: string;
  readonly proxies?: Proxies;
}

/** A clock that is further off than this is not enrolled: certificates and permits would not hold. */
const refusedMs = 5 * 60_000;
/** Permits with an expiry are ended so much early; a larger difference eats that margin up. */
const toldMs = 5_000;

const mend =
  'Set the clock of this host (`timedatectl set-ntp true`, or `chronyc makestep`), or that of the control plane if that is the wrong one.';

/**
 * Compares this host's clock with the control plane's before a token is spent. A small difference is told, a large one refused: Problem conflict.
 * A server that does not tell its time is let pass.
 */
export async function checkClock(server: URL, trust: Trust, log: Log, now: () => number = Date.now): Promise<void> {
  const asked = now();
  const theirs = await askTime(server, trust);
  if (theirs === undefined) return;
  // Half a second for the fraction that the header leaves out.
  const offsetMs = (asked + now()) / 2 - (theirs + 500);
  if (Math.abs(offsetMs) > refusedMs)
    throw new Problem('conflict', `this host’s clock is ${offsetText(offsetMs)} the control plane’s. ${mend}`);
  if (Math.abs(offsetMs) > toldMs) log.warn('this host’s clock differs from the control plane’s', { offsetMs: Math.round(offsetMs), mend });
}

/** What a certificate that seems to be of another time says of the clocks; undefined for any other error. */
export function clockReason(error: unknown, now: number = Date.now()): string | undefined {
  const code = errorCode(error);
  const here = `this host’s clock says ${new Date(now).toISOString()}`;
  if (code === 'CERT_NOT_YET_VALID') return `the control plane’s certificate is not valid yet: ${here}, which seems too early. ${mend}`;
  if (code === 'CERT_HAS_EXPIRED')
    return `the control plane’s certificate has expired: ${here}. If that is right, its server must renew it. ${mend}`;
  return undefined;
}

function offsetText(offsetMs: number): string {
  return `${Math.round(Math.abs(offsetMs) / 1000)} s ${offsetMs < 0 ? 'behind' : 'ahead of'}`;
}

/** By the header that every HTTP answer carries, an error's too. */
async function askTime(server: URL, { ca, proxies = {} }: Trust): Promise<number | undefined> {
  return await new Promise<number | undefined>((resolve, reject) => {
    const asking = request(new URL('/agent/v1/time', server), {
      method: 'HEAD',
      ca,
      minVersion: 'TLSv1.3',
      agent: agentThrough(server, proxies) ?? false,
      timeout: 15_000,
    });
    asking.once('response', (response) => {
      response.resume();
      const time = Date.parse(response.headers.date ?? '');
      resolve(Number.isNaN(time) ? undefined : time);
    });
    asking.once('timeout', () => asking.destroy(new Error('no answer within 15 s')));
    asking.once('error', (cause) => {
      const reason = clockReason(cause);
      if (reason === undefined) reject(new Problem('unavailable', `${server.origin} cannot be reached: ${cause.message}`, { cause }));
      else reject(new Problem('conflict', reason, { cause }));
    });
    asking.end();
  });
}
