/** What is known of how a disk, or a guest's memory, changes. */
export interface Changes {
  /** What the guest writes, the same place as often as it is written. */
  readonly writtenPerSecond?: number;
  /** Bytes that were different after so many seconds, each place counted once; the shorter time first. */
  readonly distinct?: readonly { readonly seconds: number; readonly bytes: number }[];
  /** It cannot be more than this. */
  readonly sizeBytes: number;
}

/** Bytes that are different after so many seconds. It never falls, and never grows faster than at its beginning. */
export type ChangeCurve = (seconds: number) => number;

const steps = 60;

/**
 * A guest that writes at random within a working set W, r bytes a second, has changed W(1 − e^(−rt/W)) after t. Two looks at one record of changes
 * say both; one look, or what is written alone, says the rate, and then everything counts as new until the disk is full.
 */
export function changeCurve({ writtenPerSecond = 0, distinct = [], sizeBytes }: Changes): ChangeCurve {
  const looks = distinct.filter(({ seconds }) => seconds > 0).toSorted((one, other) => one.seconds - other.seconds);
  const [early] = looks;
  const late = looks.at(-1);
  if (early === undefined || late === undefined) return straight(writtenPerSecond, sizeBytes);
  if (late.bytes <= 0) return () => 0;
  const growth = early.bytes <= 0 ? Number.POSITIVE_INFINITY : late.bytes / early.bytes;
  const most = late.seconds / early.seconds;
  if (late === early || growth >= most * 0.98) return straight(late.bytes / late.seconds, sizeBytes);
  // Growth falls from `most` (no bound in sight) to 1 (all of it is changed already) as the speed rises.
  const speed = bisect((k) => bend(k * late.seconds) / bend(k * early.seconds) > Math.max(1.0001, growth), 1e-9, 100);
  const set = Math.min(sizeBytes, late.bytes / bend(speed * late.seconds));
  return (seconds) => set * bend(speed * Math.max(0, seconds));
}

/** The same guest if it wrote only a share of what it writes. */
export function slowed(curve: ChangeCurve, share: number): ChangeCurve {
  return (seconds) => curve(seconds * share);
}

function straight(perSecond: number, sizeBytes: number): ChangeCurve {
  return (seconds) => Math.min(sizeBytes, perSecond * Math.max(0, seconds));
}

function bend(x: number): number {
  return -Math.expm1(-x);
}

/** The greatest value between the two for which it still holds, to about a millionth of a factor. */
function bisect(holds: (value: number) => boolean, low: number, high: number): number {
  let [from, until] = [Math.log(low), Math.log(high)];
  for (let step = 0; step < steps; step += 1) {
    const middle = (from + until) / 2;
    if (holds(Math.exp(middle))) from = middle;
    else until = middle;
  }
  return Math.exp(from);
}
