import type { Convergence, PassFigures } from '@virt8ra/contract';
import { predictPauseMs } from './predict-pause.js';

/** Less says more of the fixed part than of the rate. */
const tellingBytes = 4 * 1024 * 1024;
/** A pass that leaves this share of what it carried has gained nothing. */
const gainsNothing = 0.9;

/**
 * What the latest passes of a copy, oldest first, tell of it. The foreseen pause is what was changed during a pass, at most, at the rate at which the
 * passes carried such changes, and a fixed part. `converged`: the source's own word.
 */
export function convergenceOf(passes: readonly PassFigures[], converged: boolean): Convergence {
  const last = passes.at(-1);
  if (last === undefined) return { verdict: converged ? 'converged' : 'measuring' };
  const telling = passes.filter(({ workBytes }) => workBytes >= tellingBytes);
  const rated = telling.length > 0 ? telling : passes;
  const perMs = sum(rated, 'workBytes') / Math.max(1, sum(rated, 'ms'));
  const dirtyPerMs = sum(passes, 'dirtyBytes') / Math.max(1, sum(passes, 'ms'));
  const dirty = Math.max(...passes.slice(-3).map(({ dirtyBytes }) => dirtyBytes));
  const pauseMs = predictPauseMs({ dirtyBytes: dirty, bytesPerSecond: perMs * 1000 });
  const measured = {
    dirtyBytesPerSecond: Math.round(dirtyPerMs * 1000),
    bytesPerSecond: Math.round(perMs * 1000),
    ...(Number.isFinite(pauseMs) ? { predictedPauseMs: Math.round(pauseMs) } : {}),
  };
  if (converged) return { verdict: 'converged', ...measured };
  const lastTwo = passes.slice(-2);
  const gained = lastTwo.every(({ workBytes, dirtyBytes }) => dirtyBytes < tellingBytes || dirtyBytes < workBytes * gainsNothing);
  if (gained) return { verdict: 'converging', ...measured };
  // The first pass carries everything and may be slower to count; the second tells.
  if (lastTwo.length < 2 && last.dirtyBytes < last.workBytes) return { verdict: 'converging', ...measured };
  return { verdict: 'not-converging', ...measured, advice: adviceFor(measured) };
}

interface Measured {
  readonly dirtyBytesPerSecond: number;
  readonly bytesPerSecond: number;
  readonly predictedPauseMs?: number;
}

function adviceFor({ dirtyBytesPerSecond, bytesPerSecond, predictedPauseMs }: Measured): string {
  const pause =
    predictedPauseMs === undefined
      ? ''
      : `, or consent to the pause that it would take now, about ${seconds(predictedPauseMs)}, with cutover pause-below`;
  return `the guest changes ${megabytes(dirtyBytesPerSecond)} MB/s and ${megabytes(bytesPerSecond)} MB/s are carried, so that it does not catch up; have the guest write less for a while, give the copy more bandwidth${pause}`;
}

function sum(passes: readonly PassFigures[], part: 'workBytes' | 'ms' | 'dirtyBytes'): number {
  return passes.reduce((total, pass) => total + pass[part], 0);
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(bytes >= 1e7 ? 0 : 1);
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(milliseconds >= 10_000 ? 0 : 1)} s`;
}
