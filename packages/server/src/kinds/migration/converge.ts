import type { ForecastConvergence } from '@virt8ra/contract';
import { type ChangeCurve, slowed } from './change-curve.js';

/** The mover's own rules for when little enough is left, as `passes.ts` of the agent has them. */
const fewBytes = 4 * 1024 * 1024;
const shortSeconds = 0.25;
/** What a pass takes besides carrying. */
const passSeconds = 0.4;
/** From the word that little is left until the guest is stopped. */
const orderSeconds = 1.5;
const sprints = 3;
const mostPasses = 64;
/** Below this share of what a guest writes, holding it back is no way to move it. */
const leastShare = 0.2;

export interface CopyCourse {
  readonly convergence: ForecastConvergence;
  /** Until little is left, the full copy included; absent where that does not come. */
  readonly seconds?: number;
  /** Carried until then. */
  readonly bytes?: number;
  /** For the pause. */
  readonly leftBytes?: number;
}

interface Passes {
  readonly converged: boolean;
  readonly passes: number;
  readonly seconds: number;
  readonly bytes: number;
  readonly leftBytes: number;
}

/**
 * How the copy of a running guest goes: the full copy, then pass after pass of what changed during the one before. `noun` is who changes it, in
 * the words of the reason.
 */
export function courseOfCopy(copy: {
  readonly fullBytes: number;
  readonly changed: ChangeCurve;
  readonly bytesPerSecond: number;
  readonly minPasses: number;
  readonly isMeasured: boolean;
}): CopyCourse {
  const { fullBytes, changed, bytesPerSecond, isMeasured } = copy;
  const plain = walk(copy);
  // Of a second within the time that a pass takes, at the guest's own pace.
  const window = Math.max(1, Math.min(30, fullBytes / bytesPerSecond));
  const changedBytesPerSecond = changed(window) / window;
  const rates = { changedBytesPerSecond, carriedBytesPerSecond: bytesPerSecond };
  const numbers = `it changes ${megabytes(changedBytesPerSecond)} MB/s and ${megabytes(bytesPerSecond)} MB/s are carried`;
  if (plain.converged) {
    const { passes, seconds, bytes, leftBytes } = plain;
    const convergence: ForecastConvergence = isMeasured
      ? { verdict: 'converges', reason: numbers, ...rates, passes, leftBytes }
      : {
          verdict: 'unknown',
          reason: 'what the guest writes was not measured yet; an idle one was assumed',
          carriedBytesPerSecond: bytesPerSecond,
        };
    return { convergence, seconds, bytes, leftBytes };
  }
  const share = greatestShare(copy);
  const left = { leftBytes: plain.leftBytes };
  if (share < leastShare) {
    const reason = `${numbers}: ${megabytes(plain.leftBytes)} MB are left after every pass, however many there are`;
    return { convergence: { verdict: 'never', reason, ...rates, ...left } };
  }
  const limitBytesPerSecond = changedBytesPerSecond * share;
  const held = walk({ ...copy, changed: slowed(changed, share) });
  const reason = `${numbers}: it comes to an end only while its writes are held below ${megabytes(limitBytesPerSecond)} MB/s`;
  return {
    convergence: { verdict: 'with-throttle', reason, ...rates, limitBytesPerSecond, ...left },
    seconds: held.seconds,
    bytes: held.bytes,
    leftBytes: held.leftBytes,
  };
}

function walk(copy: {
  readonly fullBytes: number;
  readonly changed: ChangeCurve;
  readonly bytesPerSecond: number;
  readonly minPasses: number;
}): Passes {
  const { fullBytes, changed, bytesPerSecond, minPasses } = copy;
  const secondsOf = (bytes: number): number => bytes / bytesPerSecond + passSeconds;
  const isShort = (bytes: number): boolean => bytes <= fewBytes || bytes < bytesPerSecond * shortSeconds;
  let last = secondsOf(fullBytes);
  let seconds = last;
  let bytes = fullBytes;
  let left = changed(last);
  let passes = 0;
  while (passes < minPasses || !(isShort(left) || last < shortSeconds)) {
    if (passes >= mostPasses) return { converged: false, passes, seconds, bytes, leftBytes: left };
    last = secondsOf(left);
    seconds += last;
    bytes += left;
    left = changed(last);
    passes += 1;
  }
  left = changed(orderSeconds);
  for (let sprint = 0; sprint < sprints && !isShort(left); sprint += 1) {
    bytes += left;
    left = changed(secondsOf(left));
  }
  return { converged: true, passes, seconds, bytes: bytes + left, leftBytes: left };
}

/** The greatest share of its writes with which the guest's copy comes to an end. */
function greatestShare(copy: Parameters<typeof walk>[0]): number {
  let [low, high] = [0, 1];
  for (let step = 0; step < 20; step += 1) {
    const middle = (low + high) / 2;
    if (walk({ ...copy, changed: slowed(copy.changed, middle) }).converged) low = middle;
    else high = middle;
  }
  return low;
}

function megabytes(bytes: number): string {
  const value = bytes / 1e6;
  return value >= 100 ? String(Math.round(value)) : value.toPrecision(2);
}
