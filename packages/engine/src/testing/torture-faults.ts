import { Problem } from '@virt8ra/contract';
import type { Interception, Interposer } from '../runs/interposer.js';

/** A step, wait or commit point as the run without faults met it. */
export interface Point {
  readonly name: string;
  readonly kind: 'step' | 'wait' | 'commit';
  /** False for the commit point itself. */
  readonly committed: boolean;
}

/** What a fault may do besides throwing. */
export interface Stage {
  /** The owner of the run freezes here, for ever or until another owner is through. */
  hang(): Promise<void>;
  cancel(runId: string): Promise<void>;
}

/** What happens instead of the plain act. */
type Deed = (act: () => Promise<unknown>, stage: Stage, runId: string) => Promise<unknown>;

/** The first interception of this act and step gets the first deed, and so on; later ones pass. */
interface Cue {
  readonly act: Interception['act'];
  readonly step: string;
  readonly deeds: readonly Deed[];
}

export interface Plan {
  readonly ends: 'done' | 'undone';
  readonly first: readonly Cue[];
  /** For the replica that takes over when the first hangs. */
  readonly second?: readonly Cue[];
  /** The first owner wakes up again after the second is through. */
  readonly wakes?: boolean;
  /** What must become of the cancellation. */
  readonly cancellation?: 'accepted' | 'refused';
  /** The fault may find nothing to strike, because a step has no undo. */
  readonly optional?: boolean;
}

interface Fault {
  readonly name: string;
  /** Undefined: the fault has no meaning at this point. */
  plan(point: Point, points: readonly Point[]): Plan | undefined;
}

const fails: Deed = async () => {
  throw new Problem('invalid-request', 'torture: failed for good');
};
const failsAfter: Deed = async (act) => {
  await act();
  throw new Problem('invalid-request', 'torture: failed for good after the deed');
};
const repeats: Deed = async (act) => {
  await act();
  return await act();
};
const losesReply: Deed = async (act) => {
  await act();
  throw new Problem('unknown-outcome', 'torture: the reply was lost');
};
const hangs: Deed = async (act, stage) => {
  await stage.hang();
  return await act();
};
const hangsAfter: Deed = async (act, stage) => {
  const result = await act();
  await stage.hang();
  return result;
};
const cancels: Deed = async (act, stage, runId) => {
  await stage.cancel(runId);
  return await act();
};
const cancelsAndAborts: Deed = async (act, stage, runId) => {
  await act();
  await stage.cancel(runId);
  throw new Error('torture: aborted by its signal');
};
const cancelsAfter: Deed = async (act, stage, runId) => {
  const result = await act();
  await stage.cancel(runId);
  return result;
};

function at(point: Point, ...deeds: readonly Deed[]): Cue {
  return { act: point.kind, step: point.name, deeds };
}

/** A failure before the commit point undoes the run; after it the run goes forward, whatever happens. */
function ending(point: Point): Plan['ends'] {
  return point.committed ? 'done' : 'undone';
}

function unlessCommit(plan: (point: Point) => Plan): Fault['plan'] {
  return (point) => (point.kind === 'commit' ? undefined : plan(point));
}

function beforeCommit(plan: (point: Point) => Plan): Fault['plan'] {
  return (point) => (point.kind === 'commit' || point.committed ? undefined : plan(point));
}

/** Makes everything before the commit point happen and then be undone, with deeds at the undo of one step. */
function whileUndoing(rest: Omit<Plan, 'ends' | 'first'>, ...deeds: readonly Deed[]): Fault['plan'] {
  return (point, points) => {
    const last = points.filter((each) => each.kind !== 'commit' && !each.committed).at(-1);
    if (point.kind !== 'step' || point.committed || last === undefined) return undefined;
    return { ends: 'undone', first: [at(last, failsAfter), { act: 'undo', step: point.name, deeds }], optional: true, ...rest };
  };
}

/** Every fault, at every point where it has a meaning. */
export const faults: readonly Fault[] = [
  { name: 'repeated', plan: unlessCommit((point) => ({ ends: 'done', first: [at(point, repeats)] })) },
  { name: 'fails before', plan: unlessCommit((point) => ({ ends: ending(point), first: [at(point, fails, fails)] })) },
  { name: 'fails after', plan: unlessCommit((point) => ({ ends: ending(point), first: [at(point, failsAfter, failsAfter)] })) },
  { name: 'reply lost, then retried', plan: unlessCommit((point) => ({ ends: 'done', first: [at(point, losesReply, losesReply)] })) },
  { name: 'reply lost, then fails', plan: unlessCommit((point) => ({ ends: ending(point), first: [at(point, losesReply, fails)] })) },
  { name: 'crash before', plan: (point) => ({ ends: 'done', first: [at(point, hangs)] }) },
  { name: 'crash after', plan: (point) => ({ ends: 'done', first: [at(point, hangsAfter)] }) },
  {
    name: 'crash after, then fails',
    plan: unlessCommit((point) => ({ ends: ending(point), first: [at(point, hangsAfter)], second: [at(point, fails)] })),
  },
  {
    name: 'cancelled before',
    plan: (point) => ({ ends: ending(point), first: [at(point, cancels)], cancellation: point.committed ? 'refused' : 'accepted' }),
  },
  {
    name: 'cancelled in the middle',
    plan: beforeCommit((point) => ({ ends: 'undone', first: [at(point, cancelsAndAborts)], cancellation: 'accepted' })),
  },
  {
    name: 'cancelled after',
    plan: (point) =>
      point.committed || point.kind === 'commit'
        ? { ends: 'done', first: [at(point, cancelsAfter)], cancellation: 'refused' }
        : { ends: 'undone', first: [at(point, cancelsAfter)], cancellation: 'accepted' },
  },
  { name: 'paused before, taken over', plan: (point) => ({ ends: 'done', first: [at(point, hangs)], wakes: true }) },
  { name: 'paused after, taken over', plan: (point) => ({ ends: 'done', first: [at(point, hangsAfter)], wakes: true }) },
  {
    name: 'paused before, undone by another',
    plan: beforeCommit((point) => ({ ends: 'undone', first: [at(point, hangs)], second: [at(point, fails)], wakes: true })),
  },
  { name: 'undo repeated', plan: whileUndoing({}, repeats) },
  { name: 'undo loses its reply', plan: whileUndoing({}, losesReply) },
  { name: 'crash before undo', plan: whileUndoing({}, hangs) },
  { name: 'crash after undo', plan: whileUndoing({}, hangsAfter) },
  { name: 'paused before undo, taken over', plan: whileUndoing({ wakes: true }, hangs) },
];

/** The interposer that plays these cues, and whether any deed of them was done yet. */
export function interposerFromCues(cues: readonly Cue[], stage: Stage): { readonly interposer: Interposer; struck(): boolean } {
  const counts = new Map<Cue, number>();
  return {
    interposer: async ({ runId, step, act: kind }, act) => {
      const cue = cues.find((each) => each.act === kind && each.step === step);
      const count = cue === undefined ? 0 : (counts.get(cue) ?? 0);
      const deed = cue?.deeds[count];
      if (cue === undefined || deed === undefined) return await act();
      counts.set(cue, count + 1);
      return await deed(act, stage, runId);
    },
    // All cues, because the last of them is the fault and those before it lead there.
    struck: () => cues.every((cue) => counts.has(cue)),
  };
}
