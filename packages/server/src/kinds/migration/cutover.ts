import type { Cutover, CutoverState } from '@virt8ra/contract';

/** What decides whether a move cuts over now. */
export interface CutoverQuestion {
  /** Undefined: as soon as the copy allows. */
  readonly intent: Cutover | undefined;
  /** What was shown so far. */
  readonly shown: CutoverState | undefined;
  /** The source says that little is left to send; of a cold move true, since nothing is. */
  readonly converged: boolean;
  /** Undefined while it is not known; `untold`: the source does not tell what it would take. */
  readonly predictedPauseMs: number | 'untold' | undefined;
  readonly now: Date;
}

export type CutoverAnswer =
  | { readonly due: true }
  | { readonly due: false; readonly state: CutoverState['state']; readonly waitsFor: string };

const copying = 'the copy, until little is left to send';

/** Whether a move cuts over now, and else what it waits for. A window that was missed stays so, whatever the clock says later. */
export function cutoverDue({ intent, shown, converged, predictedPauseMs, now }: CutoverQuestion): CutoverAnswer {
  const whenConverged = (waitsFor = copying): CutoverAnswer => (converged ? { due: true } : { due: false, state: 'queued', waitsFor });
  if (intent === undefined) return whenConverged();
  switch (intent.when) {
    case 'asked':
      if (shown?.askedAt !== undefined) return whenConverged();
      return { due: false, state: 'waiting', waitsFor: 'being asked to cut over' };
    case 'window': {
      const missed = `being asked anew: its window passed at ${intent.until}, before the copy allowed it to cut over`;
      if (shown?.state === 'missed' || now.getTime() >= Date.parse(intent.until)) return { due: false, state: 'missed', waitsFor: missed };
      if (now.getTime() < Date.parse(intent.from)) return { due: false, state: 'waiting', waitsFor: `its window, from ${intent.from}` };
      return whenConverged(`${copying}; its window ends at ${intent.until}`);
    }
    case 'pause-below': {
      const limit = `${intent.milliseconds} ms`;
      if (predictedPauseMs === 'untold')
        return {
          due: false,
          state: 'waiting',
          waitsFor: 'a measured pause, which its source does not tell; ask for it now, or for a window',
        };
      if (predictedPauseMs === undefined)
        return { due: false, state: 'waiting', waitsFor: `a measured pause; it shall be ${limit} or less` };
      if (predictedPauseMs <= intent.milliseconds) return { due: true };
      return { due: false, state: 'waiting', waitsFor: `a pause of ${limit} or less; now it would be about ${predictedPauseMs} ms` };
    }
  }
}

/** Why a cut-over cannot be wanted like this, in words; undefined when it can. */
export function cutoverFault(cutover: Cutover, mode: 'live' | 'warm' | 'cold', now: Date): string | undefined {
  if (cutover.when === 'pause-below' && mode !== 'warm')
    return mode === 'live'
      ? 'the pause of a live move is not foreseen; use asked or a window'
      : 'a cold move is a pause from beginning to end; use asked or a window';
  if (cutover.when !== 'window') return undefined;
  const from = Date.parse(cutover.from);
  const until = Date.parse(cutover.until);
  if (!Number.isFinite(from) || !Number.isFinite(until)) return 'from and until are times such as 2030-01-31T22:00:00Z';
  if (until <= from) return 'the window ends before it begins';
  if (until <= now.getTime()) return `the window ended at ${cutover.until}`;
  return undefined;
}
